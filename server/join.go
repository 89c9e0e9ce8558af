package server

import (
	"slices"
	"sync/atomic"

	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/loop"
)

// addition puts one conn into one or more groups, for a group_add, a welcome or the backend. It is finished when
// every group's barrier is done: only then may the conn be told, and only then does it become a member, so
// that the answer goes before any message of the group.
type addition struct {
	slot, gen uint32
	names     []string
	how       hub.How
	errs      []*opError // by name; nil = joined
	left      int        // barriers still awaited

	// done queues the answer and calls enter. It is called exactly once if the conn still lives; else gone is,
	// if there is one.
	done func(o *owner, a *addition)
	gone func()

	// The answer to a group_add: see groupAdd.
	hasID  bool
	id     int64
	many   bool
	queued []string // what ops behind it wait for, if it has to wait
}

// pendingGroup keeps this loop's interest in a group that has no member yet, or whose next member waits for
// the barriers of other groups.
type pendingGroup struct {
	ready   bool // the barrier is done
	holds   int  // additions that count on it
	waiters []waiter
}

// waiter is one name of an addition.
type waiter struct {
	a *addition
	i int
}

// joined tells the owner that broker.Join of a group is done or failed. An answer that comes while the call is made, as most do on a
// node without peers, is taken at once; a later one is posted.
type joined struct {
	owner *owner
	name  string
	err   error
	first atomic.Bool // the answer, or the end of the call, has come: the other one is the second
}

// answer is what broker.Join calls, on any goroutine.
func (j *joined) answer(err error) {
	j.err = err
	if !j.first.CompareAndSwap(false, true) {
		j.owner.loop.Post(loop.Task{Kind: taskJoined, P: j})
	}
}

// join asks for a group that has no member on this loop yet, and tells whether the answer has come.
func (o *owner) join(name string) (answered bool, err error) {
	j := &joined{owner: o, name: name}
	o.node.broker.Join(name, j.answer)
	if j.first.CompareAndSwap(false, true) {
		return false, nil
	}
	return true, j.err
}

// add begins an addition. Names it has refused already (errs) are left out.
func (o *owner) add(a *addition) {
	if a.errs == nil {
		a.errs = make([]*opError, len(a.names))
	}
	a.left = 1 // this function itself, so that nothing finishes under its hands
	for i, name := range a.names {
		if a.errs[i] != nil {
			continue
		}
		p := o.pending[name]
		if p == nil {
			p = &pendingGroup{ready: o.hub.Members([]byte(name)) != nil}
			if !p.ready {
				var err error
				if p.ready, err = o.join(name); err != nil {
					a.errs[i] = refuseOp(err)
					continue
				}
			}
			o.pending[name] = p
		}
		p.holds++
		if !p.ready {
			p.waiters = append(p.waiters, waiter{a, i})
			a.left++
		}
	}
	if a.left--; a.left == 0 {
		o.finish(a)
	}
}

// joined goes on with the additions that waited for a group's barrier.
func (o *owner) joined(j *joined) {
	p := o.pending[j.name]
	p.ready = true
	waiters := p.waiters
	p.waiters = nil
	if j.err != nil {
		delete(o.pending, j.name) // nobody holds it but those that waited
		refusal := refuseOp(j.err)
		for _, w := range waiters {
			w.a.errs[w.i] = refusal
		}
	}
	for _, w := range waiters {
		if w.a.left--; w.a.left == 0 {
			o.finishLater(w.a)
		}
	}
}

// finishLater finishes an addition that had to wait, and the ops that waited for it.
func (o *owner) finishLater(a *addition) {
	o.finish(a)
	if !o.loop.Live(a.slot, a.gen) {
		return
	}
	c := o.conns.at(a.slot)
	if q := o.adding[a.slot]; q != nil {
		for _, name := range a.queued {
			if i := slices.Index(q.names, name); i >= 0 {
				q.names = slices.Delete(q.names, i, i+1)
			}
		}
	}
	if c.state == stateOpen {
		o.goOn(a.slot, c)
	}
}

// finish answers an addition and makes the conn a member, or gives up what a conn that is gone had held.
func (o *owner) finish(a *addition) {
	held := make([]string, 0, len(a.names))
	for i, name := range a.names {
		if a.errs[i] == nil {
			held = append(held, name)
		}
	}
	if o.loop.Live(a.slot, a.gen) && o.conns.at(a.slot).state != stateClosing {
		o.loop.Blame(a.slot)
		if a.how != hub.ByBackend { // the grants may have changed while it waited
			grants := o.grants(o.conns.at(a.slot))
			for i, name := range a.names {
				if a.errs[i] == nil && !grants.CanSubscribe([]byte(name)) {
					a.errs[i] = errMayNotHear
				}
			}
		}
		a.done(o, a)
	} else if a.gone != nil {
		a.gone()
	}
	for _, name := range held {
		o.unhold(name)
	}
}

// enter makes the conn a member of the groups of an addition that were not refused. It goes before the answer,
// which may find the conn too slow and end it: then the memberships end too. No message can come in between.
func (o *owner) enter(a *addition) {
	for i, name := range a.names {
		if a.errs[i] != nil {
			continue
		}
		if _, first := o.hub.Add(name, a.slot, a.how); first {
			o.node.where.set([]byte(name), o.loop.Index())
		}
	}
}

// unhold ends an addition's hold on a group; interest that nobody holds and no member needs is given back.
func (o *owner) unhold(name string) {
	p := o.pending[name]
	if p.holds--; p.holds > 0 {
		return
	}
	delete(o.pending, name)
	if o.hub.Members([]byte(name)) == nil {
		o.node.broker.Leave(name)
	}
}

// leave is called when a group has lost its last member here.
func (o *owner) leave(name []byte) {
	o.node.where.clear(name, o.loop.Index())
	if o.pending[string(name)] == nil { // else the last hold decides
		o.node.broker.Leave(string(name))
	}
}
