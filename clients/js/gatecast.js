// Gatecast's JavaScript client: one ES module without dependencies, for browsers and Node.js.
//
//   import { connect } from './gatecast.js'
//
//   const gc = connect('/ws', { token })            // or no token: the session cookie does it
//   gc.on('state', (s) => console.log(s.state))
//   await gc.groupAdd('chat.7', (m) => console.log(m.from, m.data))
//   await gc.groupSend('chat.7', { text: 'hello' })
//
// A connection comes back by itself, after a random time so that a restarted server is not met by all clients at once, and is back in
// its groups when it says 'connected' again. What was sent to a group in between is missed: live messages are delivered at most once.

/**
 * @typedef {'connecting' | 'connected' | 'waiting' | 'closed'} State
 *
 * @typedef {object} StateChange
 * @property {State} state
 * @property {number} [code] close code that led to 'waiting' or 'closed'; 1006 = the connection broke
 * @property {string} [reason] what the server said about it
 * @property {GatecastError} [error] the refusal before the close, if there was one
 * @property {number} [retry] ms until the next attempt, for 'waiting'
 *
 * @typedef {object} Message
 * @property {string} group
 * @property {any} data
 * @property {string} [from] user id of the sender; missing if a service sent it
 * @property {string} [format] 'binary': data is base64
 * @property {number} [seq] position in a durable group
 *
 * @typedef {object} GroupEvent
 * @property {'group_added' | 'group_discarded' | 'join' | 'leave' | 'reset' | 'refused' | 'error'} op
 * @property {string} [group]
 * @property {string} [user] of 'join' and 'leave'
 * @property {string} [code] of 'refused' (after a reconnect the group was not added again) and 'error' (of a send without reply)
 * @property {string} [message] with code, for people
 *
 * @typedef {object} Welcome
 * @property {string} conn id of this connection, a new one after every reconnect
 * @property {string} user user id; '' = anonymous
 * @property {string[]} groups groups the server put it into
 * @property {string} node
 * @property {number} [expires] end of the login, Unix seconds
 *
 * @typedef {object} Options
 * @property {string | (() => string | Promise<string>)} [token] the credential; a function is asked before every connect, and after
 *   close code 4401 the client comes back if it has another token than the refused one
 * @property {'subprotocol' | 'message' | 'query'} [carrier] the way the token travels, default 'subprotocol'
 * @property {string[]} [groups] joined at connect; a refusal is an event
 * @property {number} [retryMin] ms; without a word from the server the time before a reconnect is random below it. Default 500
 * @property {number} [retryMax] ms; it doubles with every failure up to this. Default 30000
 * @property {number} [queue] requests that may wait for a connection. Default 1000
 * @property {any} [WebSocket] the class to use; needed in Node.js before 22
 *
 * @typedef {object} CallOptions
 * @property {AbortSignal} [signal] ends the wait for a connection or a reply
 *
 * @typedef {CallOptions & { echo?: boolean, msgId?: string, reply?: boolean }} SendOptions
 *   echo: false leaves this connection out of the receivers; msgId makes a send to a durable group idempotent; reply: false does not
 *   wait for the server's answer
 */

const SUBPROTOCOL = 'gatecast.v1'
const PONG_GRACE = 10_000 // ms a server gets beyond its ping period before it counts as dead
const STABLE = 10_000 // ms a connection must have lived for the next loss to count as the first again
const REJOIN_CHUNK = 50 // groups in one frame, to stay below any server's message limit
const TEMPORARY = new Set(['unavailable', 'timeout', 'rate_limited'])

/** A refusal. `code` is an error code of the protocol, 'lost' (the connection broke before the reply: the message may or may not have
 * been delivered) or 'closed'. */
export class GatecastError extends Error {
  /** @param {string} code @param {string} [message] @param {string} [group] */
  constructor(code, message = code, group = undefined) {
    super(group === undefined ? message : `${group}: ${message}`)
    this.name = 'GatecastError'
    this.code = code
    this.group = group
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return TEMPORARY.has(this.code)
  }
}

/**
 * The name of the group that kind has for a value from an identity: groupName('user', id) is the personal group of user id.
 * @param {string} kind @param {string | number} value @returns {string}
 */
export function groupName(kind, value) {
  let name = kind + '.'
  for (const byte of new TextEncoder().encode(String(value))) {
    const c = String.fromCharCode(byte)
    name += /[A-Za-z0-9_-]/.test(c) ? c : '%' + byte.toString(16).toUpperCase().padStart(2, '0')
  }
  return name
}

/**
 * Connects to a server's /ws address; a relative one is taken from the page's.
 * @param {string} url @param {Options} [options] @returns {Connection}
 */
export function connect(url, options = {}) {
  return new Connection(url, options)
}

/**
 * A connection that comes back by itself until close().
 *
 *                 welcome, groups are back
 *   connecting ──────────────────────────► connected
 *     ▲    │                                   │
 *     │    └──── refused ─────► closed ◄───────┤ close(), or a close code that forbids a retry
 *     └────── time is up ───── waiting ◄───────┘ lost
 */
export class Connection {
  #url
  #options
  #WebSocket
  /** @type {Map<string, Set<Function>>} */
  #listeners = new Map()
  /** @type {State} */
  #state = 'connecting'
  /** @type {Welcome | undefined} */
  #welcome
  /** @type {Link | undefined} */
  #link
  /** What the caller added, in order. added: the server said ok once, so it is added again after a reconnect.
   * @type {Map<string, { handler?: Function, added: boolean, before?: object }>} */
  #groups = new Map()
  /** Calls that wait for a connection. */
  #waiting = new Set()
  #failures = 0
  #timer
  #token
  #refusedToken
  #lastCode
  #online = () => this.#onOnline()

  /** @param {string} url @param {Options} options */
  constructor(url, options) {
    this.#options = { carrier: 'subprotocol', retryMin: 500, retryMax: 30_000, queue: 1000, ...options }
    this.#WebSocket = this.#options.WebSocket ?? globalThis.WebSocket
    if (!this.#WebSocket) throw new Error('there is no WebSocket here: pass one, { WebSocket } from the npm package ws for example')
    if (!['subprotocol', 'message', 'query'].includes(this.#options.carrier)) throw new Error(`unknown carrier ${this.#options.carrier}`)
    this.#url = new URL(url, globalThis.location?.href)
    this.#url.protocol = this.#url.protocol.replace(/^http/, 'ws')
    for (const group of this.#options.groups ?? []) this.#groups.set(group, { added: true })
    globalThis.addEventListener?.('online', this.#online)
    queueMicrotask(() => this.#connect()) // so that listeners added right after connect() miss nothing
  }

  /** @returns {State} */
  get state() {
    return this.#state
  }

  /** What the server said of the latest login. @returns {Welcome | undefined} */
  get welcome() {
    return this.#welcome
  }

  /**
   * Listens: 'message' hears messages of groups without a handler of their own, 'event' what else the server says about groups,
   * 'state' every change of state. Returns a function that ends it.
   * @param {'message' | 'event' | 'state'} type @param {Function} listener @returns {() => void}
   */
  on(type, listener) {
    if (!this.#listeners.has(type)) this.#listeners.set(type, new Set())
    this.#listeners.get(type).add(listener)
    return () => this.#listeners.get(type).delete(listener)
  }

  /**
   * Joins a group. When it resolves, every message sent to the group from then on, anywhere in the cluster, arrives while the
   * connection lasts; after a reconnect the group is added again. A second groupAdd of a group replaces its handler.
   * @param {string} group @param {(message: Message) => void} [handler] @param {CallOptions} [options] @returns {Promise<void>}
   */
  async groupAdd(group, handler = undefined, options = {}) {
    const old = this.#groups.get(group)
    const member = { handler, added: false, before: old?.added ? old : old?.before }
    this.#groups.set(group, member)
    try {
      await this.#call({ op: 'group_add', group }, {
        ...options,
        repeat: true, // adding twice does no harm
        onOK: () => this.#groups.set(group, Object.assign(member, { added: true, before: undefined })),
      })
    } catch (error) {
      if (this.#groups.get(group) === member) {
        if (member.before) this.#groups.set(group, member.before)
        else this.#groups.delete(group)
        // The server may have added it just now.
        if (options.signal?.aborted && !member.before) this.#link?.welcomed && this.#link.send({ op: 'group_discard', group })
      }
      throw error
    }
  }

  /**
   * Leaves a group. After it resolved, no message of the group arrives.
   * @param {string} group @param {CallOptions} [options] @returns {Promise<void>}
   */
  async groupDiscard(group, options = {}) {
    const member = this.#groups.get(group)
    if (member) Object.assign(member, { added: false, before: undefined }) // a reconnect from here on leaves it out
    const forget = () => this.#groups.delete(group)
    const addWaits = [...this.#waiting].some(({ frame }) => frame.op === 'group_add' && frame.group === group)
    if (!this.#link?.welcomed && !addWaits && this.#state !== 'closed') {
      forget()
      return
    }
    try {
      await this.#call({ op: 'group_discard', group }, { ...options, onOK: forget })
    } catch (error) {
      if (error.code !== 'lost') throw error
      forget() // the connection is gone, and its memberships with it
    }
  }

  /**
   * Sends data to every member of a group. It needs the grant to publish, not membership. While there is no connection it waits.
   * @param {string} group @param {any} data @param {SendOptions} [options] @returns {Promise<{ seq?: number }>}
   */
  async groupSend(group, data, { echo = true, msgId, reply = true, signal } = {}) {
    const frame = { op: 'group_send', group, data: data === undefined ? null : data }
    if (!echo) frame.echo = false
    if (msgId !== undefined) frame.msg_id = msgId
    const answer = await this.#call(frame, { signal, noReply: !reply })
    return answer?.seq === undefined ? {} : { seq: answer.seq }
  }

  /**
   * Gives the server a new token: refreshes the login (same user only), or logs in an anonymous connection once. Reconnects use it
   * too, unless options.token is a function.
   * @param {string} token @param {CallOptions} [options] @returns {Promise<void>}
   */
  async auth(token, options = {}) {
    await this.#call({ op: 'auth', token }, options)
    if (typeof this.#options.token !== 'function') this.#options.token = token
  }

  /** Resolves with the ms the server took to answer. @param {CallOptions} [options] @returns {Promise<number>} */
  async ping(options = {}) {
    const began = performance.now()
    await this.#call({ op: 'ping' }, options)
    return performance.now() - began
  }

  /** Says goodbye to the server and ends the connection for good. */
  close() {
    if (this.#state === 'closed') return
    const link = this.#link
    this.#link = undefined
    link?.end(1000)
    this.#finish({ state: 'closed' }, link)
  }

  // From here on: the life of a link.

  async #connect() {
    if (this.#state === 'closed') return
    this.#setState({ state: 'connecting' })
    try {
      await this.#renewToken()
    } catch (error) {
      this.#lost(undefined, { code: 1006, reason: `no token: ${error?.message ?? error}` })
      return
    }
    if (this.#state !== 'connecting') return // close() came meanwhile
    if (this.#token !== undefined && this.#token === this.#refusedToken) {
      this.#finish({ state: 'closed', code: 4401, reason: 'the token was refused and there is no other' })
      return
    }
    const url = new URL(this.#url)
    const protocols = [SUBPROTOCOL]
    if (this.#token !== undefined) {
      if (this.#options.carrier === 'subprotocol') protocols.push('bearer64.' + base64url(this.#token))
      if (this.#options.carrier === 'query') url.searchParams.set('token', this.#token)
    }
    const link = new Link(new this.#WebSocket(url.href, protocols), {
      onOpen: () => {
        if (this.#token !== undefined && this.#options.carrier === 'message') link.send({ op: 'auth', id: link.nextID(), token: this.#token })
      },
      onFrame: (frame) => this.#onFrame(link, frame),
      onLost: (why) => this.#link === link && this.#lost(link, why),
    })
    this.#link = link
  }

  async #renewToken() {
    const { token } = this.#options
    this.#token = (typeof token === 'function' ? await token() : token) || undefined
  }

  #onFrame(link, frame) {
    if (this.#link !== link) return // close() was called in an earlier listener
    switch (frame.op) {
      case 'welcome':
        this.#onWelcome(link, frame)
        break
      case 'ok':
        link.resolve(frame)
        break
      case 'error':
        this.#onError(link, frame)
        break
      case 'message':
        this.#onMessage(frame)
        break
      case 'ping':
        link.send({ op: 'pong' })
        break
      case 'close':
        link.notice = frame
        break
      case 'group_discarded':
        this.#groups.delete(frame.group)
        this.#emit('event', frame)
        break
      case 'group_added':
      case 'join':
      case 'leave':
      case 'reset':
        this.#emit('event', frame)
        break
      // Other ops are left to newer clients.
    }
  }

  #onWelcome(link, frame) {
    const { conn, user, groups = [], node, expires, ping } = frame
    this.#welcome = { conn, user, groups, node, ...(expires && { expires }) }
    link.watch(ping)
    if (link.welcomed) return // the answer to an auth
    link.welcomed = true
    this.#rejoin(link)
    for (const call of this.#waiting) link.start(call)
    this.#waiting.clear()
  }

  #onError(link, frame) {
    if (frame.id !== undefined && link.welcomed) {
      link.resolve(frame)
      return
    }
    link.refusal = new GatecastError(frame.code, frame.message, frame.group)
    if (link.welcomed) this.#emit('event', frame)
  }

  #onMessage({ op, ...message }) {
    const handler = this.#groups.get(message.group)?.handler
    if (handler) run(handler, message)
    else this.#emit('message', message)
  }

  /** Puts the groups back, then says connected. Groups that fail for the moment are tried again while the link lives. */
  async #rejoin(link) {
    let names = [...this.#groups].filter(([, m]) => m.added || m.before).map(([name]) => name)
    for (let attempt = 0; ; attempt++) {
      names = await this.#rejoinOnce(link, names)
      if (this.#link !== link) return
      if (attempt === 0) this.#setState({ state: 'connected' })
      if (names.length === 0) return
      await new Promise((resolve) => (link.rejoinTimer = setTimeout(resolve, jitter(this.#ceiling(attempt)))))
      if (this.#link !== link) return
    }
  }

  /** Resolves with the names to try again. */
  async #rejoinOnce(link, names) {
    const chunks = []
    for (let i = 0; i < names.length; i += REJOIN_CHUNK) chunks.push(names.slice(i, i + REJOIN_CHUNK))
    const again = await Promise.all(chunks.map(async (groups) => {
      let replies
      try {
        const answer = await new Promise((resolve, reject) => link.start({ frame: { op: 'group_add', groups }, resolve, reject }))
        replies = answer.groups ?? []
      } catch (error) { // the whole request was refused, or the link is lost
        replies = groups.map((group) => ({ group, error }))
      }
      return this.#link === link ? replies.filter((r) => this.#rejoinFailed(r)).map((r) => r.group) : []
    }))
    return again.flat()
  }

  /** Whether to try again; a group refused for good is given up with an event. */
  #rejoinFailed({ group, error }) {
    if (!error || !this.#groups.has(group)) return false
    if (TEMPORARY.has(error.code)) return true
    this.#groups.delete(group)
    this.#emit('event', { op: 'refused', group, code: error.code, message: error.message })
    return false
  }

  #lost(link, { code, reason }) {
    this.#link = undefined
    link?.forget((call) => (call.repeat ? this.#waiting.add(call) : call.reject(new GatecastError('lost', 'the connection was lost before the reply'))))
    if (link?.welcomedAt && performance.now() - link.welcomedAt >= STABLE) this.#failures = 0
    const change = { code, ...((reason || link?.notice?.reason) && { reason: reason || link.notice.reason }), ...(link?.refusal && { error: link.refusal }) }
    const wait = this.#retryIn(code, link?.notice?.retry)
    if (wait === undefined) {
      this.#finish({ state: 'closed', ...change }, link)
      return
    }
    this.#lastCode = code
    this.#timer = setTimeout(() => this.#connect(), wait)
    this.#setState({ state: 'waiting', ...change, retry: wait })
  }

  /** The protocol's rule: ms to wait, undefined if this close code forbids a reconnect. */
  #retryIn(code, hint) {
    if (Array.isArray(hint) && hint.length === 2 && hint[0] >= 0 && hint[1] >= hint[0] && hint[1] <= 3_600_000) {
      return hint[0] + jitter(hint[1] - hint[0])
    }
    if (code === 4401 && typeof this.#options.token === 'function') {
      this.#refusedToken = this.#token
      return jitter(this.#options.retryMin)
    }
    if (![1001, 1006, 1011, 1012].includes(code) && !(code >= 4100 && code < 4300)) return undefined
    return jitter(this.#ceiling(this.#failures++))
  }

  #ceiling(attempt) {
    return Math.min(this.#options.retryMax, this.#options.retryMin * 2 ** Math.min(attempt, 30))
  }

  /** The network is back: no need to wait, unless the server asked for it. */
  #onOnline() {
    if (this.#state !== 'waiting' || this.#lastCode !== 1006) return
    clearTimeout(this.#timer)
    this.#connect()
  }

  #finish(change, link) {
    clearTimeout(this.#timer)
    globalThis.removeEventListener?.('online', this.#online)
    const error = new GatecastError('closed', 'the connection is closed')
    link?.forget((call) => call.reject(error))
    for (const call of this.#waiting) call.reject(error)
    this.#waiting.clear()
    this.#setState(change)
  }

  #call(frame, { signal, ...options } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason // the executor's throw rejects
      if (this.#state === 'closed') throw new GatecastError('closed', 'the connection is closed')
      const call = { frame, resolve, reject, ...options }
      signal?.addEventListener('abort', () => {
        this.#waiting.delete(call)
        this.#link?.calls.delete(call.id)
        reject(signal.reason)
      }, { once: true })
      if (this.#link?.welcomed) this.#link.start(call)
      else if (this.#waiting.size < this.#options.queue) this.#waiting.add(call)
      else throw new GatecastError('limit', 'too many requests wait for a connection')
    })
  }

  /** @param {StateChange} change */
  #setState(change) {
    this.#state = change.state
    this.#emit('state', change)
  }

  #emit(type, value) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) run(listener, value)
  }
}

/** One WebSocket, from the handshake to its loss. */
class Link {
  calls = new Map()
  welcomed = false
  welcomedAt
  notice // the close op, which comes before the close frame
  refusal // the last error without an id: why the server is about to close
  rejoinTimer
  #socket
  #on
  #lastID = 0
  #lastFrame = 0
  #watchdog

  constructor(socket, on) {
    this.#socket = socket
    this.#on = on
    socket.addEventListener('open', () => this.#on?.onOpen())
    socket.addEventListener('message', (event) => this.#onMessage(event.data))
    socket.addEventListener('close', (event) => this.#lost(event.code, event.reason))
    socket.addEventListener('error', () => {}) // 'close' follows and says more
  }

  nextID() {
    return ++this.#lastID
  }

  send(frame) {
    this.#socket.send(JSON.stringify(frame))
  }

  /** Sends a call's frame and keeps it for the reply. */
  start(call) {
    if (call.noReply) {
      this.send(call.frame)
      call.resolve()
      return
    }
    call.id = this.nextID()
    this.calls.set(call.id, call)
    const { op, ...fields } = call.frame
    this.send({ op, id: call.id, ...fields })
  }

  /** Hands a reply to its call. */
  resolve(frame) {
    const call = this.calls.get(frame.id)
    if (!call) return // the caller gave up
    this.calls.delete(frame.id)
    if (frame.op === 'error') {
      call.reject(new GatecastError(frame.code, frame.message, frame.group ?? call.frame.group))
      return
    }
    call.onOK?.()
    call.resolve(frame)
  }

  /** Gives every open call to each, once. */
  forget(each) {
    const calls = [...this.calls.values()]
    this.calls.clear()
    calls.forEach(each)
  }

  /** Expects some frame at least every `ping` seconds, plus the time for an answer. */
  watch(ping) {
    this.welcomedAt ??= performance.now()
    clearTimeout(this.#watchdog)
    if (!(ping > 0)) return
    const silence = ping * 1000 + PONG_GRACE
    const check = () => {
      const left = this.#lastFrame + silence - performance.now()
      if (left > 0) this.#watchdog = setTimeout(check, left)
      else this.#fail(1006, 'the server is silent')
    }
    check()
  }

  /** Ends the socket without a word to the connection. */
  end(code) {
    this.#on = undefined
    clearTimeout(this.#watchdog)
    clearTimeout(this.rejoinTimer)
    this.#socket.close(code)
  }

  #onMessage(data) {
    this.#lastFrame = performance.now()
    let frame
    try {
      frame = JSON.parse(data)
    } catch {
      // no JSON, or binary
    }
    if (typeof data !== 'string' || typeof frame?.op !== 'string') this.#fail(1002, 'the server sent no frame of this protocol')
    else this.#on?.onFrame(frame)
  }

  /** Browsers may wait a minute for the close frame of a dead server: the connection does not. */
  #fail(code, reason) {
    const on = this.#on
    this.end(code === 1002 ? 4400 : 4000) // scripts may close with 1000 and 3000 to 4999 only
    on?.onLost({ code, reason })
  }

  #lost(code, reason) {
    const on = this.#on
    this.end(1000)
    // The server's last word counts if its close frame was cut off.
    on?.onLost({ code: code === 1006 && this.notice?.code ? this.notice.code : code, reason })
  }
}

/** Full jitter: any time up to ms is as likely, so clients that were cut at once come back evenly spread. */
function jitter(ms) {
  return Math.random() * ms
}

function base64url(text) {
  const bytes = new TextEncoder().encode(text)
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}

/** A listener that throws must not stop the others; its error shows as uncaught. */
function run(listener, value) {
  try {
    listener(value)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
