package server

import (
	"iter"
	"log/slog"
	"math"
	"net/netip"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/loop"
	"github.com/gatecast/gatecast/server/wire"
	"github.com/gatecast/gatecast/server/ws"
)

// owner is all that one loop's goroutine owns above its sockets. It is that loop's [loop.Handler]; nothing in it
// is touched by any other goroutine, so it has no lock. Others reach it by posting a task.
type owner struct {
	node *Node
	loop *loop.Loop
	hub  *hub.Hub
	log  *slog.Logger

	conns   table
	logins  logins
	due     []uint32 // by slot: the tick at which the conn needs attention, see tick.go
	open    int      // conns that are logged in; read by others in snapshots taken on the loop
	joining int      // of them, those that wait for their first groups

	intake   map[uint32]*intake       // bytes of conns that cannot be parsed yet: half a header block, or behind a login
	partials map[uint32]*ws.Partial   // messages that have arrived in part
	part     *ws.Partial              // that of the conn that is read, nil between calls of readFrames
	adding   map[uint32]*addQueue     // conns with group_adds that wait for a barrier
	pending  map[string]*pendingGroup // groups that wait for their barrier

	refusals map[uint32]refusals // conns with refused ops

	late      map[uint32][]*addition // the backend's group_adds for conns that are not welcomed yet
	rawGroups map[uint32]string      // the group that a raw conn's messages go to

	dec      wire.Decoder
	msg      broker.Message // scratch of group_send
	json     []byte         // scratch: one JSON reply
	frame    []byte         // scratch: one frame
	inflated []byte         // scratch: a message that came compressed
	text     []byte         // scratch: ids of the message in hand
	name     []byte         // scratch: its group
	lapsed   []held         // scratch of a tick: sessions whose time is over
	slow     []uint32       // scratch: members that a delivery found slow
	deflated int            // scratch: members that a delivery reached compressed
	now      time.Duration  // since the node's start, read once for each socket's bytes
	wall     int64          // unix seconds at the last tick, 0 = none yet

	drain drainWalk
}

// Kinds of tasks that owners are posted.
const (
	taskDeliver uint32 = iota // P: *delivery
	taskLogin                 // P: *verdict, of a login for Slot
	taskJoined                // P: *joined, the barrier of a group is done or failed
	taskRun                   // P: func(*owner)
)

const never = math.MaxUint32

func newOwner(n *Node, l *loop.Loop) *owner {
	return &owner{
		node: n, loop: l, hub: hub.New(), log: n.log, logins: newLogins(),
		intake:    make(map[uint32]*intake),
		partials:  make(map[uint32]*ws.Partial),
		adding:    make(map[uint32]*addQueue),
		pending:   make(map[string]*pendingGroup),
		refusals:  make(map[uint32]refusals),
		rawGroups: make(map[uint32]string),
		late:      make(map[uint32][]*addition),
	}
}

// Open implements [loop.Handler].
func (o *owner) Open(slot uint32, peer netip.AddrPort) {
	for int(slot) >= len(o.due) {
		o.due = append(o.due, never)
	}
	o.accept(slot, o.conns.grow(slot), peer)
}

// Read implements [loop.Handler].
func (o *owner) Read(slot uint32, b []byte) {
	c := o.conns.at(slot)
	switch c.state {
	case stateReading:
		o.readHeader(slot, c, b)
	case stateVerifying, stateJoining:
		o.hold(slot, c, b)
	case stateWaiting, stateOpen:
		if c.is(flagHeld) {
			o.hold(slot, c, b)
			return
		}
		o.readFrames(slot, c, b)
	}
}

// Closed implements [loop.Handler].
func (o *owner) Closed(slot uint32, err error) {
	c := o.conns.at(slot)
	ws.ReleasePartial(&o.part) // of a read that panicked
	if !c.over() {
		o.node.counters.lost.Add(1)
	}
	if c.state != stateClosing {
		o.giveBack(slot)
	}
	o.node.conns.Add(-1)
	o.logins.leave(c.login)
	if c.is(flagRefused) {
		delete(o.refusals, slot)
	}
	o.due[slot] = never
	*c = conn{}
}

// Task implements [loop.Handler].
func (o *owner) Task(t loop.Task) {
	switch t.Kind {
	case taskDeliver:
		o.deliver(t.P.(*delivery))
	case taskLogin:
		if v := t.P.(*verdict); o.loop.Live(t.Slot, t.Gen) {
			o.decided(t.Slot, v)
		}
	case taskJoined:
		o.joined(t.P.(*joined))
	case taskRun:
		t.P.(func(*owner))(o)
	}
}

// Turn implements [loop.Handler].
func (o *owner) Turn() {}

// post runs f on the owner's loop.
func (o *owner) post(f func(*owner)) { o.loop.Post(loop.Task{Kind: taskRun, P: f}) }

// loggedIn yields the conns that have a login, those that are closing included.
func (o *owner) loggedIn() iter.Seq2[uint32, *conn] {
	return func(yield func(uint32, *conn) bool) {
		for slot := range uint32(len(o.due)) {
			if c := o.conns.at(slot); c.login != 0 && !yield(slot, c) {
				return
			}
		}
	}
}

// grants returns what a conn that is logged in may, to be asked at once.
func (o *owner) grants(c *conn) authn.Grants { return o.logins.grants(c.login) }

// sendJSON queues one text frame for the conn. b is o.json or memory that outlives the call.
func (o *owner) sendJSON(slot uint32, b []byte) {
	if cap(b) > cap(o.json) {
		o.json = b
	}
	o.frame = ws.AppendFrame(o.frame[:0], ws.OpText, b)
	o.loop.SendBytes(slot, o.frame)
	o.checkPending(slot)
}

// logConn writes one line about a conn: never its credential.
func (o *owner) logConn(slot uint32, msg string, args ...any) {
	c := o.conns.at(slot)
	args = append(args, "conn", c.id, "addr", c.address())
	if user := o.user(slot); user != "" {
		args = append(args, "user", user)
	}
	o.log.Info(msg, args...)
}
