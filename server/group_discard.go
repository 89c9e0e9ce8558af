package server

import "github.com/gatecast/gatecast/server/wire"

// groupDiscard leaves a group. To leave one the conn is not in is no mistake: afterwards it is not in it.
func (o *owner) groupDiscard(slot uint32, op *wire.Op) {
	if e := checkName(op.Group); e != nil {
		o.refuseOp(slot, op, e)
		return
	}
	o.discard(slot, op.Group)
	o.ok(slot, op, op.Group)
}

// discard takes a conn out of a group and tells whether it was in it.
func (o *owner) discard(slot uint32, group []byte) bool {
	removed, last := o.hub.Discard(group, slot)
	if last {
		o.leave(group)
	}
	return removed
}
