import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, test } from 'node:test'
import WebSocket from 'ws'

import * as gatecast from '../gatecast.js'
import { FakeServer, Inbox } from './fakeserver.js'

const { connect, groupName, GatecastError } = gatecast

let server
let conns
beforeEach(async () => {
  conns = []
  server = await FakeServer.start()
})
afterEach(async () => {
  for (const c of conns) c.close()
  await server.stop()
})

function dial(options = {}) {
  const conn = connect(server.url, { WebSocket, retryMin: 1, retryMax: 5, ...options })
  const states = new Inbox()
  conn.on('state', (s) => states.put(s))
  conns.push(conn)
  return { conn, states }
}

async function until(states, name) {
  for (;;) {
    const s = await states.take(`state ${name}`)
    if (s.state === name) return s
  }
}

test('groupName quotes a value into one token', () => {
  assert.equal(groupName('user', 42), 'user.42')
  assert.equal(groupName('user', 'a.b@x.com'), 'user.a%2Eb%40x%2Ecom')
  assert.equal(groupName('user', 'Zoë *>%'), 'user.Zo%C3%AB%20%2A%3E%25')
  assert.equal(groupName('user', 'under_score-dash'), 'user.under_score-dash')
})

test('groupName agrees with the vectors of all clients', () => {
  const { users } = JSON.parse(readFileSync(new URL('../../conformance/names.json', import.meta.url), 'utf8'))
  assert.ok(users.length > 0)
  for (const { id, group } of users) assert.equal(groupName('user', id), group)
})

test('the types name every export', () => {
  const types = readFileSync(new URL('../gatecast.d.ts', import.meta.url), 'utf8')
  for (const name of Object.keys(gatecast)) assert.match(types, new RegExp(`export (class|function) ${name}\\b`))
})

test('the query carrier puts the token into the address', async () => {
  dial({ token: 'a b&', carrier: 'query' })
  const peer = await server.login()
  assert.deepEqual(peer.protocols, ['gatecast.v1'])
  assert.equal(peer.query.get('token'), 'a b&')
})

test('impossible options are refused at once', () => {
  assert.throws(() => connect(server.url, { WebSocket, carrier: 'pigeon' }), /unknown carrier/)
  assert.throws(() => connect('/ws', { WebSocket }), /Invalid URL/)
})

test('a handler hears its group, the listener hears the others', async () => {
  const { conn } = dial()
  const peer = await server.login()
  const handled = new Inbox()
  const listened = new Inbox()
  conn.on('message', (m) => listened.put(m))
  const added = conn.groupAdd('chat.7', (m) => handled.put(m))
  const { id } = await peer.recv()
  peer.send({ op: 'ok', id, group: 'chat.7' })
  await added
  peer.send({ op: 'message', group: 'chat.7', data: 1, from: '7' })
  peer.send({ op: 'message', group: 'user.42', data: 2 })
  assert.deepEqual(await handled.take('the message'), { group: 'chat.7', data: 1, from: '7' })
  assert.deepEqual(await listened.take('the message'), { group: 'user.42', data: 2 })
  assert.equal(handled.left.length + listened.left.length, 0)
})

test('welcome is kept', async () => {
  const { conn, states } = dial()
  await server.login({ expires: 1900000000 })
  await until(states, 'connected')
  assert.deepEqual(conn.welcome, { conn: 'c1', user: '42', groups: ['user.42'], node: 'n1', expires: 1900000000 })
})

test('requests wait for a connection, up to the limit', async () => {
  const { conn } = dial({ queue: 1 })
  const sent = conn.groupSend('a', undefined)
  await assert.rejects(conn.groupSend('b', 1), (e) => e instanceof GatecastError && e.code === 'limit')
  const peer = await server.login()
  const { id, ...frame } = await peer.recv()
  assert.deepEqual(frame, { op: 'group_send', group: 'a', data: null })
  peer.send({ op: 'ok', id, seq: 5 })
  assert.deepEqual(await sent, { seq: 5 })
})

test('a group added and discarded while there is no connection ends up discarded', async () => {
  const { conn } = dial()
  const both = Promise.all([conn.groupAdd('a'), conn.groupDiscard('a')])
  const peer = await server.login()
  for (const op of ['group_add', 'group_discard']) {
    const frame = await peer.recv()
    assert.equal(frame.op, op)
    peer.send({ op: 'ok', id: frame.id, group: 'a' })
  }
  await both
  peer.close(1012)
  const next = await server.login()
  const ping = conn.ping()
  const { op, id } = await next.recv()
  assert.equal(op, 'ping')
  next.send({ op: 'ok', id })
  await ping
})

test('an aborted groupAdd takes itself back', async () => {
  const { conn } = dial()
  const peer = await server.login()
  const abort = new AbortController()
  const added = conn.groupAdd('slow', undefined, { signal: abort.signal })
  const { id } = await peer.recv()
  abort.abort()
  await assert.rejects(added, { name: 'AbortError' })
  assert.deepEqual(await peer.recv(), { op: 'group_discard', group: 'slow' })
  peer.send({ op: 'ok', id, group: 'slow' }) // nobody waits any more
})

test('groupAdd that is interrupted goes on with the next connection', async () => {
  const { conn } = dial()
  const first = await server.login()
  const added = conn.groupAdd('a')
  await first.recv()
  first.drop()
  const second = await server.login()
  const { id } = await second.recv()
  second.send({ op: 'ok', id, group: 'a' })
  await added
})

test('a send without reply reports its refusal as an event', async () => {
  const { conn } = dial()
  const peer = await server.login()
  const events = new Inbox()
  conn.on('event', (e) => events.put(e))
  await conn.groupSend('a', { x: 1 }, { reply: false })
  assert.deepEqual(await peer.recv(), { op: 'group_send', group: 'a', data: { x: 1 } })
  peer.send({ op: 'error', code: 'forbidden', message: 'no grant' })
  assert.equal((await events.take('the event')).code, 'forbidden')
})

test('a token function renews a refused token, and gives up without another', async () => {
  const tokens = ['t1', 't2', 't2']
  const { states } = dial({ carrier: 'message', token: async () => tokens.shift() })
  for (const token of ['t1', 't2']) {
    const peer = await server.login()
    assert.equal((await peer.recv()).token, token)
    peer.close(4401, 'expired')
  }
  assert.equal((await until(states, 'closed')).code, 4401)
})

test('a token function that fails is asked again', async () => {
  let asked = 0
  dial({ carrier: 'message', token: () => (++asked < 3 ? Promise.reject(new Error('offline')) : 't') })
  const peer = await server.login()
  assert.equal((await peer.recv()).token, 't')
})

test('frames of another protocol end the connection', async () => {
  for (const send of [(p) => p.send('{'), (p) => p.send('[]'), (p) => p.send('null'), (p) => p.sendBinary(Buffer.from('{"op":"ping"}'))]) {
    const { states } = dial()
    const peer = await server.login()
    send(peer)
    assert.equal((await until(states, 'closed')).code, 1002)
    assert.equal(await peer.ended(), 4400)
  }
})

test('a silent server is dead', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const { conn } = dial()
  const waiting = new Promise((resolve) => conn.on('state', (s) => s.state === 'waiting' && resolve(s)))
  const connected = new Promise((resolve) => conn.on('state', (s) => s.state === 'connected' && resolve()))
  const accepted = server.accept()
  const peer = await accepted
  peer.send({ op: 'welcome', conn: 'c1', user: '42', groups: [], ping: 25, node: 'n1' })
  await connected
  now = 34_999
  t.mock.timers.tick(34_999)
  assert.equal(conn.state, 'connected')
  now = 35_000
  t.mock.timers.tick(1)
  assert.equal((await waiting).code, 1006)
  conn.close()
})

test('close ends everything', async () => {
  const { conn, states } = dial()
  const peer = await server.login()
  await until(states, 'connected')
  const open = conn.ping()
  conn.close()
  conn.close()
  await assert.rejects(open, (e) => e.code === 'closed')
  assert.equal(await peer.ended(), 1000)
  assert.deepEqual(await until(states, 'closed'), { state: 'closed' })
  for (const call of [conn.groupAdd('a'), conn.groupDiscard('a'), conn.groupSend('a', 1), conn.auth('t'), conn.ping()]) {
    await assert.rejects(call, (e) => e.code === 'closed')
  }
  assert.equal(server.handshakesLeft, 0)
})

test('close before the socket is open', async () => {
  const { conn, states } = dial()
  conn.close()
  assert.deepEqual(await until(states, 'closed'), { state: 'closed' })
})

test('close while it waits for the next attempt', async () => {
  const { conn, states } = dial({ retryMin: 60_000, retryMax: 60_000 })
  const peer = await server.login()
  peer.drop()
  const { retry } = await until(states, 'waiting')
  assert.ok(retry >= 0 && retry <= 60_000)
  conn.close()
  await until(states, 'closed')
})

test('a listener that throws does not stop the others', async (t) => {
  const { conn } = dial()
  const peer = await server.login()
  const got = new Inbox()
  const rethrown = []
  t.mock.method(globalThis, 'queueMicrotask', (rethrow) => rethrown.push(rethrow))
  conn.on('message', () => {
    throw new Error('mine')
  })
  const off = conn.on('message', (m) => got.put(m.data))
  peer.send({ op: 'message', group: 'user.42', data: 1 })
  assert.equal(await got.take('the message'), 1)
  assert.throws(rethrown[0], /mine/)
  off()
  assert.equal(got.left.length, 0)
})
