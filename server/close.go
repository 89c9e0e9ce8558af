package server

import (
	"errors"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server/loop"
	"github.com/gatecast/gatecast/server/wire"
	"github.com/gatecast/gatecast/server/ws"
)

// CloseCode is one row of [CloseCodes].
type CloseCode struct {
	Code    int
	Name    string // label in metrics
	Retry   bool   // clients reconnect by themselves
	Meaning string // one sentence for docs/codes.md
}

// Close codes, RFC 6455 §7.4.1 and ours.
const (
	closeNormal       = 1000
	closeGoingAway    = 1001
	closeProtocol     = 1002
	closeInvalid      = 1007
	closeTooLarge     = 1009
	closeInternal     = 1011
	closeRestart      = 1012
	closeOverloaded   = 4100
	closeDrain        = 4200
	closeNoPong       = 4201
	closeSlow         = 4210
	closeStateLost    = 4211
	closeBadFrame     = 4400
	closeUnauthorized = 4401
	closeForbidden    = 4403
	closeLimit        = 4404
	closeLoginTimeout = 4408
	closeReplaced     = 4409
	closeDisconnected = 4410
)

// CloseCodes is every code a conn can be closed with; docs/codes.md is generated from it.
var CloseCodes = []CloseCode{
	{closeNormal, "normal", false, "The peer closed, or the backend did without a code of its own."},
	{closeGoingAway, "going_away", true, "The peer or the node is going away."},
	{closeProtocol, "protocol", false, "The peer broke RFC 6455: a bad frame, an unmasked one, a message that stays incomplete. Fix the client."},
	{closeInvalid, "invalid", false, "A text message or a close reason is not UTF-8, or a compressed message is no deflate stream. Fix the client."},
	{closeTooLarge, "too_large", false, "A message is above message_bytes or fragments of [server.limits]."},
	{closeInternal, "internal", true, "The node failed on this conn; its log says why."},
	{closeRestart, "restart", true, "The node restarts."},
	{closeOverloaded, "overloaded", true, "A part needed for the login cannot be reached or has no room, or partial_bytes of [server.limits] is used up; `retry` says when to come back."},
	{closeDrain, "drain", true, "The node is drained; `retry` spreads the reconnects."},
	{closeNoPong, "no_pong", true, "A ping was not answered within 10 s."},
	{closeSlow, "slow", true, "The conn could not keep up: pending_bytes or pending_age of [server.limits] was passed."},
	{closeStateLost, "state_lost", true, "The node lost the conn's state; reconnect and join again."},
	{closeBadFrame, "bad_frame", false, "A frame is no JSON object or array of objects of gatecast.v1. Fix the client."},
	{closeUnauthorized, "unauthorized", false, "The login is missing, refused, expired or ended. Reconnect only with a new credential."},
	{closeForbidden, "forbidden", false, "The login is good, but may not use this."},
	{closeLimit, "limit", false, "A limit was passed for 10 s, or the user has conns_per_user conns."},
	{closeLoginTimeout, "login_timeout", false, "No auth op came within authn.timeout."},
	{closeReplaced, "replaced", false, "A newer conn of the same user took this one's place (conns_per_user_policy)."},
	{closeDisconnected, "disconnected", false, "The backend disconnected the conn."},
}

// opError is a refused op: the code and text the client sees.
type opError struct {
	code, text string
}

func (e *opError) Error() string { return e.code + ": " + e.text }

// refuseOp makes the answer to an op of what went wrong: the one place where errors of other packages become
// codes of the protocol. Anything unknown is internal, and the caller logs it.
func refuseOp(err error) *opError {
	var op *opError
	var name *subject.NameError
	switch {
	case errors.As(err, &op):
		return op
	case errors.As(err, &name):
		return &opError{wire.CodeBadGroup, name.Error()}
	case errors.Is(err, broker.ErrUnavailable):
		return &opError{wire.CodeUnavailable, "the broker cannot be reached; retry later"}
	case errors.Is(err, broker.ErrTimeout):
		return &opError{wire.CodeTimeout, "the cluster did not confirm in time; retry"}
	case errors.Is(err, broker.ErrBadHeader):
		return &opError{wire.CodeBadRequest, "msg_id or exclude is too long, or no valid UTF-8"}
	case errors.Is(err, broker.ErrTooLarge):
		return &opError{wire.CodeTooLarge, "the message is larger than the broker carries"}
	}
	return &opError{wire.CodeInternal, "internal error; the server's log says more"}
}

// ending is how a conn ends: the close code, its reason (at most 123 bytes), the word for logs and metrics, and
// when to come back, in milliseconds (nothing if retryMax is 0).
type ending struct {
	code               int
	reason             string
	word               string
	retryMin, retryMax int
}

// retryLater is when a conn refused for want of something comes back.
const retryMinMS, retryMaxMS = 1000, 5000

// refuseLogin makes the ending of a login that was not accepted.
func refuseLogin(err error) ending {
	var r *authn.Refused
	if errors.As(err, &r) {
		code := closeUnauthorized
		if r.Code == wire.CodeForbidden {
			code = closeForbidden
		}
		return ending{code: code, reason: refusalText(r.Reason), word: r.Reason}
	}
	if errors.Is(err, errAttempts) {
		return ending{code: closeOverloaded, reason: "too many failed logins from this address; retry later", word: "failed_per_second",
			retryMin: retryMinMS, retryMax: retryMaxMS}
	}
	return ending{code: closeOverloaded, reason: "the login cannot be verified now; retry later", word: "unavailable",
		retryMin: retryMinMS, retryMax: retryMaxMS}
}

// refusalText tells the client of a refused login what to do, without telling a stranger why it was refused:
// the log has the reason.
func refusalText(reason string) string {
	switch reason {
	case "expired":
		return "the login has expired; log in again"
	case "no_credential":
		return "no login was sent; log in first"
	case "inactive", "forbidden":
		return "this account may not connect"
	}
	return "the login was refused; log in again"
}

// errorCode is the code of the error frame that goes before the ending.
func (e ending) errorCode() string {
	switch e.code {
	case closeUnauthorized, closeLoginTimeout:
		return wire.CodeUnauthorized
	case closeForbidden:
		return wire.CodeForbidden
	case closeLimit:
		return wire.CodeLimit
	case closeOverloaded:
		return wire.CodeUnavailable
	}
	return ""
}

// end says the conn's last words and lets its socket go. What belongs to the conn is given back at once, so that
// nothing of its groups follows; the socket itself closes when the words are out, or after 5 s.
func (o *owner) end(slot uint32, e ending) {
	c := o.conns.at(slot)
	if c.state == stateClosing || c.state == stateFree {
		return
	}
	welcomed := c.welcomed()
	o.ended(slot, e) // first, so that nothing below can end it again
	if c.is(flagUpgraded) {
		if !c.is(flagRaw) {
			if code := e.errorCode(); code != "" && !welcomed {
				o.sendJSON(slot, wire.AppendError(o.json[:0], false, 0, code, e.reason))
			}
			if e.code != closeNormal || e.reason != "" {
				o.sendJSON(slot, wire.AppendClose(o.json[:0], e.code, e.reason, e.retryMin, e.retryMax, e.retryMax > 0))
			}
		}
		o.frame = ws.AppendCloseFrame(o.frame[:0], e.code, e.reason)
		o.loop.SendBytes(slot, o.frame)
	}
	o.loop.Close(slot, true)
}

// breach ends a conn for what it sent, of which nothing more is looked at. What it had published before was posted to the loops of the
// members, its own among them (relay.go): it gets that first, then the close frame, so the end is posted behind it.
func (o *owner) breach(slot uint32, c *conn, e ending) {
	if c.state != stateOpen {
		o.end(slot, e)
		return
	}
	o.counted(slot, c, e) // at once: the peer may be gone before the task runs
	c.state = stateFailing
	o.due[slot] = never
	gen := o.loop.ID(slot).Gen()
	o.post(func(o *owner) {
		if o.loop.Live(slot, gen) {
			o.loop.Blame(slot)
			o.end(slot, e)
		}
	})
}

// abort ends a conn that takes nothing any more: what waits for it is thrown away with the socket.
func (o *owner) abort(slot uint32, e ending) {
	c := o.conns.at(slot)
	if c.state == stateClosing || c.state == stateFree {
		return
	}
	o.ended(slot, e)
	o.loop.Abort(slot)
}

// endID ends a conn of any loop; the zero ID is nobody.
func (n *Node) endID(id loop.ID, e ending) {
	if id == 0 {
		return
	}
	n.owners[id.Loop()].post(func(o *owner) {
		if o.loop.Live(id.Slot(), id.Gen()) {
			o.end(id.Slot(), e)
		}
	})
}

// counted counts and logs the end of a conn.
func (o *owner) counted(slot uint32, c *conn, e ending) {
	if c.is(flagUpgraded) {
		o.node.counters.closed(e.code)
	}
	if e.word != "" && (c.state == stateOpen || c.is(flagUpgraded)) {
		o.logConn(slot, "conn closed", "code", e.code, "reason", e.word)
	}
}

// ended counts the end of a conn, gives back all it held, and leaves it closing.
func (o *owner) ended(slot uint32, e ending) {
	c := o.conns.at(slot)
	if c.state != stateFailing {
		o.counted(slot, c, e)
	}
	o.giveBack(slot)
	c.state = stateClosing
	o.due[slot] = never
}

// giveBack returns what a conn holds outside its slot: memberships, pending adds, counts, buffers.
func (o *owner) giveBack(slot uint32) {
	c := o.conns.at(slot)
	o.hub.Drop(slot, o.leave)
	if c.is(flagAdding) {
		delete(o.adding, slot) // its waiters find the generation gone or the state closing
	}
	if c.is(flagPartial) {
		part := o.partials[slot]
		ws.ReleasePartial(&part)
		delete(o.partials, slot)
	}
	delete(o.intake, slot)
	for _, a := range o.late[slot] {
		a.gone()
	}
	delete(o.late, slot)
	if c.is(flagRaw) {
		delete(o.rawGroups, slot)
	}
	if c.is(flagCounted) {
		o.node.addresses.release(c.address())
	}
	if c.is(flagUserCount) {
		o.node.users.release(o.user(slot), o.loop.ID(slot))
	}
	c.flags &^= flagAdding | flagPartial | flagHeld | flagCounted | flagUserCount
	switch c.state {
	case stateJoining:
		o.joining--
		o.open--
	case stateOpen, stateFailing:
		o.open--
	}
}
