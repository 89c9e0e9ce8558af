package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Serve accepts from ln until StopAccepting, Close or ln.Close, then returns nil, and gives each socket to a loop, see
// pick. In epoll mode sockets of a plain TCP listener are raw descriptors; those of any other listener (TLS, in memory) are
// driven as net.Conns beside them. Serve owns ln and closes it.
func (e *Engine) Serve(ln net.Listener) error {
	if tcp, ok := ln.(*net.TCPListener); ok && e.raw() {
		return e.serveRaw(tcp)
	}
	if !e.listen(ln, func() { _ = ln.Close() }) {
		return errStopped
	}
	defer e.unlisten(ln)
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			tuneConn(conn, &e.opts)
			e.assign(arrival{conn: conn, peer: peerOf(conn)})
		case errors.Is(err, net.ErrClosed) || e.isStopped():
			return nil
		case acceptError(err, &e.accepts):
			if !e.pause(acceptPause) {
				return nil
			}
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
}

// acceptError counts an error of accept by its reason and reports whether it will pass.
func acceptError(err error, c *acceptCounters) bool {
	switch {
	case errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE):
		c.files.Add(1)
	case errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM):
		c.memory.Add(1)
	case errors.Is(err, syscall.ECONNABORTED):
		c.aborted.Add(1)
	default:
		c.other.Add(1)
		var errno syscall.Errno // Linux hands network errors of the new socket to accept(2); EINVAL and EBADF are ours
		return errors.As(err, &errno) && errno != syscall.EINVAL && errno != syscall.EBADF
	}
	return true
}

// acceptPause is how long a listener rests after an error that will pass, such as no descriptor left.
const acceptPause = 10 * time.Millisecond

// pause waits, and reports false if accepting was stopped meanwhile.
func (e *Engine) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.stop:
		return false
	}
}

func (e *Engine) isStopped() bool {
	select {
	case <-e.stop:
		return true
	default:
		return false
	}
}

// listen notes ln, to be closed by closeIt; if the engine has stopped accepting it is closed at once.
func (e *Engine) listen(ln net.Listener, closeIt func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		closeIt()
		return false
	}
	e.listeners[ln] = closeIt
	return true
}

func (e *Engine) unlisten(ln net.Listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if closeIt := e.listeners[ln]; closeIt != nil {
		closeIt()
		delete(e.listeners, ln)
	}
}

// assign gives a socket to a loop.
func (e *Engine) assign(a arrival) {
	l := e.pick()
	l.conns.Add(1)
	if !l.admit(a) {
		l.conns.Add(-1)
		a.close()
		return
	}
	e.accepts.accepted.Add(1)
}

// pick returns the first loop that has less than Together, or else the one with the fewest. Loops with as many take turns.
func (e *Engine) pick() *Loop {
	for _, l := range e.loops {
		if l.conns.Load() < int64(e.opts.Together) {
			return l
		}
	}
	first := int(e.turn.Add(1))
	best := e.loops[first%len(e.loops)]
	for i := 1; i < len(e.loops); i++ {
		if l := e.loops[(first+i)%len(e.loops)]; l.conns.Load() < best.conns.Load() {
			best = l
		}
	}
	return best
}

// peerOf returns the remote address, or the zero AddrPort for a conn that has none.
func peerOf(conn net.Conn) netip.AddrPort {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
