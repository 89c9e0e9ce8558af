package server

import (
	"math"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/server/wire"
	"github.com/gatecast/gatecast/server/ws"
)

// A conn has no timer. Its entry in due is the tick (second) at which something may have to be done for it: the
// earliest of its deadlines. Once a second the owner walks that array, 4 bytes a conn, and looks at the
// conns that are due.
//
// Ticks are seconds that passed for the loop, whatever the wall clock says. A login ends by the wall clock, for so its issuer meant it: when
// that is set, or the machine stood still, these deadlines are made anew.

// pongWait is how long a ping may stay unanswered, in seconds.
const pongWait = 10

// deadline is the tick at which d from now has passed; 0 is never.
func (o *owner) deadline(d time.Duration) uint32 {
	if d <= 0 {
		return never
	}
	return o.loop.Now() + uint32(math.Ceil(d.Seconds())) + 1 // ticks are not aligned to the conn's second
}

// clockStep is by how many seconds more or less than a tick the wall clock may go between two ticks.
const clockStep = 2

// Tick implements [loop.Handler].
func (o *owner) Tick(now uint32) {
	wall := o.node.wall().Unix()
	if since := wall - o.wall; o.wall != 0 && (since > 1+clockStep || since < 1-clockStep) {
		o.attendExpiring()
		if o.loop.Index() == 0 { // for the node, once
			o.node.tasks.Go(o.node.endExpiredNatives) // ends at once
		}
	}
	o.wall = wall
	for slot := range o.due {
		if o.due[slot] <= now {
			o.loop.Blame(uint32(slot))
			o.dueNow(uint32(slot), o.conns.at(uint32(slot)), now)
		}
	}
	if lapsed := o.lapsed; len(lapsed) > 0 {
		o.lapsed = nil
		o.node.tasks.Go(func() { // ends with the verifiers' answer, within authn.timeout
			o.node.recheckExpired(o.node.ctx, lapsed)
		})
	}
}

var expiredLogin = ending{code: closeUnauthorized, reason: "the login has expired; log in again", word: "expired"}

// dueNow does what a conn's deadlines ask for and sets the next.
func (o *owner) dueNow(slot uint32, c *conn, now uint32) {
	switch c.state {
	case stateReading:
		if in := o.intake[slot]; in != nil && in.headed {
			o.cutProxy(slot, errProxyTimeout)
			return
		}
		o.refuse(slot, 408, "handshake_timeout", "the header block did not arrive in time")
	case stateWaiting:
		o.node.counters.handshake("refused", "login_timeout")
		o.end(slot, ending{code: closeLoginTimeout, reason: "no login came in time; send an auth op first", word: "login_timeout"})
	case stateOpen:
		o.dueOpen(slot, c, now)
	default:
		o.due[slot] = never
	}
}

func (o *owner) dueOpen(slot uint32, c *conn, now uint32) {
	limits := o.node.bounds.Load()
	switch {
	case o.expired(c):
		if authn.IsSession(o.logins.own(c.login)) && !c.is(flagExpiring) { // a site may extend its sessions
			c.flags |= flagExpiring
			o.lapsed = append(o.lapsed, o.logins.hold(c.login))
			o.due[slot] = o.deadline(o.node.opts.authTimeout)
			return
		}
		o.end(slot, expiredLogin)
		return
	case c.partialAt != 0 && limits.MessageTimeout > 0 && float64(now-c.partialAt) > limits.MessageTimeout.Seconds():
		o.end(slot, ending{code: closeProtocol, reason: "a message stayed incomplete for too long", word: "message_timeout"})
		return
	case c.is(flagPinged) && now-c.pinged > pongWait:
		o.end(slot, ending{code: closeNoPong, reason: "a ping was not answered", word: "no_pong"})
		return
	}
	if ping := o.pingTicks(); ping != 0 && !c.is(flagPinged) && now >= o.nextPing(c) {
		if c.is(flagRaw) {
			o.frame = ws.AppendFrame(o.frame[:0], ws.OpPing, nil)
			o.loop.SendBytes(slot, o.frame)
			o.checkPending(slot)
		} else {
			o.sendJSON(slot, wire.AppendPing(o.json[:0]))
		}
		if c.state != stateOpen {
			return
		}
		c.flags |= flagPinged
		c.pinged = now
	} else if o.checkPending(slot); c.state != stateOpen {
		return
	}
	o.attend(slot, c)
}

// pingTicks is the ping interval in ticks, 0 for none.
func (o *owner) pingTicks() uint32 { return uint32(o.node.opts.Ping / time.Second) }

// nextPing is the tick of the conn's next ping.
func (o *owner) nextPing(c *conn) uint32 {
	return c.pinged + o.pingTicks()
}

// attend sets when the conn needs attention next.
func (o *owner) attend(slot uint32, c *conn) {
	if c.state != stateOpen {
		return
	}
	now := o.loop.Now()
	next := uint32(never)
	if o.pingTicks() != 0 {
		next = o.nextPing(c)
		if late := c.pinged + pongWait + 1; c.is(flagPinged) && (next > late || next <= now) {
			next = late
		}
	}
	if at := o.logins.expires(c.login); at != 0 {
		left := max(at-o.node.wall().Unix(), 0)
		next = min(next, now+uint32(min(left, math.MaxInt32)))
	}
	if limit := o.node.bounds.Load().MessageTimeout; c.partialAt != 0 && limit > 0 {
		next = min(next, c.partialAt+uint32(math.Ceil(limit.Seconds()))+1)
	}
	o.due[slot] = max(next, now+1)
}

// attendExpiring looks again at the deadlines of all logins that end by themselves.
func (o *owner) attendExpiring() {
	for slot := range o.due {
		c := o.conns.at(uint32(slot))
		if o.logins.expires(c.login) != 0 && !c.is(flagExpiring) {
			o.attend(uint32(slot), c)
		}
	}
}

// setLogin makes an accepted login the conn's, until it ends by itself or another takes its place.
func (o *owner) setLogin(slot uint32, c *conn, v *verdict) {
	before := c.login
	c.login = o.logins.enter(v.id, v.grants.Sets)
	o.logins.leave(before)
	c.flags &^= flagExpiring
	o.attend(slot, c)
}

// expired tells whether the conn's login is over.
func (o *owner) expired(c *conn) bool {
	at := o.logins.expires(c.login)
	return at != 0 && o.node.wall().Unix() >= at
}
