package broker

import (
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gatecast/gatecast/broker/subject"
)

// Subscriptions of the relay link. Those of groups begin at sidGroups.
const (
	sidInbox = iota + 1
	sidSync
	sidHello
	sidBeat
	sidBye
	sidUsers
	sidGroups = 16
)

// maxEscaped is the longest escaped name: the group of a user whose every byte is quoted, then escaped.
const maxEscaped = 5*subject.MaxUserGroup + 8

// Publish sends m on its group's live lane. This node's own members get it by Handler.Deliver before Publish returns, which asks for no
// detour: NATS echoes nothing to the link that published it. It copies what it needs, allocates nothing and never blocks.
func (b *Broker) Publish(m *Message) error {
	if err := subject.CheckNameBytes(m.Group); err != nil {
		return ErrBadGroup
	}
	if !fitHeaders(m) {
		return ErrBadHeader
	}
	if err := b.write(m); err != nil {
		return err
	}
	b.count.published.Add(1)
	b.count.publishedBytes.Add(uint64(len(m.Data)))
	b.handOver(m)
	return nil
}

// write appends m to the relay's buffer.
func (b *Broker) write(m *Message) error {
	l := b.relay
	limit := int(l.maxPayload.Load())
	if len(m.Data) > limit {
		return ErrTooLarge
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.serving || len(l.buf) > maxPending {
		return ErrUnavailable
	}
	if b.unheard() && len(m.Data)+maxHeaders(m) <= limit {
		return nil
	}
	var scratch [maxEscaped]byte
	escaped := subject.AppendEscaped(scratch[:0], m.Group)
	buf := append(l.buf, "HPUB "...)
	buf = b.appendLive(buf, escaped)
	buf = append(buf, ' ')
	// the sizes stand before the block: write it first, then make room
	at := len(buf)
	buf = appendHeaders(buf, m, b.instance)
	size := len(buf) - at
	if size+len(m.Data) > limit {
		return ErrTooLarge // buf's new bytes are behind len(l.buf)
	}
	var digits [48]byte
	d := strconv.AppendInt(digits[:0], int64(size), 10)
	d = append(d, ' ')
	d = strconv.AppendInt(d, int64(size+len(m.Data)), 10)
	d = append(d, crlf...)
	buf = append(buf, d...)
	copy(buf[at+len(d):], buf[at:at+size])
	copy(buf[at:], d)
	l.buf = append(append(buf, m.Data...), crlf...)
	l.wake()
	return nil
}

// unheard says that nobody but this node can hear what it publishes: its embedded server has no routes, keeps no streams, and let in
// neither a service nor a native user. A client counts before it can subscribe, so whoever has subscribed is heard.
func (b *Broker) unheard() bool {
	return b.alone() && !b.o.JetStream.Enabled && b.strangers.Load() == 0
}

// relayReader is what the relay's reader goroutine owns.
type relayReader struct {
	m       Message
	headers headerReader
	name    []byte
}

// onRelay handles one message of the relay link, on its reader goroutine.
func (b *Broker) onRelay(f *frame) {
	if f.sid >= sidGroups || f.sid == sidUsers {
		b.deliver(f)
		return
	}
	switch f.sid {
	case sidInbox:
		b.onRelayInbox(f)
	case sidSync:
		// all this node's server heard before is in force now; the answer says so
		if bytes.HasPrefix(f.reply, []byte(b.sub.ns+".ctl.r.")) {
			b.relay.append(func(buf []byte) []byte { return appendPub(buf, f.reply, nil, nil) })
		}
	case sidHello:
		b.onHello(f)
	case sidBeat:
		b.onBeat(f)
	case sidBye:
		b.onBye(f)
	}
}

func (b *Broker) deliver(f *frame) {
	r := &b.reading
	r.m = Message{Data: f.body}
	m := &r.m
	if f.sid == sidUsers {
		name, ok := b.laneName(f.subject)
		if !ok {
			b.count.undeliverable.Add(1)
			return
		}
		m.Group = name
	} else {
		it := b.table.get(f.sid)
		if it == nil {
			b.count.undeliverable.Add(1)
			return
		}
		m.Group = it.nameBytes
	}
	if f.header != nil {
		if bad := r.headers.read(f.header, m); bad != "" {
			b.count.undeliverable.Add(1)
			return
		}
		if string(r.headers.node) == b.instance {
			return // an earlier connection of this link sent it, and Publish has handed it over
		}
	}
	b.handOver(m)
}

func (b *Broker) handOver(m *Message) {
	b.count.delivered.Add(1)
	b.count.deliveredBytes.Add(uint64(len(m.Data)))
	b.h.Deliver(m)
}

// laneName takes the group's name from <ns>.g.NN.<escaped>.
func (b *Broker) laneName(s []byte) ([]byte, bool) {
	if len(s) <= len(b.sub.live) {
		return nil, false
	}
	s = s[len(b.sub.live):]
	dot := bytes.IndexByte(s, '.')
	if dot < 0 {
		return nil, false
	}
	name, err := subject.AppendUnescaped(b.reading.name[:0], s[dot+1:])
	if err != nil {
		return nil, false
	}
	b.reading.name = name
	return name, true
}

// onRelayInbox handles answers, s.<barrier>.<node token> to a sync and h to a hello, and this node's own heartbeats.
func (b *Broker) onRelayInbox(f *frame) {
	what, ok := strings.CutPrefix(string(f.subject), b.sub.relayInbox)
	if !ok {
		return
	}
	if what == "h" {
		if !noResponders(f.header) {
			b.onHelloAnswer(f)
		}
		return
	}
	if what == ownBeat {
		b.onOwnBeat()
		return
	}
	if rest, ok := strings.CutPrefix(what, "s."); ok {
		number, token, _ := strings.Cut(rest, ".")
		id, err := strconv.ParseUint(number, 10, 64)
		if err == nil {
			b.onSynced(id, token)
		}
	}
}

// table finds the subscription of a sid without a lock: the reader looks, whoever holds Broker.mu changes.
type table struct {
	slots  atomic.Pointer[[]atomic.Pointer[interest]]
	free   []uint32 // guarded by Broker.mu
	next   uint32   // guarded by Broker.mu
	reused uint64   // guarded by Broker.mu
}

// A sid is generation and slot, so that a late message for a slot's earlier subscription is not taken for the new one's.
const slotBits = 24

func slotOf(sid uint64) uint32 { return uint32(sid & (1<<slotBits - 1)) }

func (t *table) get(sid uint64) *interest {
	s := t.slots.Load()
	i := slotOf(sid)
	if s == nil || int(i) >= len(*s) {
		return nil
	}
	if it := (*s)[i].Load(); it != nil && it.sid == sid {
		return it
	}
	return nil
}

// put gives it a sid. Broker.mu is held.
func (t *table) put(it *interest) {
	var slot uint32
	var generation uint64
	if n := len(t.free); n > 0 {
		slot, t.free = t.free[n-1], t.free[:n-1]
		t.reused++
		generation = t.reused
	} else {
		if t.next == 0 {
			t.next = sidGroups
		}
		slot = t.next
		t.next++
	}
	s := t.slots.Load()
	if s == nil || int(slot) >= len(*s) {
		grown := make([]atomic.Pointer[interest], max(64, 2*int(slot)))
		if s != nil {
			for i := range *s {
				grown[i].Store((*s)[i].Load())
			}
		}
		t.slots.Store(&grown)
		s = &grown
	}
	it.sid = generation<<slotBits | uint64(slot)
	(*s)[slot].Store(it)
}

// drop frees it's slot. Broker.mu is held.
func (t *table) drop(it *interest) {
	slot := slotOf(it.sid)
	(*t.slots.Load())[slot].Store(nil)
	t.free = append(t.free, slot)
}
