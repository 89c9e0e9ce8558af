package server

import (
	"strconv"

	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/wire"
)

// groupAdd joins one group, or with "groups" many with one answer.
func (o *owner) groupAdd(slot uint32, c *conn, op *wire.Op) {
	if len(op.Groups) > maxGroupsPerOp {
		o.refuseOp(slot, op, &opError{wire.CodeBadRequest, "an op may name " + strconv.Itoa(maxGroupsPerOp) + " groups at most; send several"})
		return
	}
	a := &addition{
		slot: slot, gen: o.loop.ID(slot).Gen(), how: hub.ByClient, done: (*owner).groupAdded,
		hasID: op.HasID, id: op.ID, many: op.Group == nil,
	}
	if a.many {
		for _, g := range op.Groups {
			a.names = append(a.names, string(g.Group))
			a.errs = append(a.errs, o.checkAdd(slot, g.Group, g.HasSince || op.Presence, len(a.names)))
		}
	} else {
		a.names = []string{string(op.Group)}
		a.errs = []*opError{o.checkAdd(slot, op.Group, op.HasSince || op.Presence, 1)}
	}
	for _, e := range a.errs {
		if e != nil && e.code == wire.CodeLimit {
			if o.limited(slot, c); c.over() {
				return
			}
			break
		}
	}
	for i, name := range a.names {
		if a.errs[i] == nil {
			a.queued = append(a.queued, name)
		}
	}
	if o.add(a); a.left > 0 {
		q := o.queue(slot, c)
		q.names = append(q.names, a.queued...)
	}
}

// maxGroupsPerOp bounds the groups that one op may name.
const maxGroupsPerOp = 1000

var errMayNotHear = &opError{wire.CodeForbidden, "your grants do not let you hear this group"}

// checkAdd tells why a conn may not be added to a group. The n-th new group of one op counts what the others add.
func (o *owner) checkAdd(slot uint32, group []byte, extras bool, n int) *opError {
	if e := checkName(group); e != nil {
		return e
	}
	if grants := o.grants(o.conns.at(slot)); !grants.CanSubscribe(group) {
		return errMayNotHear
	}
	if extras {
		return errLater
	}
	limit := o.node.bounds.Load().GroupsPerConn
	if limit == 0 {
		return nil
	}
	if _, member := o.hub.Has(group, slot); member {
		return nil
	}
	if q := o.adding[slot]; q != nil {
		n += len(q.names)
	}
	if o.hub.Count(slot)+n > limit {
		return &opError{wire.CodeLimit, "a conn may be in " + strconv.Itoa(limit) + " groups at most; leave one first"}
	}
	return nil
}

// groupAdded answers a group_add whose barriers are done.
func (o *owner) groupAdded(a *addition) {
	o.enter(a)
	switch {
	case a.many:
		if a.hasID {
			replies := make([]wire.GroupReply, len(a.names))
			for i, name := range a.names {
				replies[i].Group = []byte(name)
				if e := a.errs[i]; e != nil {
					replies[i].Code, replies[i].Message = e.code, e.text
				}
			}
			o.sendJSON(a.slot, wire.AppendOKGroups(o.json[:0], a.id, replies))
		}
		for i, e := range a.errs {
			if e != nil {
				o.refused(a.slot, []byte(a.names[i]), e)
			}
		}
	case a.errs[0] != nil:
		e := a.errs[0]
		o.refused(a.slot, []byte(a.names[0]), e)
		o.sendJSON(a.slot, wire.AppendError(o.json[:0], a.hasID, a.id, e.code, e.text))
	case a.hasID:
		o.sendJSON(a.slot, wire.AppendOK(o.json[:0], a.id, []byte(a.names[0])))
	}
}
