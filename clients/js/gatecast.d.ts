// Types of gatecast.js; its comments have the details.

export type State = 'connecting' | 'connected' | 'waiting' | 'closed'

export interface StateChange {
  state: State
  code?: number
  reason?: string
  error?: GatecastError
  retry?: number
}

export interface Message<T = any> {
  group: string
  data: T
  from?: string
  format?: string
  seq?: number
}

export interface GroupEvent {
  op: 'group_added' | 'group_discarded' | 'join' | 'leave' | 'reset' | 'refused' | 'error'
  group?: string
  user?: string
  code?: string
  message?: string
}

export interface Welcome {
  conn: string
  user: string
  groups: string[]
  node: string
  expires?: number
}

export interface Options {
  token?: string | (() => string | Promise<string>)
  carrier?: 'subprotocol' | 'message' | 'query'
  groups?: string[]
  retryMin?: number
  retryMax?: number
  queue?: number
  WebSocket?: unknown
}

export interface CallOptions {
  signal?: AbortSignal
}

export interface SendOptions extends CallOptions {
  echo?: boolean
  msgId?: string
  reply?: boolean
}

export class GatecastError extends Error {
  constructor(code: string, message?: string, group?: string)
  readonly code: string
  readonly group?: string
  readonly temporary: boolean
}

export class Connection {
  readonly state: State
  readonly welcome: Welcome | undefined
  on(type: 'message', listener: (message: Message) => void): () => void
  on(type: 'event', listener: (event: GroupEvent) => void): () => void
  on(type: 'state', listener: (change: StateChange) => void): () => void
  groupAdd<T = any>(group: string, handler?: (message: Message<T>) => void, options?: CallOptions): Promise<void>
  groupDiscard(group: string, options?: CallOptions): Promise<void>
  groupSend(group: string, data: unknown, options?: SendOptions): Promise<{ seq?: number }>
  auth(token: string, options?: CallOptions): Promise<void>
  ping(options?: CallOptions): Promise<number>
  close(): void
}

export function connect(url: string, options?: Options): Connection
export function groupName(kind: string, value: string | number): string
