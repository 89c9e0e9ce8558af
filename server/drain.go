package server

import (
	"context"
	"time"
)

// Drain begins to leave politely and returns at once; Drained tells when it is done.
//
//	not ready ─ drain.delay ─► stop accepting ─► close the conns, evenly over drain.window, each with 4200 and a
//	random time to come back ─► flush ─► the broker leaves the cluster
func (n *Node) Drain() {
	n.drainOnce.Do(func() { close(n.draining) })
}

// Draining is closed when Drain was called.
func (n *Node) Draining() <-chan struct{} { return n.draining }

// Leave does what Drain announced, and returns when the last conn is closed and the broker is drained.
func (n *Node) Leave(ctx context.Context) error {
	n.Drain()
	n.log.Info("draining", "delay", n.opts.drain.Delay, "window", n.opts.drain.Window, "conns", n.conns.Load())
	wait(ctx, n.opts.drain.Delay)
	n.refusing.Store(true)
	n.engine.StopAccepting()
	n.closeEvenly(ctx)
	last, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	for n.conns.Load() > 0 && wait(last, drainStep) {
	}
	return n.broker.Drain(ctx)
}

// lastWords is how long the last conns have to take what was sent to them.
const lastWords = 5 * time.Second

// drainStep is how often a batch of conns is closed.
const drainStep = 20 * time.Millisecond

// closeEvenly spreads the ends of all conns over the window.
func (n *Node) closeEvenly(ctx context.Context) {
	begin, window := time.Now(), n.opts.drain.Window
	e := ending{code: closeDrain, reason: "this node is going away; reconnect to another", word: "drain", retryMax: retryMaxMS}
	for {
		part := 1.0
		if window > 0 {
			part = min(1, float64(time.Since(begin))/float64(window))
		}
		n.onLoops(func(o *owner) { o.endUpTo(part, e) })
		if part >= 1 || n.conns.Load() == 0 || !wait(ctx, drainStep) {
			return
		}
	}
}

// endUpTo ends conns until the part of those that were there at the first call is gone; 1 is all there are.
func (o *owner) endUpTo(part float64, e ending) {
	d := &o.drain
	if !d.begun {
		d.begun, d.total = true, o.live()
	}
	for target := int(part * float64(d.total)); d.next < len(o.logins) && (d.ended < target || part >= 1); d.next++ {
		if o.endDrained(uint32(d.next), e) {
			d.ended++
		}
	}
	if part >= 1 { // what came behind the walk
		for slot := range o.logins {
			o.endDrained(uint32(slot), e)
		}
	}
}

// drainWalk is how far a loop's drain has come.
type drainWalk struct {
	begun              bool
	next, ended, total int // slot to look at; conns ended; conns there at the begin
}

// live counts the conns that are not closing.
func (o *owner) live() int {
	n := 0
	for slot := 1; slot < len(o.logins); slot++ {
		if s := o.conns.at(uint32(slot)).state; s != stateFree && s != stateClosing {
			n++
		}
	}
	return n
}

// endDrained ends one conn of a drain and tells whether there was one.
func (o *owner) endDrained(slot uint32, e ending) bool {
	if slot == 0 {
		return false
	}
	o.loop.Blame(slot)
	switch c := o.conns.at(slot); c.state {
	case stateFree, stateClosing:
		return false
	case stateReading:
		o.refuse(slot, 503, "draining", "this node is being drained; connect again to reach another", retryAfter)
	case stateVerifying:
		o.refuse(slot, 503, "draining", "this node is being drained; connect again to reach another", retryAfter)
	default:
		o.end(slot, e)
	}
	return true
}

// wait waits for d, and tells whether ctx was still good.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
