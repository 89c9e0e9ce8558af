// Package broker carries messages between nodes: it embeds a NATS server or connects to a NATS cluster, and behaves the same with both.
//
//	 ┌─────── Publish ─► write buffer ─► [writer] ─┐                    ┌─► other nodes' relays
//	 │ Join ─► SUB, barrier ──────────────────────►│ relay ◄──► NATS ◄──┤
//	 └──────► Handler.Deliver ◄─ frames ◄─ [reader]┘              ▲     └─► native listeners
//	                                                              │
//	Handler.Ask, Serve ◄── questions, requests ◄─┐                │
//	       Publish ◄── checked ◄── ingress ◄─────┤ control ◄──────┤◄── services, native users ◄── door (Check)
//	       AskAll ──► questions ─────────────────┘                │
//
// A [Broker] has two links, each a connection with one reader and one writer goroutine, both speaking our own small part of the
// NATS protocol (proto.go, link.go). Everything that depends on order travels the relay link: lanes (relay.go), subscriptions
// (interest.go), the barrier that makes a join count (barrier.go), hello and heartbeats (peers.go, meet.go). The control link has the
// rest: the ingress (ingress.go), questions to all nodes and services' requests (control.go). The embedded server is started in
// embed.go, fed with routes in routes.go, and asks native.go who may connect.
//
// # Why a join counts
//
// What a node publishes it hands to its own members itself; its relay link asks NATS for no echo. To the others a route hands on what one
// connection sent in the order it was sent. SUB, then a request to every other node: whoever answers has the subscription in force at its
// server. The same holds for hello, in both directions: its answer follows all the answering node ever subscribed to. Therefore a node that
// starts publishes nothing until all others have answered, and one that is already publishing is asked by every barrier. See [Broker.Join].
//
// # Goroutines
//
// Two a link; one that ticks (heartbeats, lost nodes, timeouts, lingering subscriptions, vanished clients); one that resolves routes;
// one while this node meets the others; one for each question or request being answered, at most 256. None for a group, a message or
// a native user. [Broker.Close] waits for all.
//
// # Locks
//
// stateMu before mu before a link's mu; doorMu, workMu and questions.mu are leaves. None is held while the handler is called, but for
// stateMu around State; none while writing to a connection. The reader of the relay link takes mu for control messages only:
// a live message finds its group by sid without a lock.
package broker
