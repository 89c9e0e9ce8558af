package broker

import (
	"sync"
	"sync/atomic"
	"time"
)

// Stats is a snapshot of counters (since Open) and gauges.
type Stats struct {
	Up                bool
	Published         uint64 // messages written to the live lane
	PublishedBytes    uint64 // of data
	Delivered         uint64 // messages handed to Handler.Deliver
	DeliveredBytes    uint64
	Undeliverable     uint64 // came on a lane for a group already left, or made no sense
	IngressOK         uint64
	IngressRefused    map[string]uint64 // by error code; every code is there
	RefusedReplies    uint64            // messages ignored because their reply subject was no inbox of the sender
	Interest          int               // subscriptions to groups held
	Memberships       int               // joins counted
	PendingJoins      int               // subscriptions that wait for their barrier
	Barriers          uint64            // done
	BarrierTimeouts   uint64
	BarrierSeconds    float64 // sum over Barriers
	BarrierMaxSeconds float64
	Peers             int
	PeersLost         uint64 // silent for 3 s
	Hellos            uint64 // heard
	Reconnects        uint64 // of the links to NATS
	NativeConns       int
	NativeAccepted    uint64
	NativeRefused     uint64
	ServiceAccepted   uint64
	WriteBufferBytes  int
	Routes            int // connections to other servers of the cluster
}

// counters are touched on hot paths.
type counters struct {
	published, publishedBytes     atomic.Uint64
	delivered, deliveredBytes     atomic.Uint64
	undeliverable                 atomic.Uint64
	ingressOK, refusedReplies     atomic.Uint64
	ingressRefused                [len(ingressCodes)]atomic.Uint64
	barrierTimeouts               atomic.Uint64
	peersLost, hellos             atomic.Uint64
	nativeAccepted, nativeRefused atomic.Uint64
	serviceAccepted               atomic.Uint64

	mu          sync.Mutex
	barriers    uint64
	barrierSum  time.Duration
	barrierLast time.Duration // the longest
}

func (c *counters) refused(code string) {
	for i, known := range ingressCodes {
		if code == known {
			c.ingressRefused[i].Add(1)
		}
	}
}

func (c *counters) barrier(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.barriers++
	c.barrierSum += took
	c.barrierLast = max(c.barrierLast, took)
}

// Stats returns a snapshot.
func (b *Broker) Stats() Stats {
	c := &b.count
	s := Stats{
		Published: c.published.Load(), PublishedBytes: c.publishedBytes.Load(),
		Delivered: c.delivered.Load(), DeliveredBytes: c.deliveredBytes.Load(), Undeliverable: c.undeliverable.Load(),
		IngressOK: c.ingressOK.Load(), RefusedReplies: c.refusedReplies.Load(), IngressRefused: make(map[string]uint64, len(ingressCodes)),
		BarrierTimeouts: c.barrierTimeouts.Load(), PeersLost: c.peersLost.Load(), Hellos: c.hellos.Load(),
		NativeAccepted: c.nativeAccepted.Load(), NativeRefused: c.nativeRefused.Load(), ServiceAccepted: c.serviceAccepted.Load(),
		Reconnects:       b.relay.reconnects.Load() + b.control.reconnects.Load(),
		WriteBufferBytes: b.relay.pending() + b.control.pending(),
	}
	for i, code := range ingressCodes {
		s.IngressRefused[code] = c.ingressRefused[i].Load()
	}
	c.mu.Lock()
	s.Barriers, s.BarrierSeconds, s.BarrierMaxSeconds = c.barriers, c.barrierSum.Seconds(), c.barrierLast.Seconds()
	c.mu.Unlock()
	b.mu.Lock()
	s.Up = b.serving
	s.Interest, s.Memberships, s.PendingJoins = len(b.groups), b.memberships, b.pendingJoins
	s.Peers, s.Routes = len(b.peers), b.routeCount
	b.mu.Unlock()
	b.doorMu.Lock()
	s.NativeConns = b.natives
	b.doorMu.Unlock()
	return s
}
