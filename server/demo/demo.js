// The demo page: one Panel a user, made from the template of page.html.

import { connect } from './gatecast.js'

const LOG_LINES = 300
const path = new URLSearchParams(location.search).get('path') ?? '/ws' // for a server.path of one's own

/** One user's half of the page. */
class Panel {
  #token
  #name
  #root
  #conn

  constructor({ user, token }) {
    this.#name = user
    this.#token = token
    this.#root = document.getElementById('panel').content.firstElementChild.cloneNode(true)
    this.#root.id = `${user}-panel`
    for (const name of ['state', 'close-code', 'user', 'connect', 'disconnect', 'group', 'join', 'leave', 'forbidden', 'groups', 'to', 'text', 'send', 'echo', 'notice', 'messages', 'frames']) {
      this.#$(name).id = `${user}-${name}`
    }
    this.#root.querySelector('h2').textContent = user
    this.#root.setAttribute('aria-label', user)
    this.#$('messages').setAttribute('aria-label', `messages of ${user}`)
    this.#$('frames').setAttribute('aria-label', `frames of ${user}`)
    this.#wire()
    document.getElementById('panels').append(this.#root)
    this.connect()
  }

  connect() {
    this.#conn?.close()
    this.#$('groups').replaceChildren()
    const conn = connect(path, { token: this.#token, WebSocket: loggingSocket((dir, text) => this.#logFrame(dir, text)) })
    this.#conn = conn
    conn.on('state', (s) => this.#conn === conn && this.#onState(s))
    conn.on('message', (m) => this.#onMessage(m))
    conn.on('event', (e) => this.#onEvent(e))
  }

  #wire() {
    const group = () => this.#$('group').value.trim()
    this.#$('connect').addEventListener('click', () => this.connect())
    this.#$('disconnect').addEventListener('click', () => this.#conn.close())
    this.#root.querySelector('.membership').addEventListener('submit', (event) => {
      event.preventDefault()
      this.#join(group())
    })
    this.#$('leave').addEventListener('click', () => this.#leave(group()))
    this.#$('forbidden').addEventListener('click', () => this.#join('secret.plans'))
    this.#root.querySelector('.sending').addEventListener('submit', (event) => {
      event.preventDefault()
      this.#send()
    })
  }

  #join(group) {
    return this.#try(`joined ${group}`, async () => {
      await this.#conn.groupAdd(group)
      this.#showGroup(group, 'user')
    })
  }

  #leave(group) {
    return this.#try(`left ${group}`, async () => {
      await this.#conn.groupDiscard(group)
      this.#hideGroup(group)
    })
  }

  #send() {
    const group = this.#$('to').value.trim()
    const text = this.#$('text').value
    return this.#try(`sent to ${group}`, async () => {
      await this.#conn.groupSend(group, { text }, { echo: this.#$('echo').checked })
      this.#$('text').value = ''
    })
  }

  /** Does something and says how it went. */
  async #try(done, act) {
    try {
      await act()
      this.#notice(done, 'ok')
    } catch (error) {
      this.#notice(`${error.code}: ${error.message}`, error.code ?? 'internal')
    }
  }

  #onState({ state, code, reason, error, retry }) {
    this.#root.dataset.state = state
    this.#$('state').textContent = code && state !== 'connected' ? `${state} (${code})` : state
    if (state === 'connected') {
      const { user, groups } = this.#conn.welcome
      this.#$('user').textContent = user || 'anonymous'
      for (const li of this.#$('groups').querySelectorAll('[data-by="server"]')) li.remove()
      groups.forEach((g) => this.#showGroup(g, 'server'))
      this.#notice(`connected as ${user || 'nobody'}`, 'ok')
    }
    if (code) {
      this.#$('close-code').textContent = code
      const when = state === 'waiting' ? `, next attempt in ${(retry / 1000).toFixed(1)} s` : ''
      this.#notice(`closed with ${code}${reason ? ` (${reason})` : ''}${error ? `: ${error.message}` : ''}${when}`, String(code))
    }
    if (state === 'closed') this.#$('groups').replaceChildren()
  }

  #onMessage({ group, data, from }) {
    const li = document.createElement('li')
    li.dataset.group = group
    li.dataset.from = from ?? ''
    const where = document.createElement('span')
    where.className = 'where'
    where.textContent = from === undefined ? group : `${group} · ${from}`
    const text = document.createElement('span')
    text.className = 'data'
    text.textContent = typeof data?.text === 'string' ? data.text : JSON.stringify(data)
    li.append(where, text)
    append(this.#$('messages'), li)
  }

  #onEvent({ op, group, code, message }) {
    if (op === 'group_added') this.#showGroup(group, 'server')
    if (op === 'group_discarded' || op === 'refused') this.#hideGroup(group)
    this.#notice(`${op} ${group ?? ''} ${message ?? ''}`, code ?? 'ok')
  }

  #showGroup(group, by) {
    this.#hideGroup(group)
    const li = document.createElement('li')
    li.dataset.group = group
    li.dataset.by = by
    li.textContent = group
    this.#$('groups').append(li)
  }

  #hideGroup(group) {
    for (const li of [...this.#$('groups').children]) if (li.dataset.group === group) li.remove()
  }

  #notice(text, code) {
    this.#$('notice').textContent = text
    this.#$('notice').dataset.code = code
  }

  #logFrame(dir, text) {
    const li = document.createElement('li')
    li.dataset.dir = dir
    li.textContent = text
    append(this.#$('frames'), li)
  }

  #$(name) {
    return this.#root.querySelector(`.${name}`)
  }
}

/** A WebSocket that shows its frames, but never the token it offers. */
function loggingSocket(log) {
  return class extends WebSocket {
    constructor(url, protocols) {
      super(url, protocols)
      log('note', `GET ${new URL(url).pathname}, subprotocols ${[].concat(protocols).map((p) => p.replace(/^(bearer\w*\.).*/, '$1…')).join(', ')}`)
      this.addEventListener('message', ({ data }) => log('in', data))
      this.addEventListener('close', ({ code, reason }) => log('note', `closed with ${code} ${reason}`))
    }

    send(data) {
      log('out', data)
      super.send(data)
    }
  }
}

/** Adds a line to a log and stays at its end. */
function append(list, li) {
  list.append(li)
  while (list.children.length > LOG_LINES) list.firstElementChild.remove()
  list.scrollTop = list.scrollHeight
}

for (const token of JSON.parse(document.getElementById('tokens').textContent).slice(0, 2)) new Panel(token)
