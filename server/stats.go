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

	dropped [len(slowNames)]counter // messages, by slow policy

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
