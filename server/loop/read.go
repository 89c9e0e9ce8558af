package loop

import "io"

// The way of a byte in: the transport reads into a buffer that is not the socket's, the loop hands it to the handler, and what the
// handler does not copy is gone. At most one buffer is read from a socket in a turn.

// receive is the transport's report of bytes. A socket that is closing throws them away.
func (l *Loop) receive(slot uint32, s *sock, b []byte) {
	l.stats.BytesIn += uint64(len(b))
	if s.state == open {
		l.callRead(slot, b)
	}
}

// end is the transport's report that nothing more will come: io.EOF for the peer's FIN, else why the socket is broken. A peer that
// only stopped sending still gets what is pending.
func (l *Loop) end(slot uint32, s *sock, err error) {
	if err != io.EOF {
		l.drop(slot, s, err)
		return
	}
	if s.is(isEnded) {
		return
	}
	s.flags |= isEnded
	switch s.state {
	case open:
		s.flags |= isPeers
		l.beginFlush(slot, s)
	case flushing:
		l.via(s).watch(slot, s)
	case lingering:
		l.drop(slot, s, nil)
	}
}

// Pause stops reading from slot: bytes stay with the kernel, and with the peer once its window is full. The end of the connection
// is still noticed, unless unread bytes stand before it: these come after Resume. In portable mode a RST behind unread bytes too
// is noticed only by the next read or write.
func (l *Loop) Pause(slot uint32) {
	if s := l.socks.at(slot); s.state == open && !s.is(isPaused) {
		s.flags |= isPaused
		l.via(s).watch(slot, s)
	}
}

// Resume reads from slot again. Read is not called before Resume returns.
func (l *Loop) Resume(slot uint32) {
	if s := l.socks.at(slot); s.state == open && s.is(isPaused) {
		s.flags &^= isPaused
		l.via(s).watch(slot, s)
	}
}
