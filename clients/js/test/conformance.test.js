// Plays the transcripts that every client library plays; clients/conformance/README.md has the format.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import WebSocket from 'ws'

import { connect } from '../gatecast.js'
import { FakeServer, Inbox } from './fakeserver.js'

const folder = new URL('../../conformance/', import.meta.url)
const files = readdirSync(folder).filter((name) => name.endsWith('.txt'))

test('the transcripts are there', () => assert.ok(files.length >= 12))

for (const file of files) {
  test(`conformance: ${file.replace('.txt', '')}`, async () => {
    const player = new Player(await FakeServer.start())
    try {
      const lines = readFileSync(new URL(file, folder), 'utf8').split('\n')
      for (const [i, raw] of lines.entries()) {
        const line = raw.trim()
        if (line === '' || line.startsWith('#')) continue
        try {
          await player.step(line)
        } catch (error) {
          error.message = `${file}:${i + 1}: ${line}\n${error.message}`
          throw error
        }
      }
      player.checkLeftovers()
    } finally {
      player.conn?.close()
      await player.server.stop()
    }
  })
}

class Player {
  conn
  peer
  states = new Inbox()
  messages = new Inbox()
  events = new Inbox()
  calls = new Map()
  vars = new Map()

  constructor(server) {
    this.server = server
  }

  async step(line) {
    const [side, verb, ...words] = line.split(' ')
    const rest = words.join(' ')
    switch (`${side} ${verb}`) {
      case 'client connect':
        return this.connect(JSON.parse(rest))
      case 'client state':
        return this.state(words[0], words.slice(1).join(' '))
      case 'client call':
        return this.call(words[0], words[1], JSON.parse(words.slice(2).join(' ')))
      case 'client ok':
        return assert.deepEqual(await this.calls.get(words[0]), { ok: true })
      case 'client error':
        return assert.deepEqual(await this.calls.get(words[0]), { code: words[1] })
      case 'client message':
        return match(rest, await this.messages.take('a message'))
      case 'client event':
        return match(rest, await this.events.take('an event'))
      case 'client close':
        return this.conn.close()
      case 'server accept':
        this.peer = await this.server.accept()
        return match(rest, this.peer)
      case 'server send':
        return this.peer.send(this.substitute(rest))
      case 'server recv':
        return this.bind(JSON.parse(rest), await this.peer.recv())
      case 'server close':
        return this.peer.close(Number(words[0]), words.slice(1).join(' '))
      case 'server drop':
        return this.peer.drop()
      case 'server closed':
        return this.peer.ended()
      default:
        throw new Error('unknown step')
    }
  }

  connect(options) {
    this.conn = connect(this.server.url, { ...options, WebSocket, retryMin: 1, retryMax: 5 })
    this.conn.on('state', (s) => s.state !== 'connecting' && this.states.put(s))
    this.conn.on('message', (m) => this.messages.put(m))
    this.conn.on('event', (e) => this.events.put(e))
  }

  async state(name, want) {
    const got = await this.states.take(`state ${name}`)
    assert.equal(got.state, name)
    match(want, { code: got.code, error: got.error?.code })
  }

  call(label, verb, { group, data, echo, msg_id: msgId, token }) {
    const promise = {
      group_add: () => this.conn.groupAdd(group),
      group_discard: () => this.conn.groupDiscard(group),
      group_send: () => this.conn.groupSend(group, data, { echo, msgId }),
      auth: () => this.conn.auth(token),
      ping: () => this.conn.ping(),
    }[verb]()
    this.calls.set(label, promise.then(() => ({ ok: true }), (error) => ({ code: error.code ?? String(error) })))
  }

  /** Compares want with got, giving values to the variables in want. */
  bind(want, got) {
    for (const [key, value] of Object.entries(want)) {
      if (typeof value !== 'string' || !value.startsWith('$')) continue
      if (!this.vars.has(value)) this.vars.set(value, got[key])
      want[key] = this.vars.get(value)
    }
    assert.deepEqual(got, want)
  }

  substitute(text) {
    for (const [name, value] of this.vars) text = text.replaceAll(`"${name}"`, JSON.stringify(value))
    return text
  }

  checkLeftovers() {
    assert.deepEqual(this.messages.left, [], 'messages were left over')
    assert.deepEqual(this.events.left, [], 'events were left over')
    assert.deepEqual(this.peer.framesLeft, [], 'frames were left over')
  }
}

/** Every key of the JSON object want must be equal in got. */
function match(want, got) {
  if (!want) return
  for (const [key, value] of Object.entries(JSON.parse(want))) assert.deepEqual(got[key], value, key)
}
