// Package loop owns the sockets: event loops that accept, read, write and close them for a [Handler] above, which never sees
// a descriptor, a buffer of the kernel or a second goroutine.
//
// An [Engine] has N loops. A socket belongs to one [Loop] for its whole life, and only that loop's goroutine touches it:
//
//	Serve, one goroutine for each listener          any goroutine
//	  accept ─► pick a loop                           Post(task) ─► inbox; a wake only if the loop sleeps
//	                   │                                              │
//	                   ▼                                              ▼
//	┌─ Loop: one goroutine ──────────────────────────────────────────────────────────────────────┐
//	│                                                                                            │
//	│   wait ─► ready sockets ─► inbox ──────► tasks ──► Turn ──► flush ──► reap ──► once a second │
//	│    ▲      Handler.Read     Handler.Open  Handler.  Handler. one write Handler.  Handler.Tick │
//	│    │                                     Task      Turn     a dirty   Closed         │      │
//	│    │                                                        socket                   │      │
//	│    └── at once if something is left, else until an event, a wake or the next tick ◄───┘      │
//	│                                                                                            │
//	│   owns: slab of socks (no pointers), pieces and palette of pending output, read and cork   │
//	│   buffer, close list, Handler and all it keeps                                             │
//	└───────────┬────────────────────────────────────────────────────┬───────────────────────────┘
//	            │ transport: raw descriptors                         │ transport: net.Conns
//	            ▼                                                    ▼
//	   epoll (Linux): level-triggered,                   netConns (TLS, pipes, other systems):
//	   nothing in memory beside the sock                 a reader goroutine each, a writer while it writes;
//	                                                     both report to the inbox and call nothing above
//
// Tasks and writes stop after about 2 ms or 256 KB and go on in the next turn, so that one long fan-out does not keep other sockets
// waiting; what is sent to a socket that still waits for its write goes out in the same one.
//
// Messages are [Frame] values, shared by all who get them. [Loop.Send] queues one, [Loop.SendNow] writes it at once,
// [Loop.SendBytes] queues private bytes; send.go draws their way out, close.go the ends of a socket, slab.go its states.
//
// No lock is held while a handler runs or a socket is written to. The locks there are: Loop.inbox (never with another),
// Loop.publishedMu, Engine.mu (listeners) and epoll's, between a late wake and the end of the loop.
//
// A panic in a handler closes one socket: see [Handler] and [Loop.Blame]. A handler that blocks is told of by a watchdog: watchdog.go.
package loop
