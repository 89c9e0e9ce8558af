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
	if !wait(ctx, n.opts.drain.Delay) {
		return ctx.Err()
	}
	n.refusing.Store(true)
	n.engine.StopAccepting()
	n.closeEvenly(ctx)
	for n.conns.Load() > 0 { // words of the last ones are still on their way, for 5 s at most
		if !wait(ctx, 10*time.Millisecond) {
			return ctx.Err()
		}
	}
	return n.broker.Drain(ctx)
}

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

// endUpTo ends the conns in the first part of the slots, which is all of them at 1.
func (o *owner) endUpTo(part float64, e ending) {
	end := int(part * float64(len(o.logins)))
	for ; o.drained < end; o.drained++ {
		o.endDrained(uint32(o.drained), e)
	}
	if part >= 1 { // what came after it passed
		for slot := range o.logins {
			o.endDrained(uint32(slot), e)
		}
	}
}

func (o *owner) endDrained(slot uint32, e ending) {
	if slot == 0 {
		return
	}
	o.loop.Blame(slot)
	switch c := o.conns.at(slot); c.state {
	case stateFree, stateClosing:
	case stateReading:
		o.refuse(slot, 503, "draining", "this node is being drained; connect again to reach another", retryAfter)
	case stateVerifying:
		if !c.is(flagUpgraded) {
			o.refuse(slot, 503, "draining", "this node is being drained; connect again to reach another", retryAfter)
			return
		}
		o.end(slot, e)
	default:
		o.end(slot, e)
	}
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
