// A WebSocket server in which the test says every frame.

import { once } from 'node:events'
import { WebSocketServer } from 'ws'

const PATIENCE = 5000 // ms for anything a test waits for

/** A queue whose take() waits for the next item. */
export class Inbox {
  #items = []
  #takers = []

  put(item) {
    const taker = this.#takers.shift()
    if (taker) taker(item)
    else this.#items.push(item)
  }

  async take(what) {
    if (this.#items.length > 0) return this.#items.shift()
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`waited ${PATIENCE} ms for ${what}`)), PATIENCE)
    })
    try {
      return await Promise.race([new Promise((resolve) => this.#takers.push(resolve)), late])
    } finally {
      clearTimeout(timer)
    }
  }

  get left() {
    return this.#items
  }
}

export class FakeServer {
  #wss
  #handshakes = new Inbox()

  static async start() {
    const s = new FakeServer()
    s.#wss = new WebSocketServer({ host: '127.0.0.1', port: 0, handleProtocols: (offered) => (offered.has('gatecast.v1') ? 'gatecast.v1' : false) })
    s.#wss.on('connection', (socket, request) => s.#handshakes.put(new Peer(socket, request)))
    await once(s.#wss, 'listening')
    return s
  }

  get url() {
    return `ws://127.0.0.1:${this.#wss.address().port}/ws`
  }

  accept() {
    return this.#handshakes.take('a handshake')
  }

  get handshakesLeft() {
    return this.#handshakes.left.length
  }

  /** The next client, welcomed. */
  async login(welcome = {}) {
    const peer = await this.accept()
    peer.send({ op: 'welcome', conn: 'c1', user: '42', groups: ['user.42'], ping: 25, node: 'n1', ...welcome })
    return peer
  }

  async stop() {
    for (const socket of this.#wss.clients) socket.terminate()
    await new Promise((resolve) => this.#wss.close(resolve))
  }
}

export class Peer {
  #socket
  #frames = new Inbox()
  #closed

  constructor(socket, request) {
    this.#socket = socket
    this.protocols = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((p) => p.trim())
    this.authorization = request.headers.authorization
    this.query = new URL(request.url, 'ws://x').searchParams
    this.#closed = once(socket, 'close')
    socket.on('message', (data) => this.#frames.put(JSON.parse(data)))
    socket.on('error', () => {}) // the client may end the connection in any way
  }

  send(frame) {
    this.#socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  sendBinary(bytes) {
    this.#socket.send(bytes, { binary: true })
  }

  recv() {
    return this.#frames.take('a frame')
  }

  get framesLeft() {
    return this.#frames.left
  }

  close(code, reason) {
    this.#socket.close(code, reason)
  }

  drop() {
    this.#socket.terminate()
  }

  /** Resolves with the client's close code when it has ended the connection. */
  async ended() {
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error('the client did not end the connection')), PATIENCE)
    })
    try {
      return (await Promise.race([this.#closed, late]))[0]
    } finally {
      clearTimeout(timer)
    }
  }
}
