package server

import "github.com/gatecast/gatecast/server/loop"

// slowPolicy is what happens to a message for a conn that cannot keep up: [[groups]] slow.
type slowPolicy uint8

const (
	slowClose      slowPolicy = iota // the conn ends with 4210
	slowDropOldest                   // what has waited longest is dropped
	slowDropNewest                   // the message at hand is dropped
	slowLatest                       // only the last message of a group waits
)

var slowNames = [...]string{"close", "drop_oldest", "drop_newest", "latest"}

func (p slowPolicy) String() string { return slowNames[p] }

var slowPolicies = map[string]slowPolicy{
	"": slowClose, slowNames[0]: slowClose, slowNames[1]: slowDropOldest, slowNames[2]: slowDropNewest, slowNames[3]: slowLatest,
}

// drops tells whether the policy drops messages rather than the conn.
func (p slowPolicy) drops() bool { return p != slowClose }

// anyTag marks messages of which the oldest may be dropped.
const anyTag = 1

// tag is what marks the group's messages in the queues of loops: 0 for those that stay in them.
func (p slowPolicy) tag(group []byte) uint64 {
	switch p {
	case slowDropOldest:
		return anyTag
	case slowLatest:
		h := uint64(14695981039346656037) // FNV-1a
		for _, b := range group {
			h = (h ^ uint64(b)) * 1099511628211
		}
		return max(h, anyTag+1)
	}
	return 0
}

// makeRoom does what the policy asks for before a message is queued for a conn whose socket takes nothing now, and tells whether it
// is to be queued.
func (o *owner) makeRoom(slot uint32, c *conn, p slowPolicy, tag uint64) bool {
	switch p {
	case slowDropNewest:
		if o.isSlow(slot) {
			c.flags |= flagDrops
			o.node.counters.dropped[slowDropNewest].Add(1)
			return false
		}
	case slowLatest:
		replaced := o.loop.Shed(slot, func(f *loop.Frame, _ uint32) (out, enough bool) { return f.Tag == tag, f.Tag == tag })
		o.node.counters.dropped[slowLatest].Add(uint64(replaced))
	}
	return true
}

// shed drops messages that may be dropped, the oldest first, until the conn is within its limits, and tells whether it may go on.
func (o *owner) shed(slot uint32, c *conn) bool {
	l := o.node.bounds.Load()
	dropped := o.loop.Shed(slot, func(_ *loop.Frame, since uint32) (out, enough bool) {
		waiting, _ := o.loop.Pending(slot)
		out = l.PendingBytes > 0 && waiting > l.PendingBytes || o.tooOld(l, since)
		return out, !out // those behind it are younger
	})
	if dropped > 0 {
		c.flags |= flagDrops
		o.node.counters.dropped[slowDropOldest].Add(uint64(dropped))
	}
	return c.is(flagDrops) && o.bearable(slot, l)
}

// bearable tells whether a conn some of whose messages are dropped may go on: what else waits for it is twice the limit at most.
// How long it waits does not count: a peer that is gone answers no ping.
func (o *owner) bearable(slot uint32, l *bounds) bool {
	waiting, _ := o.loop.Pending(slot)
	return l.PendingBytes == 0 || waiting <= 2*l.PendingBytes
}

func (o *owner) tooOld(l *bounds, since uint32) bool {
	age := o.loop.Now() - since
	return l.PendingAge > 0 && age > 0 && float64(age) > l.PendingAge.Seconds()
}

// isSlow tells whether too much waits for a conn, or for too long.
func (o *owner) isSlow(slot uint32) bool {
	waiting, since := o.loop.Pending(slot)
	if waiting == 0 || !o.loop.Blocked(slot) { // what this turn has queued waits for nobody but us
		return false
	}
	l := o.node.bounds.Load()
	if l.PendingBytes > 0 && waiting > l.PendingBytes {
		return true
	}
	return o.tooOld(l, since)
}

// checkPending ends a conn that an answer made, or found, too slow. The conn must not be used afterwards
// without a look at its state.
func (o *owner) checkPending(slot uint32) {
	c := o.conns.at(slot)
	if c.state == stateClosing || !o.isSlow(slot) || o.shed(slot, c) {
		return
	}
	o.endSlow(slot)
}

// endSlow closes a slow conn: what waits for it is sent if it catches up within 5 s, with 4210 behind it.
func (o *owner) endSlow(slot uint32) {
	if c := o.conns.at(slot); c.state == stateClosing {
		return
	}
	o.node.counters.slow.Add(1)
	e := ending{code: closeSlow, reason: "too slow to keep up; reconnect", word: "slow", retryMin: 0, retryMax: retryMaxMS}
	limit := o.node.bounds.Load().PendingBytes
	if waiting, _ := o.loop.Pending(slot); limit > 0 && waiting > 2*limit {
		o.abort(slot, e) // it does not even read its close frame
		return
	}
	o.end(slot, e)
}
