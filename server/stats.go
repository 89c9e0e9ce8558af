package server

import (
	"sync"
	"sync/atomic"
)

// counter counts what any goroutine may count.
type counter = atomic.Uint64

// counters are what a node counts from its start; see metrics.go for what each means.
type counters struct {
	messagesIn, bytesIn, published, delivered, undeliverable counter
	limited, slow, lost, peerClosed, sweeps, sweepErrors     counter
	noRoom                                                   counter // conns that passed partial_bytes

	dropped [len(slowNames)]counter // messages, by slow policy

	offersAccepted, offersDeclined     counter // of permessage-deflate
	deflated, deflatedFrom, deflatedTo counter // messages, bytes before and after
	inflated, inflatedFrom, inflatedTo counter // the same of what conns sent
	deliveredDeflated                  counter
	uninflatable                       labelled[string] // reason

	handshakes labelled[[2]string] // result, reason
	closes     labelled[int]       // close code
	refusals   labelled[string]    // error code of ops
}

func (c *counters) handshake(result, reason string) { c.handshakes.add([2]string{result, reason}) }
func (c *counters) closed(code int)                 { c.closes.add(code) }
func (c *counters) refusedOp(code string)           { c.refusals.add(code) }

// labelled is a counter for each value of a label. Values come from tables of ours, never from a peer.
type labelled[K comparable] struct {
	mu sync.RWMutex
	m  map[K]*counter
}

func (l *labelled[K]) add(key K) {
	l.mu.RLock()
	n := l.m[key]
	l.mu.RUnlock()
	if n == nil {
		l.mu.Lock()
		if l.m == nil {
			l.m = make(map[K]*counter)
		}
		if n = l.m[key]; n == nil {
			n = new(counter)
			l.m[key] = n
		}
		l.mu.Unlock()
	}
	n.Add(1)
}

// each yields a snapshot.
func (l *labelled[K]) each(yield func(key K, n uint64)) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for key, n := range l.m {
		yield(key, n.Load())
	}
}

// keptKinds name what [Node.kept] counts: first what owners keep, in the order of [owner.kept], then what the node does.
var keptKinds = [...]string{"login", "intake", "partial", "adding", "pending_group", "late_add", "raw_group", "refusals", "group", "address", "user"}

// keptByOwners is how many of keptKinds are owners'.
const keptByOwners = 8

// kept yields what the node keeps for its conns. What is not 0 without conns was forgotten to be given back.
func (n *Node) kept(yield func(what string, entries int)) {
	parts := make([][keptByOwners]int, len(n.owners))
	if !n.onLoops(func(o *owner) { parts[o.loop.Index()] = o.kept() }) {
		return
	}
	for i, what := range keptKinds[:keptByOwners] {
		entries := 0
		for _, p := range parts {
			entries += p[i]
		}
		yield(what, entries)
	}
	for i, entries := range []int{n.where.len(), n.addresses.len(), n.users.len()} {
		yield(keptKinds[keptByOwners+i], entries)
	}
}

func (o *owner) kept() [keptByOwners]int {
	return [...]int{o.logins.index.Len(), len(o.intake), len(o.partials), len(o.adding), len(o.pending), len(o.late), len(o.rawGroups),
		len(o.refusals)}
}
