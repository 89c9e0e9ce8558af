//go:build !386 && !s390x

package loop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Socket options that the syscall package does not name; see tcp(7).
const (
	tcpUserTimeout  = 0x12
	tcpNotSentLowat = 0x19
)

// Probes find a peer whose host is gone, also if the protocol above sends nothing.
const (
	keepaliveIdle  = 60 // seconds of silence before the first
	keepaliveEvery = 15 // seconds between two
	keepaliveCount = 4  // unanswered ones that end the socket
)

// tune sets the options of a TCP socket. Those of a listener are inherited by what it accepts, so an accept needs no setsockopt.
// An option that the system refuses is not worth refusing service for.
func tune(fd int, o *Options) {
	set := func(level, name, value int) { _ = syscall.SetsockoptInt(fd, level, name, value) }
	set(syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	set(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
	set(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, keepaliveIdle)
	set(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, keepaliveEvery)
	set(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepaliveCount)
	if o.UserTimeout > 0 {
		set(syscall.IPPROTO_TCP, tcpUserTimeout, int(o.UserTimeout.Milliseconds()))
	}
	if o.WriteBuffer > 0 {
		set(syscall.IPPROTO_TCP, tcpNotSentLowat, o.WriteBuffer)
	}
}

// tuneConn does for a net.Conn, or the one below TLS, what its listener did not.
func tuneConn(conn net.Conn, o *Options) {
	if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = tls.NetConn()
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { tune(int(fd), o) })
	}
}

// closedCheck is how often a waiting acceptor looks whether its listener was closed by someone else.
const closedCheck = time.Second

// rawAcceptor accepts raw descriptors from one listener.
type rawAcceptor struct {
	engine  *Engine
	ln      *net.TCPListener
	file    *os.File        // the listener once more: a net.Listener lets nobody wait on its descriptor
	wait    syscall.RawConn // of file
	reserve int             // descriptor given up for a moment when there is no other, to accept and close; -1 = none
}

// serveRaw is Serve for a listener whose sockets become raw descriptors.
func (e *Engine) serveRaw(ln *net.TCPListener) error {
	file, err := ln.File()
	if err != nil {
		_ = ln.Close()
		return fmt.Errorf("listen: %w", err)
	}
	wait, err := file.SyscallConn()
	if err != nil {
		_, _ = file.Close(), ln.Close()
		return fmt.Errorf("listen: %w", err)
	}
	a := &rawAcceptor{engine: e, ln: ln, file: file, wait: wait, reserve: openReserve()}
	_ = wait.Control(func(fd uintptr) { tune(int(fd), &e.opts) })
	if !e.listen(ln, func() { _, _ = ln.Close(), file.Close() }) {
		a.closeReserve()
		return errStopped
	}
	defer a.closeReserve()
	defer e.unlisten(ln)
	return a.acceptAll()
}

func (a *rawAcceptor) acceptAll() error {
	var fd int
	var from syscall.Sockaddr
	var err error
	accept := func(ln uintptr) bool {
		fd, from, err = syscall.Accept4(int(ln), syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		return err != syscall.EAGAIN
	}
	var waitErr error
	for {
		_ = a.file.SetReadDeadline(time.Now().Add(closedCheck))
		for waitErr = a.wait.Read(accept); waitErr == nil && err == nil; waitErr = a.wait.Read(accept) {
			a.engine.assign(arrival{fd: fd, peer: addrPort(from)})
		}
		if waitErr != nil {
			if !errors.Is(waitErr, os.ErrDeadlineExceeded) || a.closed() {
				return nil
			}
			continue
		}
		switch {
		case err == syscall.EINTR:
		case !acceptError(err, &a.engine.accepts):
			return os.NewSyscallError("accept4", err)
		case err == syscall.EMFILE || err == syscall.ENFILE:
			a.refuse(accept, &fd, &err)
			fallthrough
		case err != syscall.ECONNABORTED:
			if !a.engine.pause(acceptPause) || a.closed() {
				return nil
			}
		}
	}
}

// refuse accepts one socket with the reserve descriptor and closes it: its peer learns at once that there is no room, instead of
// waiting in a queue that keeps the listener ready for ever.
func (a *rawAcceptor) refuse(accept func(uintptr) bool, fd *int, err *error) {
	a.closeReserve()
	_ = a.wait.Control(func(ln uintptr) { accept(ln) })
	if *err == nil {
		_ = syscall.Close(*fd)
	}
	a.reserve = openReserve()
	*err = syscall.EMFILE
}

// closed reports whether someone closed the listener. The copy in file would go on accepting.
func (a *rawAcceptor) closed() bool {
	raw, err := a.ln.SyscallConn()
	if err != nil {
		return true
	}
	return raw.Control(func(uintptr) {}) != nil
}

func openReserve() int {
	fd, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

func (a *rawAcceptor) closeReserve() {
	if a.reserve >= 0 {
		_ = syscall.Close(a.reserve)
		a.reserve = -1
	}
}

func addrPort(from syscall.Sockaddr) netip.AddrPort {
	switch from := from.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(from.Addr), uint16(from.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(from.Addr).Unmap(), uint16(from.Port))
	}
	return netip.AddrPort{}
}
