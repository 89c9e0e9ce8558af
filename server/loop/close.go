package loop

import "io"

// Three ways end a socket:
//
//	Close(flush) ─► flushing ─► finish: FIN ─► lingering ─ peer's FIN or 5 ticks ─┐
//	EOF          ─► flushing ─► finish ───────────────────────────────────────────┼─► drop ─► reap at the end of the turn:
//	Abort, Close, error, panic ───────────────────────────────────────────────────┘          close, Closed, slot free

// closeTicks bounds flushing, and again lingering; in ticks, so about seconds.
const closeTicks = 5

// deadline ends a socket that is still in phase when the tick has come.
type deadline struct {
	slot, gen uint32
	phase     state
	tick      uint32
}

// ending is a dead socket on its way to be closed.
type ending struct {
	slot uint32
	err  error
}

// Close closes slot. With flush what is pending is sent first, within 5 s, then FIN, and up to 5 s are left to the peer to read it
// and close; what arrives is thrown away, what the handler still sends is ignored. Without flush the socket is closed at the end
// of the turn and what is pending is lost. Either way Closed follows, with a nil error.
func (l *Loop) Close(slot uint32, flush bool) {
	s := l.socks.at(slot)
	switch {
	case s.state == free || s.state == dead:
	case !flush:
		l.drop(slot, s, nil)
	case s.state == open:
		l.beginFlush(slot, s)
	}
}

// Abort closes slot at the end of the turn by RST, which frees the kernel's memory at once too: for peers that abuse.
func (l *Loop) Abort(slot uint32) {
	s := l.socks.at(slot)
	if s.state != free && s.state != dead {
		s.flags |= isReset
		l.drop(slot, s, nil)
	}
}

func (l *Loop) beginFlush(slot uint32, s *sock) {
	s.state = flushing
	s.flags &^= isPaused
	l.closing = append(l.closing, deadline{slot, s.gen, flushing, l.now + closeTicks})
	l.via(s).watch(slot, s)
	l.soil(slot, s)
}

// finish follows the last pending byte of a flushing socket.
func (l *Loop) finish(slot uint32, s *sock) {
	if s.is(isEnded) || !l.via(s).shutdown(slot, s) {
		l.drop(slot, s, nil)
		return
	}
	s.state = lingering
	l.closing = append(l.closing, deadline{slot, s.gen, lingering, l.now + closeTicks})
}

// expire drops the sockets whose time to flush or linger is over, once a tick.
func (l *Loop) expire() {
	left := l.closing[:0]
	for _, d := range l.closing {
		s := l.socks.at(d.slot)
		switch {
		case s.gen != d.gen || s.state != d.phase:
		case d.tick > l.now:
			left = append(left, d)
		default:
			l.drop(d.slot, s, nil)
		}
	}
	l.closing = left
	if len(left) == 0 && cap(left) > keepPieces {
		l.closing = nil
	}
}

// drop puts the socket on the list of those that reap closes. The first reason counts, and once this side or the peer has begun to
// close, what breaks later is no reason.
func (l *Loop) drop(slot uint32, s *sock, err error) {
	if s.state == dead {
		return
	}
	if s.state != open && err != ErrPanic {
		err = nil
	}
	s.state = dead
	l.reaped = append(l.reaped, ending{slot, err})
}

// reap closes dead sockets. Only here a descriptor is closed and a slot becomes free, so that nothing a turn has seen changes its
// meaning within the turn.
func (l *Loop) reap() {
	for i := 0; i < len(l.reaped); i++ { // Closed may drop others
		e := l.reaped[i]
		s := l.socks.at(e.slot)
		l.via(s).release(e.slot, s)
		l.out.discard(s)
		if e.err == nil && s.is(isPeers) {
			e.err = io.EOF
		}
		l.callClosed(e.slot, e.err)
		l.socks.give(e.slot, s)
		l.conns.Add(-1)
	}
	l.reaped = emptied(l.reaped)
}

// closeAll is the loop's last act: it closes its sockets and everything still on the way to it.
func (l *Loop) closeAll() {
	in := &l.inbox
	in.mu.Lock()
	in.closed = true
	arrivals, tasks := in.arrivals, append(l.tasks[l.taskAt:], in.tasks...)
	in.arrivals, in.tasks, in.netEvs = nil, nil, nil
	in.mu.Unlock()

	for _, a := range arrivals {
		a.close()
		l.conns.Add(-1)
	}
	for _, t := range tasks {
		if t.F != nil {
			t.F.Release()
		}
	}
	l.waiting.Store(0)
	for slot := uint32(1); slot < l.socks.taken; slot++ {
		if s := l.socks.at(slot); s.state != free {
			l.drop(slot, s, nil)
		}
	}
	l.reap()
	if l.out.arena != 0 {
		l.out.letGo(l.out.arena)
		l.out.arena = 0
	}
	l.finishTurn()
}
