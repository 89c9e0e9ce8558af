package server

import (
	"time"

	"github.com/gatecast/gatecast/server/wire"
	"github.com/gatecast/gatecast/server/ws"
)

// readFrames parses what a conn sent and acts on each message: the inbound path from here on is
// read.go ─► ops.go ─► the file of the verb.
func (o *owner) readFrames(slot uint32, c *conn, b []byte) {
	o.now = time.Since(o.node.started)
	c.flags &^= flagPinged // whatever it sent, it is alive
	bounds := o.node.bounds.Load()
	ws.ReleasePartial(&o.part) // of a read that panicked, whose Closed is yet to come
	if c.is(flagPartial) {
		o.part = o.partials[slot]
		delete(o.partials, slot)
		c.flags &^= flagPartial
	}
	for {
		ev, rest, ok, err := c.parser.Next(b, &bounds.parse, &o.part)
		if err != nil {
			e := err.(*ws.CloseError)
			how := ending{code: e.Code, reason: e.Text, word: e.Reason}
			if e == ws.ErrNoRoom {
				o.node.counters.noRoom.Add(1)
				how.code, how.retryMin, how.retryMax = closeOverloaded, retryMinMS, retryMaxMS
			}
			o.breach(slot, c, how)
			break
		}
		if !ok {
			break
		}
		o.event(slot, c, ev)
		if c.over() {
			break
		}
		if b = rest; c.is(flagHeld) {
			if len(b) > 0 {
				o.hold(slot, c, b)
			}
			break
		}
	}
	switch {
	case c.over():
		ws.ReleasePartial(&o.part)
		return
	case o.part != nil:
		o.partials[slot], o.part = o.part, nil
		c.flags |= flagPartial
	}
	if !c.parser.Incomplete() {
		c.partialAt = 0
	} else if c.partialAt == 0 {
		c.partialAt = max(o.loop.Now(), 1)
		o.attend(slot, c)
	}
}

// event acts on one thing the peer said.
func (o *owner) event(slot uint32, c *conn, ev ws.Event) {
	n := o.node
	switch ev.Op {
	case ws.OpText, ws.OpBinary:
		c.partialAt = 0
		n.counters.messagesIn.Add(1)
		if ev.Compressed {
			var ok bool
			if ev.Payload, ok = o.inflate(slot, c, ev); !ok {
				return
			}
		}
		n.counters.bytesIn.Add(uint64(len(ev.Payload)))
		if c.is(flagRaw) {
			o.rawSend(slot, c, ev)
			return
		}
		if ev.Op == ws.OpBinary {
			o.breach(slot, c, ending{code: closeBadFrame, reason: "gatecast.v1 has text frames only", word: "binary_frame"})
			return
		}
		o.readOps(slot, c, ev.Payload)
	case ws.OpPing, ws.OpPong:
		if !c.pings.take(o.now, 1, n.bounds.Load().PingsPerSecond) {
			o.limited(slot, c)
			return
		}
		if ev.Op == ws.OpPing {
			o.frame = ws.AppendFrame(o.frame[:0], ws.OpPong, ev.Payload)
			o.loop.SendBytes(slot, o.frame)
			o.checkPending(slot)
		}
	case ws.OpClose:
		code, _ := ws.ParseClose(ev.Payload)
		o.peerClosed(slot, c, code)
	}
}

// inflate unpacks a compressed message into the loop's scratch. What comes out is bounded by message_bytes, and by what
// bytes_per_second leaves the conn, so that a few bytes cannot buy more work than many. ok is false if the message was refused.
func (o *owner) inflate(slot uint32, c *conn, ev ws.Event) (payload []byte, ok bool) {
	b := o.node.bounds.Load()
	limit, room := b.MessageBytes, c.bytes.room(o.now, b.BytesPerSecond)
	rated := room >= 0 && (limit == 0 || room < limit)
	if rated {
		limit = max(room, 1) // 0 is no limit
	}
	count := &o.node.counters
	payload, err := ws.Inflate(o.inflated[:0], ev, limit)
	if cap(payload) <= maxInflated {
		o.inflated = payload[:0]
	}
	if err == nil {
		count.inflated.Add(1)
		count.inflatedFrom.Add(uint64(len(ev.Payload)))
		count.inflatedTo.Add(uint64(len(payload)))
		return payload, true
	}
	e := err.(*ws.CloseError)
	if e.Code != closeTooLarge || !rated {
		count.uninflatable.add(e.Reason)
		o.breach(slot, c, ending{code: e.Code, reason: e.Text, word: e.Reason})
		return nil, false
	}
	count.uninflatable.add("rate")
	c.bytes.take(o.now, room, b.BytesPerSecond) // the work was done
	if c.is(flagRaw) {
		o.refused(slot, nil, errRate)
		o.limited(slot, c)
	} else {
		o.overRate(slot, c, &wire.Op{})
	}
	return nil, false
}

// maxInflated is the largest scratch that is kept.
const maxInflated = 64 << 10

// peerClosed answers the peer's close frame with its own code, RFC 6455 §5.5.1.
func (o *owner) peerClosed(slot uint32, c *conn, code int) {
	o.frame = ws.AppendCloseFrame(o.frame[:0], code, "")
	o.loop.SendBytes(slot, o.frame)
	o.node.counters.peerClosed.Add(1)
	o.giveBack(slot)
	c.state = stateClosing
	o.due[slot] = never
	o.loop.Close(slot, true)
}

// overLimit is how long a conn may be over a limit, in seconds, before it is closed.
const overLimit = 10

// limited notes that a conn was refused something for a limit, and closes it when that has gone on for 10 s.
func (o *owner) limited(slot uint32, c *conn) {
	o.node.counters.limited.Add(1)
	now := max(o.loop.Now(), 1)
	r := o.refusals[slot]
	if r.limitedAt == 0 || now-r.limitedTo > 1 {
		r.limitedAt = now
	}
	r.limitedTo = now
	o.refusals[slot] = r
	c.flags |= flagRefused
	if now-r.limitedAt >= overLimit {
		o.end(slot, ending{code: closeLimit, reason: "over a limit for 10 s; slow down", word: "limit"})
	}
}

// ratedBytes spends a frame's bytes of the conn's rate and tells whether they were there; ratedMessage one message.
func (o *owner) ratedBytes(c *conn, bytes int) bool {
	return c.bytes.take(o.now, bytes, o.node.bounds.Load().BytesPerSecond)
}

func (o *owner) ratedMessage(c *conn) bool {
	return c.msgs.take(o.now, 1, o.node.bounds.Load().MessagesPerSecond)
}

var errRate = &opError{wire.CodeRateLimited, "too many messages; slow down, then retry"}
