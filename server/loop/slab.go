package loop

// state is where a socket is in its life.
//
//	         ┌────────────── Closed called, slot free again ──────────────┐
//	         ▼                                                            │
//	free ─open()─► open ─Close(flush), EOF─► flushing ─all sent─► lingering │
//	                │                           │                     │   │
//	                └── error, Abort, Close ────┴─ error, deadline ───┴► dead
type state uint8

const (
	free      state = iota // slot unused
	open                   // the handler reads and sends
	flushing               // what is pending goes out, what arrives is thrown away; the handler's sends are ignored
	lingering              // FIN is sent; waits for the peer's, so that our last bytes are not lost to a RST (RFC 6455 §7.1.1)
	dead                   // on the list that the end of the turn works off
)

func (s state) String() string {
	return [...]string{"free", "open", "flushing", "lingering", "dead"}[s]
}

const (
	isDirty    uint8 = 1 << iota // in Loop.dirty
	isBlocked                    // a write was not taken whole, or is under way: wait for writable
	isPaused                     // the handler wants no reads
	isEnded                      // the peer's FIN was seen
	isPeers                      // the peer ended it, not we: Closed gets io.EOF
	isPortable                   // a net.Conn, not a raw descriptor
	isReset                      // close by RST
	isLodged                     // has pieces in the arena
)

// sock is one socket. It holds no pointer, so the garbage collector never looks at a slab of them, and nothing beside it exists for
// an idle socket in epoll mode. Owned by its loop.
type sock struct {
	gen      uint32 // raised each time the slot is taken; never 0
	ref      uint32 // epoll: the descriptor; portable: index into netConns.conns
	state    state
	flags    uint8
	events   uint16 // epoll: what is registered
	head     uint32 // first pending piece, 0 = none; on a free slot, the next free slot
	tail     uint32 // last pending piece
	pending  uint32 // bytes in pieces
	flight   uint32 // portable: bytes its writer goroutine holds
	flightAt uint32 // tick when the oldest byte in flight was queued
}

func (s *sock) is(flag uint8) bool { return s.flags&flag != 0 }

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits // sockets in a chunk
)

// slab is the table of a loop's sockets. It grows by chunks, which never move: a *sock stays valid while its socket lives.
// Slot 0 exists and is never taken, so that it can mean none.
type slab struct {
	chunks   []*[chunkSize]sock
	taken    uint32 // slots handed out at least once, slot 0 included
	freeHead uint32 // last freed first, for its memory is still in the cache
}

func newSlab() slab { return slab{chunks: []*[chunkSize]sock{new([chunkSize]sock)}, taken: 1} }

func (t *slab) at(slot uint32) *sock { return &t.chunks[slot>>chunkBits][slot&(chunkSize-1)] }

// take returns an unused slot, or 0 if all 16 million are in use.
func (t *slab) take() (uint32, *sock) {
	slot := t.freeHead
	if slot != 0 {
		t.freeHead = t.at(slot).head
	} else {
		if t.taken == maxSlots {
			return 0, nil
		}
		slot = t.taken
		t.taken++
		if int(slot>>chunkBits) == len(t.chunks) {
			t.chunks = append(t.chunks, new([chunkSize]sock))
		}
	}
	s := t.at(slot)
	gen := s.gen + 1
	if gen == 0 { // 4 billion sockets later: 0 stays "no generation"
		gen = 1
	}
	*s = sock{gen: gen, state: open}
	return slot, s
}

// give makes the slot free. Its generation stays, so that what still names it is stale.
func (t *slab) give(slot uint32, s *sock) {
	*s = sock{gen: s.gen, head: t.freeHead}
	t.freeHead = slot
}

// ID names the socket that now holds slot.
func (l *Loop) ID(slot uint32) ID { return makeID(l.index, slot, l.socks.at(slot).gen) }

// Live reports whether generation gen of slot is open: opened, and closed by neither side yet. Check it for every task that was
// posted for a socket. Any values may be asked for.
func (l *Loop) Live(slot, gen uint32) bool {
	if slot == 0 || slot >= l.socks.taken {
		return false
	}
	s := l.socks.at(slot)
	return s.gen == gen && s.state == open
}
