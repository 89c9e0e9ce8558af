package loop

import "time"

// The way of a byte out:
//
//	Send(frame) ───► hold ─┐                  ┌─ one frame: as it lies in memory ─┐
//	                       ├─► push ─► dirty ─┤ flush: gather                     ├─► write ─► advance ─► all sent: done
//	SendBytes ─► room ─────┘     │            └─ several: copied into the cork ───┘     │
//	                             │                                                     └─ not taken whole: isBlocked, settle,
//	                             └─ isBlocked: waits behind the backlog                     until writable ─► dirty
//
//	SendNow(frame), nothing pending ──────────────────────────────────────────────────► write, straight from the frame
//
// A pending piece is a run of bytes in one frame, or a run of whole frames that follow each other in the palette, the table of
// frames in use. So a frame queued for 5,000 members costs one atomic operation, not 5,000, and sixteen frames queued for each of
// them cost each one piece; the write buffer gathered for the first is used for all that have the same piece.

// maxWrite is the most bytes one write hands to a transport, and the size of the cork buffer and of the arena.
const maxWrite = 64 << 10

// corkBelow is the size from which a piece at the head of the queue goes out alone: copying more costs more than a write saves.
const corkBelow = 16 << 10

// piece is one entry of a socket's queue.
type piece struct {
	pal   uint32 // first frame, as index into the palette
	count uint32 // frames, at following indices
	off   uint32 // first unsent byte in the first frame
	n     uint32 // unsent bytes in all
	at    uint32 // tick when it was queued
	next  uint32 // piece behind it, 0 = none; on the free list, the next free piece
}

// swatch is a frame that pieces point to.
type swatch struct {
	f    *Frame // one reference is the palette's
	refs uint32 // pieces that use it, and 1 while it is the arena; on the free list, the next free swatch
	lent bool   // is or was the arena: shared by many sockets, to be left soon
}

// output is the pending output of all sockets of a loop. Index 0 of pieces and palette means none.
type output struct {
	pieces    []piece
	freePiece uint32
	inUse     uint32 // pieces not on the free list
	peak      uint32 // most of them since the last trim that found many
	quiet     uint32 // ticks since then

	palette  []swatch
	firstPal uint32 // free swatches in the order they became free: frames that left together come together, and make runs
	lastPal  uint32
	last     uint32 // entry of the last Send: a fan-out sends the same frame again and again
	arena    uint32 // entry of the frame that SendBytes copies into, 0 = none yet

	cork    []byte
	corked  piece    // what lies in cork, if count > 0: pal and count are valid
	dirty   []uint32 // slots to write at the end of the turn, worked off up to dirtyAt
	dirtyAt int
}

func newOutput() output {
	return output{pieces: make([]piece, 1), palette: make([]swatch, 1), cork: make([]byte, 0, maxWrite)}
}

// Send queues f for slot; it goes out at the end of the turn, in one write with all else that is pending. The queue takes a
// reference of its own. What is sent to a socket after Close, or after its peer closed, is ignored.
func (l *Loop) Send(slot uint32, f *Frame) {
	s := l.socks.at(slot)
	if s.state != open || len(f.B) == 0 {
		return
	}
	l.pushFrame(slot, s, f)
}

// SendNow writes f to slot at once if nothing is pending for it, and is like Send otherwise. It saves the queue's work where
// messages are few; under load Send is better, for it shares writes and lets the loop spread long fan-outs over turns.
func (l *Loop) SendNow(slot uint32, f *Frame) {
	s := l.socks.at(slot)
	if s.state != open || len(f.B) == 0 {
		return
	}
	if s.head != 0 || s.is(isBlocked) {
		l.pushFrame(slot, s, f)
		return
	}
	n, err := l.write(slot, s, f.B)
	switch {
	case err != nil:
		l.drop(slot, s, err)
	case n < len(f.B):
		l.push(slot, s, l.out.hold(f), uint32(n), uint32(len(f.B)-n))
	}
}

// SendBytes queues a copy of b for slot, as Send does a frame.
func (l *Loop) SendBytes(slot uint32, b []byte) {
	s := l.socks.at(slot)
	if s.state != open || len(b) == 0 {
		return
	}
	if s.is(isBlocked) || len(b) > maxWrite/4 { // it may wait for long, or fill the arena: memory of its own
		f := NewFrame(len(b))
		f.B = append(f.B, b...)
		l.pushFrame(slot, s, f)
		f.Release()
		return
	}
	f, pal := l.out.room(len(b))
	off := len(f.B)
	f.B = append(f.B, b...)
	if s.head != 0 {
		if p := &l.out.pieces[s.tail]; p.pal == pal && p.off+p.n == uint32(off) { // right behind its last
			p.n += uint32(len(b))
			s.pending += uint32(len(b))
			return
		}
	}
	l.out.palette[pal].refs++
	s.flags |= isLodged
	l.push(slot, s, pal, uint32(off), uint32(len(b)))
}

// Pending returns how many bytes wait for slot and the tick when the oldest of them was queued. It includes what this turn queued
// and nobody has tried to write yet (see Blocked), and in portable mode what a write under way holds.
func (l *Loop) Pending(slot uint32) (bytes int, since uint32) {
	s := l.socks.at(slot)
	switch {
	case s.state == free:
		return 0, 0
	case s.flight > 0:
		since = s.flightAt
	case s.head != 0:
		since = l.out.pieces[s.head].at
	}
	return int(s.pending) + int(s.flight), since
}

// Blocked reports whether slot has output that could not be written: the kernel took less than it was offered, or in portable mode
// a write is under way. Bytes that are pending without it wait for the loop, not for the peer.
func (l *Loop) Blocked(slot uint32) bool { return l.socks.at(slot).is(isBlocked) }

// hold returns the palette entry of f with one more piece counted.
func (o *output) hold(f *Frame) uint32 {
	if o.last != 0 && o.palette[o.last].f == f {
		o.palette[o.last].refs++
		return o.last
	}
	f.Retain()
	o.last = o.enter(f)
	return o.last
}

// enter puts f, with the caller's reference, into the palette and counts one piece.
func (o *output) enter(f *Frame) uint32 {
	i := o.firstPal
	if i == 0 {
		i = uint32(len(o.palette))
		o.palette = append(o.palette, swatch{})
	} else if o.firstPal = o.palette[i].refs; o.firstPal == 0 {
		o.lastPal = 0
	}
	o.palette[i] = swatch{f: f, refs: 1}
	return i
}

// letGo counts one piece less; the frame of the last one is released.
func (o *output) letGo(i uint32) {
	w := &o.palette[i]
	if w.refs--; w.refs > 0 {
		return
	}
	w.f.Release()
	*w = swatch{}
	if o.lastPal == 0 {
		o.firstPal = i
	} else {
		o.palette[o.lastPal].refs = i
	}
	o.lastPal = i
	o.corked = piece{}
	if o.last == i {
		o.last = 0
	}
}

// room returns the arena with n bytes left in it. An arena is used from its start again when nothing points into it.
func (o *output) room(n int) (*Frame, uint32) {
	if o.arena != 0 {
		w := &o.palette[o.arena]
		if w.refs == 1 {
			w.f.B = w.f.B[:0]
		}
		if cap(w.f.B)-len(w.f.B) >= n {
			return w.f, o.arena
		}
		o.letGo(o.arena)
	}
	f := NewFrame(maxWrite)
	o.arena = o.enter(f)
	o.palette[o.arena].lent = true
	return f, o.arena
}

// pushFrame appends the whole of f to the socket's queue: to the last piece, if f follows it in the palette.
func (l *Loop) pushFrame(slot uint32, s *sock, f *Frame) {
	pal, n := l.out.hold(f), uint32(len(f.B))
	if s.head != 0 {
		p := &l.out.pieces[s.tail]
		if p.pal+p.count == pal && p.at == l.now && !l.out.palette[p.pal].lent {
			p.count++
			p.n += n
			s.pending += n
			return
		}
	}
	l.push(slot, s, pal, 0, n)
}

// push appends a piece of one frame to the socket's queue and sees that the socket is written to.
func (l *Loop) push(slot uint32, s *sock, pal, off, n uint32) {
	o := &l.out
	i := o.takePiece()
	o.pieces[i] = piece{pal: pal, count: 1, off: off, n: n, at: l.now}
	if s.head == 0 {
		s.head = i
	} else {
		o.pieces[s.tail].next = i
	}
	s.tail = i
	s.pending += n
	l.soil(slot, s)
}

// takePiece returns an unused entry of pieces.
func (o *output) takePiece() uint32 {
	i := o.freePiece
	if i == 0 {
		i = uint32(len(o.pieces))
		o.pieces = append(o.pieces, piece{})
	} else {
		o.freePiece = o.pieces[i].next
	}
	o.inUse++
	o.peak = max(o.peak, o.inUse)
	return i
}

// soil puts the socket on the dirty list, unless it is there or must wait until it is writable.
func (l *Loop) soil(slot uint32, s *sock) {
	if s.flags&(isDirty|isBlocked) == 0 {
		s.flags |= isDirty
		l.out.dirty = append(l.out.dirty, slot)
	}
}

func (l *Loop) dirty() bool { return l.out.dirtyAt < len(l.out.dirty) }

// flush writes to the dirty sockets, each once, until the turn's share of time or bytes is used up. The others stay dirty: what is
// sent to them meanwhile shares their write, so a loop that falls behind batches by itself.
func (l *Loop) flush() {
	o := &l.out
	end := len(o.dirty) // a socket with more than one write's worth comes again next turn
	if o.dirtyAt == end {
		return
	}
	began, bytes, writes := time.Since(l.start), l.stats.BytesOut, 0
	for o.dirtyAt < end {
		slot := o.dirty[o.dirtyAt]
		o.dirtyAt++
		s := l.socks.at(slot)
		if !s.is(isDirty) { // of a socket that was here before
			continue
		}
		s.flags &^= isDirty
		if s.state != open && s.state != flushing {
			continue
		}
		l.flushOne(slot, s)
		writes++
		if l.stats.BytesOut-bytes >= turnBytes || writes%clockEvery == 0 && time.Since(l.start)-began > turnTime {
			break
		}
	}
	switch {
	case o.dirtyAt == len(o.dirty):
		o.dirty, o.dirtyAt = o.dirty[:0], 0
	case o.dirtyAt > len(o.dirty)/2: // half of it is done: move the rest down, for a list never empty must not grow for ever
		o.dirty, o.dirtyAt = o.dirty[:copy(o.dirty, o.dirty[o.dirtyAt:])], 0
	}
}

// flushOne makes one write of what is pending for the socket.
func (l *Loop) flushOne(slot uint32, s *sock) {
	if s.head != 0 {
		at := l.out.pieces[s.head].at
		n, err := l.write(slot, s, l.out.gather(s))
		if err != nil {
			l.drop(slot, s, err)
			return
		}
		if s.flight > 0 {
			s.flightAt = at
		}
		l.out.advance(s, uint32(n))
	}
	switch {
	case s.is(isBlocked):
		l.out.settle(s)
	case s.head != 0:
		l.soil(slot, s)
	default:
		l.via(s).watch(slot, s) // ends the wait for writable
		s.flags &^= isLodged
		if s.state == flushing {
			l.finish(slot, s)
		}
	}
}

// gather returns the bytes of the next write: a frame that is alone or large as it lies in memory, else frames copied together.
func (o *output) gather(s *sock) []byte {
	p := &o.pieces[s.head]
	if b := o.first(p); len(b) == int(p.n) && p.next == 0 || len(b) >= corkBelow {
		return b
	}
	alone := p.next == 0 && p.off == 0
	if alone && o.corked.count == p.count && o.corked.pal == p.pal {
		return o.cork
	}
	o.cork, o.corked = o.cork[:0], piece{}
	for i := s.head; i != 0; i = p.next {
		p = &o.pieces[i]
		b := o.first(p)
		for k := uint32(1); ; k++ {
			if room := cap(o.cork) - len(o.cork); len(b) > room {
				o.cork = append(o.cork, b[:room]...)
				return o.cork
			}
			o.cork = append(o.cork, b...)
			if k == p.count {
				break
			}
			b = o.palette[p.pal+k].f.B
		}
	}
	if alone {
		o.corked = piece{pal: p.pal, count: p.count}
	}
	return o.cork
}

// first returns the unsent bytes of the piece's first frame.
func (o *output) first(p *piece) []byte {
	b := o.palette[p.pal].f.B
	if p.count == 1 {
		return b[p.off : p.off+p.n]
	}
	return b[p.off:]
}

// write hands b to the socket's transport. If not all of it was taken, or some is in flight, the socket is blocked: the transport
// reports when it is writable.
func (l *Loop) write(slot uint32, s *sock, b []byte) (int, error) {
	if len(b) > maxWrite && s.is(isPortable) {
		b = b[:maxWrite] // what is in flight is a copy
	}
	n, err := l.via(s).write(slot, s, b)
	l.stats.Sends++
	if err != nil {
		return 0, err
	}
	l.stats.BytesOut += uint64(n)
	if s.flight > 0 {
		s.flightAt = l.now
		s.flags |= isBlocked
	} else if n < len(b) {
		l.stats.Again++
		s.flags |= isBlocked
		l.via(s).watch(slot, s)
	}
	return n, nil
}

// advance takes the first n bytes off the queue.
func (o *output) advance(s *sock, n uint32) {
	s.pending -= n
	for n > 0 {
		i := s.head
		p := &o.pieces[i]
		if n >= p.n {
			n -= p.n
			s.head = p.next
			o.freeOne(i)
			continue
		}
		p.n -= n
		for size := uint32(len(o.palette[p.pal].f.B)); p.count > 1 && p.off+n >= size; size = uint32(len(o.palette[p.pal].f.B)) {
			n -= size - p.off
			o.letGo(p.pal)
			p.pal, p.count, p.off = p.pal+1, p.count-1, 0
		}
		p.off += n
		return
	}
}

// settle moves what a blocked socket has in the arena to memory of its own, for it may stay long and must not pin the arena.
func (o *output) settle(s *sock) {
	if !s.is(isLodged) {
		return
	}
	s.flags &^= isLodged
	for i := s.head; i != 0; i = o.pieces[i].next {
		p := &o.pieces[i]
		if !o.palette[p.pal].lent {
			continue
		}
		old := o.palette[p.pal].f
		f := NewFrame(int(p.n))
		f.B = append(f.B, old.B[p.off:p.off+p.n]...)
		o.letGo(p.pal)
		p.pal, p.off = o.enter(f), 0
	}
}

// discard empties the queue of a socket that is gone.
func (o *output) discard(s *sock) {
	for s.head != 0 {
		i := s.head
		s.head = o.pieces[i].next
		o.freeOne(i)
	}
	s.pending = 0
}

// Shed offers the frames with a tag that wait for slot, oldest first, to drop; since is the tick when one was queued. Those for
// which it says so are taken out, until it says that this is enough. What is sent in part stays. It returns how many frames went.
func (l *Loop) Shed(slot uint32, drop func(f *Frame, since uint32) (out, enough bool)) int {
	s, o, gone := l.socks.at(slot), &l.out, 0
	if s.state != open {
		return 0
	}
	for prev, i := uint32(0), s.head; i != 0; {
		o.split(s, i)
		p := &o.pieces[i]
		f, next, enough, out := o.palette[p.pal].f, p.next, false, false
		if f.Tag != 0 && p.off == 0 {
			out, enough = drop(f, p.at)
		}
		if out {
			if prev == 0 {
				s.head = next
			} else {
				o.pieces[prev].next = next
			}
			if next == 0 {
				s.tail = prev
			}
			s.pending -= p.n
			o.freeOne(i)
			gone++
		} else {
			prev = i
		}
		if enough {
			break
		}
		i = next
	}
	return gone
}

// split makes single pieces of a run of frames.
func (o *output) split(s *sock, i uint32) {
	for o.pieces[i].count > 1 {
		rest := o.takePiece()
		p := &o.pieces[i]
		n := uint32(len(o.palette[p.pal].f.B)) - p.off
		o.pieces[rest] = piece{pal: p.pal + 1, count: p.count - 1, n: p.n - n, at: p.at, next: p.next}
		p.count, p.n, p.next = 1, n, rest
		if s.tail == i {
			s.tail = rest
		}
		i = rest
	}
}

func (o *output) freeOne(i uint32) {
	p := &o.pieces[i]
	for pal := p.pal; pal < p.pal+p.count; pal++ {
		o.letGo(pal)
	}
	*p = piece{next: o.freePiece}
	o.freePiece = i
	o.inUse--
}

// writable is the transport's report that a blocked socket can take more.
func (l *Loop) writable(slot uint32, s *sock) {
	s.flags &^= isBlocked
	switch {
	case s.state == flushing, s.state == open && s.head != 0:
		l.soil(slot, s)
	case s.state == open: // all that waited was dropped
		l.via(s).watch(slot, s)
	}
}

// What a burst of output leaves behind.
const (
	keepPieces = 4 << 10 // entries of each list that are never given back
	keepTicks  = 60      // how long more of them are kept, for the next burst
)

// trim gives back the memory of a burst, once a tick, when no output came near it for a while.
func (l *Loop) trim() {
	o := &l.out
	size := uint32(max(len(o.pieces), len(o.palette), cap(o.dirty)))
	if o.peak > size/4 || size <= keepPieces {
		o.peak, o.quiet = o.inUse, 0
		return
	}
	if o.quiet++; o.quiet < keepTicks || o.inUse > 0 || l.dirty() {
		return
	}
	if o.arena != 0 {
		o.letGo(o.arena)
	}
	*o = output{pieces: make([]piece, 1), palette: make([]swatch, 1), cork: o.cork}
}
