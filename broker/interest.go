package broker

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatecast/gatecast/broker/subject"
)

// interest is this node's one subscription to a group.
//
//	(none) ── Join ──► pending ── barrier done ──► ready ── last Leave ──► lingering ── 2 s ──► (none)
//	   ▲                  │ timeout, link lost        ▲                        │
//	   └──────────────────┘                           └──────── Join ──────────┘
//
// An interest that has left the map never comes back: the next Join makes another, with its own barrier.
type interest struct {
	// static
	sid       uint64
	name      string
	nameBytes []byte // of name, for Deliver

	// guarded by Broker.mu
	state   interestState
	refs    int           // joins counted, those waiting included
	waiters []func(error) // while pending
	idle    time.Time     // since when it lingers
}

type interestState uint8

const (
	pending interestState = iota
	ready
	lingering
	gone
)

func (s interestState) String() string {
	return [...]string{"pending", "ready", "lingering", "gone"}[s]
}

// idler is an interest in the queue of those that linger; it left the queue's order if its idle is no longer since.
type idler struct {
	it    *interest
	since time.Time
}

// linger is how long a subscription outlives its last member: a reconnect costs no barrier.
const linger = 2 * time.Second

// byWildcard says whether the subscription to all users' groups hears escaped.
func (b *Broker) byWildcard(escaped string) bool {
	return b.wildcard && strings.HasPrefix(escaped, "user.")
}

// Join counts one more interest of this node in group. ready is called exactly once, perhaps before Join returns, from any
// goroutine and without locks held: nil when every message published anywhere from now on arrives here, else the count was undone.
func (b *Broker) Join(group string, done func(error)) {
	if subject.CheckName(group) != nil {
		done(ErrBadGroup)
		return
	}
	escaped := subject.Escape(group)
	b.mu.Lock()
	if !b.serving {
		b.mu.Unlock()
		done(ErrUnavailable)
		return
	}
	if b.byWildcard(escaped) {
		b.memberships++
		b.mu.Unlock()
		done(nil)
		return
	}
	it := b.groups[group]
	if it == nil {
		it = b.subscribe(group, escaped)
	}
	it.refs++
	b.memberships++
	if it.state == lingering {
		it.state = ready
	}
	if it.state == ready {
		b.mu.Unlock()
		done(nil)
		return
	}
	it.waiters = append(it.waiters, done)
	b.mu.Unlock()
}

// subscribe makes the interest and starts its barrier. mu is held.
func (b *Broker) subscribe(group, escaped string) *interest {
	it := &interest{name: group, nameBytes: []byte(group)}
	b.table.put(it)
	b.groups[group] = it
	b.relay.append(func(buf []byte) []byte { return b.appendSubGroup(buf, escaped, it.sid) })
	if len(b.peers) == 0 {
		it.state = ready // every publisher of the cluster is this relay link, behind the SUB
		return it
	}
	b.pendingJoins++
	b.enqueue(it)
	return it
}

// Leave takes back one successful Join.
func (b *Broker) Leave(group string) {
	escaped := subject.Escape(group)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byWildcard(escaped) {
		b.memberships = max(0, b.memberships-1)
		return
	}
	it := b.groups[group]
	if it == nil || it.refs <= len(it.waiters) {
		return // more Leaves than Joins
	}
	it.refs--
	b.memberships--
	if it.refs == 0 && it.state == ready {
		it.state = lingering
		it.idle = time.Now()
		b.lingering = append(b.lingering, idler{it, it.idle})
	}
}

// unsubscribe ends what nobody needed for the time of linger. It runs every tick, which is so many times 100 ms.
func (b *Broker) unsubscribe(now time.Time, times int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, most := 0, times*max(1000, len(b.lingering)/20) // a mass leave is spread over ticks, but over seconds at most
	for n < len(b.lingering) && n < most {
		l := b.lingering[n]
		if now.Sub(l.since) < linger {
			break // all behind it are younger
		}
		if l.it.state == lingering && l.it.idle.Equal(l.since) {
			b.remove(l.it)
		}
		n++
	}
	b.lingering = slices.Delete(b.lingering, 0, n) // zeroes the tail
}

// remove forgets it. mu is held.
func (b *Broker) remove(it *interest) {
	it.state = gone
	delete(b.groups, it.name)
	b.table.drop(it)
	b.relay.append(func(buf []byte) []byte { return appendUnsub(buf, it.sid) })
}

// undo removes what never became ready and returns who must be told. mu is held.
func (b *Broker) undo(it *interest) []func(error) {
	if it.state != pending {
		return nil
	}
	waiters := it.waiters
	it.waiters = nil
	b.memberships -= it.refs
	b.pendingJoins--
	it.refs = 0
	b.remove(it)
	return waiters
}

// resubscribe tells a new connection of all interest. It runs before the link reads.
func (b *Broker) resubscribe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.relay.append(func(buf []byte) []byte {
		for _, it := range b.groups {
			buf = b.appendSubGroup(buf, subject.Escape(it.name), it.sid)
		}
		return buf
	})
}

func (b *Broker) appendSubGroup(buf []byte, escaped string, sid uint64) []byte {
	buf = append(buf, "SUB "...)
	buf = b.appendLive(buf, []byte(escaped))
	buf = append(buf, ' ')
	buf = strconv.AppendUint(buf, sid, 10)
	return append(buf, crlf...)
}
