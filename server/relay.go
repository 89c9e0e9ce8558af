package server

import (
	"bytes"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/loop"
	"github.com/gatecast/gatecast/server/pack"
	"github.com/gatecast/gatecast/server/wire"
	"github.com/gatecast/gatecast/server/ws"
)

// The relay joins broker and hubs. A message goes
//
//	who publishes here, or broker's reader ─► Deliver: one frame per protocol ─► a task for each loop that has members ─► deliver: fan-out
//
// The functions stand in that order.

// delivery is one message on its way to the members on this node. It is shared by the loops it was posted to and
// goes back to the pool when the last is done.
type delivery struct {
	left    atomic.Int32 // loops that are not done
	text    []byte       // scratch of encode
	group   []byte
	native  twin // the native message object
	data    twin // the data alone, for raw routes; empty without routes
	exclude []uuid.UUID
	slow    slowPolicy
}

var deliveries = sync.Pool{New: func() any { return new(delivery) }}

// Deliver implements [broker.Handler].
func (n *Node) Deliver(m *broker.Message) {
	loops := n.where.loops(m.Group)
	if loops == 0 {
		return // a user's message, heard by wildcard, for a user who is elsewhere
	}
	d := deliveries.Get().(*delivery)
	if !n.encode(d, m) {
		d.recycle()
		return
	}
	d.left.Store(int32(bits.OnesCount64(loops)))
	for ; loops != 0; loops &= loops - 1 {
		l := n.owners[bits.TrailingZeros64(loops)].loop
		l.Post(loop.Task{Kind: taskDeliver, P: d})
	}
}

// maxText is the largest scratch that a delivery keeps.
const maxText = 64 << 10

// encode makes the frames of a message.
func (n *Node) encode(d *delivery, m *broker.Message) bool {
	msg := wire.Message{Group: m.Group, Data: m.Data, From: m.From, Format: byte(m.Format), Seq: m.Seq}
	text, err := wire.AppendMessage(d.text[:0], &msg)
	if err != nil {
		n.counters.undeliverable.Add(1)
		return false
	}
	if cap(text) <= maxText {
		d.text = text
	}
	d.native.plain = newFrame(ws.OpText, text)
	if n.hasData {
		op, data := rawData(m)
		d.data.plain = newFrame(op, data)
	}
	d.group = append(d.group[:0], m.Group...)
	d.slow = n.rule(m.Group).slow
	tag := d.slow.tag(m.Group)
	d.native.plain.Tag = tag
	if d.data.plain != nil {
		d.data.plain.Tag = tag
	}
	d.exclude = d.exclude[:0]
	for list := m.Exclude; len(list) > 0; {
		var id []byte
		id, list, _ = bytes.Cut(list, []byte{','})
		if u, err := uuid.ParseBytes(id); err == nil {
			d.exclude = append(d.exclude, u)
		}
	}
	return true
}

// twin is a frame and its compressed form, which the first member that takes it has made, on its loop.
type twin struct {
	plain    *loop.Frame
	once     sync.Once   // guards deflated: another loop may want it at the same time
	deflated *loop.Frame // nil if nobody wanted it, or the message is below the minimum
}

// compressed returns the frame for members that take compressed messages.
func (t *twin) compressed(n *Node) *loop.Frame {
	if len(t.plain.B) < n.opts.Compression.MinBytes {
		return t.plain
	}
	t.once.Do(func() {
		f := loop.NewFrame(len(t.plain.B)/2 + 64)
		f.B = ws.DeflateFrame(f.B, t.plain.B)
		f.Tag = t.plain.Tag
		t.deflated = f
		n.counters.deflated.Add(1)
		n.counters.deflatedFrom.Add(uint64(len(t.plain.B)))
		n.counters.deflatedTo.Add(uint64(len(f.B)))
	})
	return t.deflated
}

func (t *twin) release() {
	if t.plain != nil {
		t.plain.Release()
	}
	if t.deflated != nil {
		t.deflated.Release()
	}
}

// newFrame makes a frame that many conns can share.
func newFrame(op ws.Op, payload []byte) *loop.Frame {
	f := loop.NewFrame(ws.HeaderSize(len(payload)) + len(payload))
	f.B = append(ws.AppendHeader(f.B, op, len(payload)), payload...)
	return f
}

// done gives the delivery back when the last loop calls it.
func (d *delivery) done() {
	if d.left.Add(-1) == 0 {
		d.recycle()
	}
}

// recycle puts a delivery back without its frames, which loops may still be sending.
func (d *delivery) recycle() {
	d.native.release()
	d.data.release()
	d.native, d.data = twin{}, twin{}
	deliveries.Put(d)
}

// deliver fans a message out to the members on this loop.
func (o *owner) deliver(d *delivery) {
	members := o.hub.Members(d.group)
	now := o.loop.Queue() == 0 // nothing behind it to share a send with
	for _, m := range members {
		o.loop.Blame(m.Slot)
		o.deliverTo(m, d, now)
	}
	o.node.counters.delivered.Add(uint64(len(members)))
	if o.deflated > 0 {
		o.node.counters.deliveredDeflated.Add(uint64(o.deflated))
		o.deflated = 0
	}
	for i := 0; i < len(o.slow); i++ { // after the walk, for ending a conn changes the group
		o.endSlow(o.slow[i])
	}
	o.slow = o.slow[:0]
	d.done()
}

// deliverTo sends a message to one member.
func (o *owner) deliverTo(m hub.Member, d *delivery, now bool) {
	c := o.conns.at(m.Slot)
	for i := range d.exclude {
		if d.exclude[i] == c.id {
			return
		}
	}
	t := &d.native
	if c.is(flagData) {
		t = &d.data
	}
	f := t.plain
	if c.is(flagDeflate) {
		if f = t.compressed(o.node); f != t.plain {
			o.deflated++
		}
	}
	if o.loop.Blocked(m.Slot) && !o.makeRoom(m.Slot, c, d.slow, f.Tag) {
		return
	}
	if now {
		o.loop.SendNow(m.Slot, f)
	} else {
		o.loop.Send(m.Slot, f)
	}
	if !o.isSlow(m.Slot) {
		return
	}
	if d.slow.drops() {
		if c.flags |= flagDrops; o.shed(m.Slot, c) {
			return
		}
	}
	o.slow = append(o.slow, m.Slot)
}

// whereabouts knows which loops of this node have members of a group, by a hash of its name: in the rare case of two groups with the
// same one, a loop without members is asked for nothing. Loops set and clear; the broker's reader looks.
type whereabouts struct {
	seed   maphash.Seed
	shards [16]struct {
		mu sync.RWMutex
		at pack.Index // from hashes to loops
	}
}

func newWhereabouts() whereabouts { return whereabouts{seed: maphash.MakeSeed()} }

// hash returns a name's hash and shard.
func (w *whereabouts) hash(name []byte) (hash uint32, shard int) {
	h := maphash.Bytes(w.seed, name)
	return uint32(h), int(h >> 60)
}

func (w *whereabouts) set(name []byte, loop int) {
	hash, i := w.hash(name)
	s := &w.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at.Put(hash, uint32(loop))
}

func (w *whereabouts) clear(name []byte, loop int) {
	hash, i := w.hash(name)
	s := &w.shards[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at.Drop(hash, uint32(loop))
}

// len returns the number of groups, each counted once for each loop with members.
func (w *whereabouts) len() int {
	n := 0
	for i := range w.shards {
		s := &w.shards[i]
		s.mu.RLock()
		n += s.at.Len()
		s.mu.RUnlock()
	}
	return n
}

// loops returns the loops with members as bits.
func (w *whereabouts) loops(name []byte) (found uint64) {
	hash, i := w.hash(name)
	s := &w.shards[i]
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.at.Find(hash, func(loop uint32) bool {
		found |= 1 << loop
		return false
	})
	return found
}
