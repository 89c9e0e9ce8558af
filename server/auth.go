package server

import (
	"errors"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/wire"
)

// authOp is an auth op that is being verified.
type authOp struct {
	id    int64
	hasID bool
}

// auth verifies a token: the first login of a waiting conn, the raise of an anonymous one, or a new credential
// of the same user. What the conn sends meanwhile waits.
func (o *owner) auth(slot uint32, c *conn, op *wire.Op) {
	if !o.node.messageCarrier && c.state != stateWaiting {
		o.refuseOp(slot, op, &opError{wire.CodeForbidden, `login by message is off; add "message" to authn.carriers`})
		return
	}
	r := &authn.Request{Message: string(op.Token), Remote: c.address()}
	c.flags |= flagHeld
	if c.state == stateWaiting {
		o.due[slot] = never // the verifier has authn.timeout of its own
	}
	job := &loginJob{owner: o, slot: slot, gen: o.loop.ID(slot).Gen(), conn: c.id, request: r, queued: time.Now(), op: &authOp{op.ID, op.HasID}}
	job.began = job.queued
	v := o.node.finish(&verdict{job: job}, o.node.chain.Cached)
	switch {
	case !errors.Is(v.err, authn.ErrNotCached):
	case o.node.attempts.over(r.Remote):
		v.err = errAttempts
	case o.node.logins.submit(job):
		return
	default:
		v.err = errBusy
	}
	job.answer(v) // later, for what is decided here would go on with the op behind it
}

// authDecided goes on after an auth op.
func (o *owner) authDecided(slot uint32, c *conn, v *verdict) {
	if c.over() {
		return
	}
	c.flags &^= flagHeld
	reply := wire.Op{HasID: v.job.op.hasID, ID: v.job.op.id, Kind: wire.OpAuth}
	switch {
	case c.state == stateWaiting && v.err != nil:
		e := refuseLogin(v.err)
		o.node.counters.handshake("refused", e.word)
		o.logConn(slot, "login refused", "reason", e.word, "detail", v.err.Error())
		o.end(slot, e)
		return
	case c.state == stateWaiting:
		if o.ok(slot, &reply, nil); c.over() {
			return
		}
		// Ops sent behind the auth run after the welcome, in welcome's release and goOn.
		o.admit(slot, c, v)
		return
	case c.state != stateOpen:
		return
	case v.err != nil:
		e := refuseLogin(v.err)
		o.logConn(slot, "login refused", "reason", e.word, "detail", v.err.Error())
		code := e.errorCode()
		o.refuseOp(slot, &reply, &opError{code, e.reason})
	case v.id.ID == "" || o.user(slot) != "" && v.id.ID != o.user(slot):
		o.refuseOp(slot, &reply, &opError{wire.CodeForbidden, "this is another user's login; open another conn for it"})
	default:
		if o.renew(slot, c, v); !c.over() {
			o.ok(slot, &reply, nil)
		}
	}
	if c.over() {
		return
	}
	if o.goOn(slot, c); !c.over() {
		o.release(slot, c)
	}
}

// renew gives a conn a new login of the same user, or raises an anonymous one: memberships that the new grants
// do not cover end, those they bring begin.
func (o *owner) renew(slot uint32, c *conn, v *verdict) {
	raised := o.user(slot) == "" && v.id.ID != ""
	if limit := o.node.bounds.Load().ConnsPerUser; raised && limit > 0 {
		ok, oldest := o.node.users.acquire(v.id.ID, o.loop.ID(slot), limit, o.node.bounds.Load().ConnsPerUserPolicy == "replace")
		if !ok {
			o.end(slot, ending{code: closeLimit, reason: "this user has too many conns", word: "conns_per_user"})
			return
		}
		c.flags |= flagUserCount
		o.node.endID(oldest, ending{code: closeReplaced, reason: "replaced by a newer conn of this user", word: "replaced"})
	}
	o.setLogin(slot, c, v)
	if !c.welcomed() { // its welcome goes by the new grants
		return
	}
	var lost []string
	for name, how := range o.hub.GroupsOf(slot) {
		if how != hub.ByBackend && !v.grants.CanSubscribe(name) {
			lost = append(lost, string(name))
		}
	}
	for _, name := range lost {
		o.discard(slot, []byte(name))
		o.tellDiscarded(slot, c, name)
	}
	if len(lost) > 0 && c.is(flagRaw) { // its code cannot be told, and would wait for ever
		o.end(slot, ending{code: closeForbidden, reason: "you may not hear this group any more", word: "forbidden_group"})
	}
	if c.state == stateClosing {
		return
	}
	o.joinGranted(slot)
}

// joinGranted adds a conn to the groups its grants join it to.
func (o *owner) joinGranted(slot uint32) {
	var gained []string
	grants := o.grants(o.conns.at(slot))
	for _, name := range grants.Join() {
		if _, member := o.hub.Has([]byte(name), slot); !member {
			gained = append(gained, name)
		}
	}
	if len(gained) > 0 {
		o.add(&addition{slot: slot, gen: o.loop.ID(slot).Gen(), names: gained, how: hub.ByRule, done: (*owner).addedForConn})
	}
}

// addedForConn tells a conn of groups that it did not ask for.
func (o *owner) addedForConn(a *addition) {
	o.enter(a)
	c := o.conns.at(a.slot)
	for i, name := range a.names {
		if a.errs[i] == nil && !c.is(flagRaw) {
			o.sendJSON(a.slot, wire.AppendGroupAdded(o.json[:0], []byte(name)))
		}
	}
}

// tellDiscarded tells a conn that it was taken out of a group.
func (o *owner) tellDiscarded(slot uint32, c *conn, name string) {
	if !c.is(flagRaw) {
		o.sendJSON(slot, wire.AppendGroupDiscarded(o.json[:0], []byte(name)))
	}
}
