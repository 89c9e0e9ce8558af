package server

import (
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/wire"
)

// groupSend publishes to a group. It allocates nothing up to the relay's buffer.
func (o *owner) groupSend(slot uint32, c *conn, op *wire.Op) {
	if e := checkName(op.Group); e != nil {
		o.refuseOp(slot, op, e)
		return
	}
	if grants := o.grants(c); !grants.CanPublish(op.Group) {
		o.refuseOp(slot, op, errMayNotSend)
		return
	}
	if len(op.MsgID) > maxMsgID {
		o.refuseOp(slot, op, errMsgID)
		return
	}
	m := &o.msg
	*m = broker.Message{Group: op.Group, Data: op.Data, Format: broker.FormatJSON, ID: op.MsgID}
	if err := o.publish(slot, c, m, op.Echo && (op.HasEcho || o.node.rule(m.Group).echo)); err != nil {
		o.refuseOp(slot, op, refuseOp(err))
		return
	}
	o.ok(slot, op, op.Group)
}

// maxMsgID bounds msg_id, in bytes; the HTTP API has the same.
const maxMsgID = 256

var errMsgID = &opError{wire.CodeBadRequest, `"msg_id" may have 256 bytes at most`}

var errMayNotSend = &opError{wire.CodeForbidden, "your grants do not let you send to this group"}

// publish hands a conn's message to the broker with who sent it. With echo false the conn itself is left out.
func (o *owner) publish(slot uint32, c *conn, m *broker.Message, echo bool) error {
	const idLen = 36
	o.text = append(o.text[:0], o.logins.user(c.login)...)
	from := len(o.text)
	o.text = appendUUID(o.text, c.id)
	m.From, m.Conn = o.text[:from], o.text[from:from+idLen]
	if !echo {
		m.Exclude = m.Conn
	}
	err := o.node.broker.Publish(m)
	if err == nil {
		o.node.counters.published.Add(1)
	}
	return err
}
