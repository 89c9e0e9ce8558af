// Package server is a Gatecast node: it accepts sockets, logs them in, keeps them in groups and relays messages
// between them and the broker.
//
// The way of a byte, in the order in which to read the files; package loop calls the [owner]:
//
//	accept ─► proxy ─► handshake ─► workers (authn.Chain) ─► handshake: admit ─► join ─► handshake: welcome
//	Open      Read, until the conn  on a worker              on the loop, from here on
//	          has a login
//
//	read ──┬─► ops ─► group_send ─┬─► broker.Publish ─┬────────────────────────► relay: Deliver ─► relay: deliver ─► loop: Send
//	Read   └─► route: rawSend ────┘                   └─► NATS ─► other nodes ─► the same there    each loop with members
//	       the sender's loop
//
// Verbs are files: group_add, group_discard, group_send, auth. What backends ask for arrives at admin or at NATS
// and is in control (disconnect, revalidate, group_add, group_discard) and api (group_send, lists). A conn ends
// in close, which also has the table of close codes; tick has its deadlines; drain ends them all.
//
// # Goroutines
//
//	event loops     one for each core, in package loop. An [owner] is the state of one loop: its conns, logins,
//	                hub and pending adds. Only that goroutine touches it, so it has no locks.
//	acceptor        one, in package loop
//	workers         verify logins, which may ask a database; end in Node.Close
//	broker's reader calls Deliver for what other nodes published, one message after the other
//	sweep           looks at all logins again every authn.revalidate; ends in Node.Close
//	HTTP, NATS ctl  call Node's exported methods, which post to the loops and wait
//
// A loop never waits: for nobody's lock that is held during I/O, nor for a worker, the broker or another loop.
//
// # Locks
//
// whereabouts (16 shards), counted, userConns, rate, attempts, revocations and labelled each guard one map for the
// length of one look-up, or of putting another in its place. No lock is held while another is taken, a socket is written or the broker is called.
package server
