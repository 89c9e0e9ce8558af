package server

import (
	"bytes"
	"context"
	"log/slog"
	"slices"

	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server/wire"
)

// readOps decodes a text frame of the native protocol and runs its ops in order. The frame costs its bytes, and
// each op, or a frame without any, one message of the conn's rates.
func (o *owner) readOps(slot uint32, c *conn, frame []byte) {
	rated, ops := o.ratedBytes(c, len(frame)), 0
	o.dec.Reset(frame)
	var op wire.Op
	for {
		more, err := o.dec.Next(&op)
		if err != nil {
			e := err.(*wire.Error)
			if e.Fatal {
				o.breach(slot, c, ending{code: closeBadFrame, reason: e.Message, word: "bad_json"})
				return
			}
			op = wire.Op{HasID: e.HasID, ID: e.ID}
			if ops++; rated && o.ratedMessage(c) {
				o.refuseOp(slot, &op, &opError{e.Code, e.Message})
			} else {
				o.overRate(slot, c, &op)
			}
		} else if more {
			if ops++; op.Kind == wire.OpPong {
				if !c.pings.take(o.now, 1, o.node.bounds.Load().PingsPerSecond) {
					o.limited(slot, c)
				}
			} else if rated && o.ratedMessage(c) {
				o.op(slot, c, &op)
			} else {
				o.overRate(slot, c, &op)
			}
		}
		if !more || c.over() {
			break
		}
	}
	if ops == 0 && !c.over() && !o.ratedMessage(c) {
		o.limited(slot, c)
	}
}

// overRate refuses an op that came too fast.
func (o *owner) overRate(slot uint32, c *conn, op *wire.Op) {
	if o.refuseOp(slot, op, errRate); !c.over() {
		o.limited(slot, c)
	}
}

// op runs one op, or puts it off: ops behind an auth wait for it, and an op on a group waits for the conn's
// earlier op on that group.
func (o *owner) op(slot uint32, c *conn, op *wire.Op) {
	if c.is(flagHeld) || c.is(flagAdding) && o.adding[slot].mustWait(op) {
		o.putOff(slot, c, op)
		return
	}
	o.run(slot, c, op)
}

// run is the dispatch: one line a verb.
func (o *owner) run(slot uint32, c *conn, op *wire.Op) {
	if c.state == stateWaiting && op.Kind != wire.OpAuth {
		o.refuseOp(slot, op, errLoginFirst)
		return
	}
	switch op.Kind {
	case wire.OpGroupSend:
		o.groupSend(slot, c, op)
	case wire.OpGroupAdd:
		o.groupAdd(slot, c, op)
	case wire.OpGroupDiscard:
		o.groupDiscard(slot, op)
	case wire.OpAuth:
		o.auth(slot, c, op)
	case wire.OpPing:
		o.ok(slot, op, nil)
	case wire.OpPresence, wire.OpHistory:
		o.refuseOp(slot, op, errLater)
	}
}

var (
	errLoginFirst = &opError{wire.CodeUnauthorized, "log in first: send an auth op"}
	errLater      = &opError{wire.CodeUnavailable, "this server keeps no presence and no history"}
)

// ok answers an op that asked for a reply.
func (o *owner) ok(slot uint32, op *wire.Op, group []byte) {
	if op.HasID {
		o.sendJSON(slot, wire.AppendOK(o.json[:0], op.ID, group))
	}
}

// refused counts and logs a refused op: for a conn the first in a second as info, the others for who debugs, so
// that a flood does not fill the disk.
func (o *owner) refused(slot uint32, group []byte, e *opError) {
	o.node.counters.refusedOp(e.code)
	level, c, now := slog.LevelDebug, o.conns.at(slot), max(o.loop.Now(), 1)
	if r := o.refusals[slot]; r.loggedAt != now {
		r.loggedAt, level = now, slog.LevelInfo
		o.refusals[slot] = r
		c.flags |= flagRefused
	}
	if !o.log.Enabled(context.Background(), level) {
		return
	}
	if len(group) > subject.MaxName {
		group = group[:subject.MaxName]
	}
	o.log.Log(context.Background(), level, "op refused", "code", e.code, "detail", e.text, "group", string(group),
		"conn", c.id, "addr", c.address(), "user", o.user(slot))
}

// user is the id of the conn's user, "" before the login.
func (o *owner) user(slot uint32) string { return string(o.logins.user(o.conns.at(slot).login)) }

// refuseOp answers a refused op. Without an id it is said all the same, for nothing else would tell.
func (o *owner) refuseOp(slot uint32, op *wire.Op, e *opError) {
	o.refused(slot, op.Group, e)
	o.sendJSON(slot, wire.AppendError(o.json[:0], op.HasID, op.ID, e.code, e.text))
}

// addQueue is what a conn with unfinished group_adds keeps: which groups they are for, and the ops behind them.
type addQueue struct {
	names []string // in flight
	later []laterOp
	size  int // bytes in later
	named int // groups in later
}

// laterOp is an op that was put off: its object as sent, and the groups it names.
type laterOp struct {
	raw   []byte
	names []string
}

// maxLater bounds the ops a conn may have put off, in bytes, in number and in the groups they name.
const maxLater, maxLaterOps, maxLaterNames = 256 << 10, 1024, 4096

// mustWait tells whether the op names a group that an earlier unfinished op names too.
func (q *addQueue) mustWait(op *wire.Op) bool {
	if op.Group != nil && q.has(op.Group) {
		return true
	}
	return slices.ContainsFunc(op.Groups, func(g wire.GroupReq) bool { return q.has(g.Group) })
}

func (q *addQueue) has(group []byte) bool {
	same := func(name string) bool { return name == string(group) }
	return slices.ContainsFunc(q.names, same) ||
		slices.ContainsFunc(q.later, func(l laterOp) bool { return slices.ContainsFunc(l.names, same) })
}

// queue returns the conn's addQueue, made if need be.
func (o *owner) queue(slot uint32, c *conn) *addQueue {
	q := o.adding[slot]
	if q == nil {
		q = &addQueue{}
		o.adding[slot] = q
		c.flags |= flagAdding
	}
	return q
}

// putOff keeps an op for later.
func (o *owner) putOff(slot uint32, c *conn, op *wire.Op) {
	q := o.queue(slot, c)
	if len(q.later) >= maxLaterOps || q.size+len(op.Raw) > maxLater || q.named+len(op.Groups)+1 > maxLaterNames {
		o.refuseOp(slot, op, &opError{wire.CodeLimit, "too many ops wait for an earlier one on the same group"})
		if !c.over() {
			o.limited(slot, c)
		}
		return
	}
	l := laterOp{raw: bytes.Clone(op.Raw)}
	if op.Group != nil {
		l.names = append(l.names, string(op.Group))
	}
	for _, g := range op.Groups {
		l.names = append(l.names, string(g.Group))
	}
	q.keep(l)
}

func (q *addQueue) keep(l laterOp) {
	q.later = append(q.later, l)
	q.size += len(l.raw)
	q.named += len(l.names)
}

// goOn runs the ops whose turn has come, after a group_add or an auth is finished.
func (o *owner) goOn(slot uint32, c *conn) {
	q := o.adding[slot]
	if q == nil {
		return
	}
	later := q.later
	q.later, q.size, q.named = nil, 0, 0
	var op wire.Op
	for _, l := range later {
		o.dec.Reset(l.raw)
		if more, err := o.dec.Next(&op); err != nil || !more {
			continue // it was decoded once, so it decodes
		}
		if c.is(flagHeld) || q.mustWait(&op) {
			q.keep(l)
			continue
		}
		if o.run(slot, c, &op); c.over() {
			return
		}
	}
	if len(q.names) == 0 && len(q.later) == 0 {
		delete(o.adding, slot)
		c.flags &^= flagAdding
	}
}

// checkName is subject.CheckNameBytes as an answer to an op.
func checkName(name []byte) *opError {
	if err := subject.CheckNameBytes(name); err != nil {
		return &opError{wire.CodeBadGroup, err.Error()}
	}
	return nil
}
