package loop

import (
	"errors"
	"time"
)

// A loop sees the system through two small interfaces. On Linux epoll is both; netConns is the transport and parker the poller
// where there is no epoll. A loop with an epoll poller may own net.Conns too (TLS), so the transport is chosen for each socket.

// poller is what a loop waits with.
type poller interface {
	// wait reports what is ready to the loop, by receive, end and writable. It blocks until something is, wake is called or
	// timeout has passed; with timeout 0 it does not block.
	wait(timeout time.Duration)
	// wake ends a wait, or the next one. Called from any goroutine.
	wake()
	// close frees what the poller holds; no other call follows.
	close() error
}

// transport moves the bytes of one kind of socket. Called by the owner loop only; no method blocks.
type transport interface {
	// open begins to report events of slot; a.conn or a.fd is the transport's from now on, also on error.
	open(slot uint32, s *sock, a arrival) error
	// write takes as much of b as it can. It may keep some of that in flight (s.flight), and reports writable when it can take more.
	write(slot uint32, s *sock, b []byte) (n int, err error)
	// watch applies a change of isPaused, isBlocked or isEnded.
	watch(slot uint32, s *sock)
	// shutdown sends FIN behind what was written, or reports that this kind of socket cannot.
	shutdown(slot uint32, s *sock) bool
	// release closes the socket, by RST if isReset. Nothing is reported for it any more.
	release(slot uint32, s *sock)
}

var (
	// ErrPanic is what [Handler.Closed] gets for a socket on whose behalf the handler panicked.
	ErrPanic = errors.New("handler panicked")

	errTooMany = errors.New("all slots of the loop are in use")
)

func (l *Loop) via(s *sock) transport {
	if s.is(isPortable) {
		return l.net
	}
	return l.raw
}
