package server

import (
	"context"
	"sync/atomic"
	"time"
)

// Drain begins to leave politely and returns at once: whoever waits for Draining calls Leave.
//
//	not ready ─ drain.delay ─► stop accepting ─► hand over what was published ─► close the conns, evenly over drain.window,
//	each with 4200 and a random time to come back ─► flush ─► the broker leaves the cluster
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
	n.settle(ctx)
	n.closeEvenly(ctx)
	last, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	for n.conns.Load() > 0 && wait(last, drainStep) {
	}
	return n.broker.Drain(ctx)
}

// settle sees to it that messages whose senders were told ok are queued for the conns here before the first of them is closed: the loops
// get what Settle waits for before they get anything of closeEvenly.
func (n *Node) settle(ctx context.Context) {
	if n.conns.Load() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if err := n.broker.Settle(ctx); err != nil {
		n.log.Warn("drain: conns may miss messages that were on their way", "err", err)
	}
}

const (
	settleWithin = 2 * time.Second       // for nodes that do not answer
	lastWords    = 5 * time.Second       // the last conns have to take what was sent to them
	drainStep    = 20 * time.Millisecond // how often some conns are closed
)

// A loop that was held up, or a whole machine, closes no crowd at once to make up for it, but hurries a little for a while, so the end may
// come after the window. catchUp later than that, what is left goes at once.
const (
	drainHurry = 1.5           // times the even rate
	drainOwed  = 3 * drainStep // that much of the time since the last step counts
	catchUp    = 3 * time.Second
)

// closeEvenly spreads the ends of all conns over the window.
func (n *Node) closeEvenly(ctx context.Context) {
	begin := time.Now()
	e := ending{code: closeDrain, reason: "this node is going away; reconnect to another", word: "drain", retryMax: retryMaxMS}
	for {
		var left atomic.Bool
		n.onLoops(func(o *owner) {
			if !o.drain.step(o, time.Since(begin), n.opts.drain.Window, e) {
				left.Store(true)
			}
		})
		if !left.Load() || n.conns.Load() == 0 || !wait(ctx, drainStep) {
			return
		}
	}
}

// drainWalk is how far a loop's drain has come.
type drainWalk struct {
	begun        bool
	total, ended int           // conns there at the begin; ended by the walk
	next         int           // slot to look at
	due          float64       // conns that should be ended by now
	at           time.Duration // of the last step
}

// step ends the conns that are due at a time since the begin, and tells whether all are.
func (d *drainWalk) step(o *owner, since, window time.Duration, e ending) (done bool) {
	if !d.begun {
		d.begun, d.total = true, o.live()
	}
	for due := d.advance(since, window); d.next < len(o.due) && d.ended < due; d.next++ {
		if o.endDrained(uint32(d.next), e) {
			d.ended++
		}
	}
	if since < window || d.due < float64(d.total) {
		return false
	}
	for slot := range o.due { // what came behind the walk
		o.endDrained(uint32(slot), e)
	}
	return true
}

// advance returns how many conns should be ended at a time since the begin.
func (d *drainWalk) advance(since, window time.Duration) int {
	if window <= 0 || since >= window+catchUp {
		d.due = float64(d.total)
	} else {
		even := float64(d.total) * min(1, float64(since)/float64(window))
		most := drainHurry * float64(d.total) * float64(min(since-d.at, drainOwed)) / float64(window)
		d.due = min(even, d.due+most)
	}
	d.at = since
	return int(d.due)
}

// live counts the conns that are not closing.
func (o *owner) live() int {
	n := 0
	for slot := 1; slot < len(o.due); slot++ {
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
		o.refuse(slot, 503, "draining", "this node is being drained; connect again to reach another", retryAfter())
	case stateVerifying:
		o.refuse(slot, 503, "draining", "this node is being drained; connect again to reach another", retryAfter())
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
