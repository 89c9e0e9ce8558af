//go:build linux

package raw

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
)

// Options of a server.
type Options struct {
	Addr  netip.AddrPort // to listen on; port 0 = any free one
	Loops int            // event loops that share the members; at least 1
	Batch bool           // messages read together go out together
}

// Server is a raw server. [Server.Serve] runs it.
type Server struct {
	opts   Options
	listen int
	loops  []*loop
}

// loop owns a share of the members. The first one also accepts and owns the publisher.
type loop struct {
	server *Server
	epoll  int
	wake   int             // eventfd
	conns  map[int32]*conn // by descriptor
	groups map[uint32][]*conn
	buf    []byte
	echoes []byte // being built

	mu    sync.Mutex
	queue []batch // from the publisher's loop
	adopt []*conn // upgraded conns that are this loop's from now on
}

// batch is frames for all members of a group, as they are.
type batch struct {
	group  uint32
	frames []byte
}

// conn is one socket.
type conn struct {
	fd        int32
	publisher bool
	echo      bool
	upgraded  bool
	groups    []uint32
	in        []byte // unfinished request or frame
	out       []byte // what the socket did not take
}

// Listen opens a server.
func Listen(opts Options) (*Server, error) {
	fd, err := listen(opts.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, listen: fd}
	for i := 0; i < max(opts.Loops, 1) && err == nil; i++ {
		err = s.addLoop()
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("listen on %s: %w", opts.Addr, err)
	}
	return s, nil
}

func listen(addr netip.AddrPort) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), // accepted sockets inherit it
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}),
		unix.Listen(fd, 4096),
	)
	if err != nil {
		return -1, errors.Join(fmt.Errorf("listen on %s: %w", addr, err), unix.Close(fd))
	}
	return fd, nil
}

func (s *Server) addLoop() error {
	l := &loop{server: s, conns: make(map[int32]*conn), groups: make(map[uint32][]*conn), buf: make([]byte, 64<<10)}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return errors.Join(err, unix.Close(l.epoll))
	}
	s.loops = append(s.loops, l)
	if err := l.watch(int32(l.wake), unix.EPOLL_CTL_ADD, unix.EPOLLIN); err != nil {
		return err
	}
	if len(s.loops) > 1 {
		return nil
	}
	return l.watch(int32(s.listen), unix.EPOLL_CTL_ADD, unix.EPOLLIN)
}

// Addr is where it listens.
func (s *Server) Addr() (netip.AddrPort, error) { return address(s.listen) }

func address(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	in := sa.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)), nil
}

// Serve runs all loops until ctx ends or one fails, and closes everything.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		for _, l := range s.loops {
			l.poke()
		}
	})
	errs := make([]error, len(s.loops))
	var wg sync.WaitGroup
	for i, l := range s.loops {
		wg.Go(func() { // ends with ctx
			defer cancel()
			errs[i] = l.run(ctx)
		})
	}
	<-ctx.Done()
	wg.Wait()
	stop()
	s.close()
	return errors.Join(errs...)
}

func (s *Server) close() {
	for _, l := range s.loops {
		for _, c := range l.conns {
			_ = unix.Close(int(c.fd))
		}
		_ = unix.Close(l.epoll)
		_ = unix.Close(l.wake)
	}
	_ = unix.Close(s.listen)
}

func (l *loop) watch(fd int32, op int, events uint32) error {
	return unix.EpollCtl(l.epoll, op, int(fd), &unix.EpollEvent{Events: events, Fd: fd})
}

func (l *loop) poke() {
	one := [8]byte{1}
	_, _ = unix.Write(l.wake, one[:])
}

func (l *loop) run(ctx context.Context) error {
	var events [256]unix.EpollEvent
	for {
		n, err := unix.EpollWait(l.epoll, events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			switch int(ev.Fd) {
			case l.wake:
				var count [8]byte
				_, _ = unix.Read(l.wake, count[:])
				if ctx.Err() != nil {
					return nil
				}
				l.takeQueue()
			case l.server.listen:
				if l == l.server.loops[0] {
					if err := l.accept(); err != nil {
						return err
					}
				}
			default:
				if c := l.conns[ev.Fd]; c != nil {
					l.handle(c, ev.Events)
				}
			}
		}
	}
}

func (l *loop) accept() error {
	for {
		fd, _, err := unix.Accept4(l.server.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		c := &conn{fd: int32(fd)}
		l.conns[c.fd] = c
		if err := l.watch(c.fd, unix.EPOLL_CTL_ADD, unix.EPOLLIN); err != nil {
			return err
		}
	}
}

// takeQueue sends what the publisher's loop left, and adopts conns it upgraded.
func (l *loop) takeQueue() {
	l.mu.Lock()
	queue, adopt := l.queue, l.adopt
	l.queue, l.adopt = nil, nil
	l.mu.Unlock()
	for _, c := range adopt {
		l.conns[c.fd] = c
		l.join(c)
		answer := c.out
		c.out = nil
		if err := l.watch(c.fd, unix.EPOLL_CTL_ADD, unix.EPOLLIN); err != nil {
			l.end(c)
			continue
		}
		l.send(c, answer)
	}
	for _, b := range queue {
		l.sendAll(b)
	}
}

func (l *loop) join(c *conn) {
	for _, g := range c.groups {
		l.groups[g] = append(l.groups[g], c)
	}
}

func (l *loop) handle(c *conn, events uint32) {
	if events&unix.EPOLLOUT != 0 {
		if !l.drain(c) {
			return
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return
	}
	n, err := unix.Read(int(c.fd), l.buf)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return
	}
	if err != nil || n == 0 {
		l.end(c)
		return
	}
	switch {
	case c.publisher:
		l.publish(c, l.buf[:n])
	case c.echo:
		l.echo(c, l.buf[:n])
	case !c.upgraded:
		l.upgrade(c, l.buf[:n])
	} // a member has nothing to say
}

var (
	headEnd    = []byte("\r\n\r\n")
	keyHeader  = []byte("\r\nSec-WebSocket-Key: ")
	publishing = []byte("GET /publish ")
	echoing    = []byte("GET /echo ")
	joining    = []byte("GET /group/")
)

func (l *loop) upgrade(c *conn, b []byte) {
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	end := bytes.Index(b, headEnd)
	if end < 0 {
		c.in = append([]byte(nil), b...)
		return
	}
	answer, ok := accepted(b[:end+2])
	if !ok {
		l.end(c)
		return
	}
	c.upgraded, c.publisher, c.echo = true, bytes.HasPrefix(b, publishing), bytes.HasPrefix(b, echoing)
	if list, ok := bytes.CutPrefix(b, joining); ok && !c.list(list) {
		l.end(c)
		return
	}
	rest := append([]byte(nil), b[end+4:]...)
	c.in = nil
	if c.publisher {
		l.send(c, answer)
		l.publish(c, rest)
		return
	}
	to := l.server.loops[int(c.fd)%len(l.server.loops)]
	if to == l {
		l.join(c)
		l.send(c, answer)
		return
	}
	// The other loop joins it before the answer goes out, so that a client told of its upgrade is a member.
	delete(l.conns, c.fd)
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, int(c.fd), nil)
	c.out = answer
	to.mu.Lock()
	to.adopt = append(to.adopt, c)
	to.mu.Unlock()
	to.poke()
}

// accepted is the answer to a request's head; ok is false if that is no upgrade.
func accepted(head []byte) (answer []byte, ok bool) {
	_, after, ok := bytes.Cut(head, keyHeader)
	key, _, _ := bytes.Cut(after, headEnd[:2])
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		frame.Accept(string(key)) + "\r\n\r\n"), ok
}

// list reads the groups of a member's path, "0,7 HTTP/1.1…", and reports whether they are numbers.
func (c *conn) list(path []byte) bool {
	path, _, _ = bytes.Cut(path, []byte(" "))
	for name := range bytes.SplitSeq(path, []byte(",")) {
		group, err := strconv.ParseUint(string(name), 10, 32)
		if err != nil {
			return false
		}
		c.groups = append(c.groups, uint32(group))
	}
	return true
}

// publish cuts the publisher's bytes into frames and sends each, or those of a group together, to every member of the group that
// its stamp names.
func (l *loop) publish(c *conn, b []byte) {
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	var pending []batch // of groups in the order of their first frame
	for {
		payload, n := unmask(b)
		if n == 0 {
			break
		}
		b = b[n:]
		stamp, _, stamped := ledger.Find(payload)
		if !stamped {
			continue // nobody's
		}
		i := len(pending)
		if l.server.opts.Batch {
			i = slices.IndexFunc(pending, func(p batch) bool { return p.group == stamp.Group })
		}
		if i < 0 || i == len(pending) {
			i = len(pending)
			pending = append(pending, batch{group: stamp.Group})
		}
		pending[i].frames = frame.AppendServer(pending[i].frames, frame.Text, payload)
	}
	for _, p := range pending {
		l.spread(p)
	}
	c.in = append(c.in[:0], b...)
}

// echo sends what one read brought back to where it came from, in one sendto.
func (l *loop) echo(c *conn, b []byte) {
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	l.echoes = l.echoes[:0]
	for payload, n := unmask(b); n > 0; payload, n = unmask(b) {
		l.echoes = frame.AppendServer(l.echoes, frame.Text, payload)
		b = b[n:]
	}
	c.in = append(c.in[:0], b...)
	l.send(c, l.echoes)
}

// unmask returns the payload of the client frame that b begins with, in place, and the frame's length; 0 if it is not whole.
func unmask(b []byte) (payload []byte, n int) {
	if len(b) < 6 {
		return nil, 0
	}
	size, header := int(b[1]&0x7f), 2
	switch size {
	case 126:
		size, header = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 14 {
			return nil, 0
		}
		size, header = int(binary.BigEndian.Uint64(b[2:])), 10
	}
	if len(b) < header+4+size {
		return nil, 0
	}
	mask := [4]byte(b[header:])
	payload = b[header+4 : header+4+size]
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	return payload, header + 4 + size
}

// spread gives frames to every loop.
func (l *loop) spread(b batch) {
	for _, to := range l.server.loops {
		if to == l {
			continue
		}
		to.mu.Lock()
		to.queue = append(to.queue, b)
		to.mu.Unlock()
		to.poke()
	}
	l.sendAll(b)
}

// sendAll is the yardstick itself.
func (l *loop) sendAll(b batch) {
	members := l.groups[b.group]
	for i := len(members) - 1; i >= 0; i-- { // backwards: a member that is gone is replaced by one already served
		l.send(members[i], b.frames)
	}
}

// maxPending bounds what waits for a conn that does not read, in bytes; above it the conn is ended.
const maxPending = 1 << 20

func (l *loop) send(c *conn, b []byte) {
	if len(c.out) > 0 {
		if len(c.out)+len(b) > maxPending {
			l.end(c)
			return
		}
		c.out = append(c.out, b...)
		return
	}
	n, err := Sendto(int(c.fd), b)
	if err == unix.EAGAIN { // a whole message may not fit
		n, err = 0, nil
	}
	if err != nil {
		l.end(c)
		return
	}
	if n < len(b) {
		c.out = append(c.out, b[n:]...)
		_ = l.watch(c.fd, unix.EPOLL_CTL_MOD, unix.EPOLLIN|unix.EPOLLOUT)
	}
}

// drain sends what waited and reports whether the conn lives.
func (l *loop) drain(c *conn) bool {
	n, err := Sendto(int(c.fd), c.out)
	if err != nil && err != unix.EAGAIN {
		l.end(c)
		return false
	}
	if c.out = c.out[max(n, 0):]; len(c.out) == 0 {
		c.out = nil
		_ = l.watch(c.fd, unix.EPOLL_CTL_MOD, unix.EPOLLIN)
	}
	return true
}

func (l *loop) end(c *conn) {
	for _, g := range c.groups {
		members := l.groups[g]
		if i := slices.Index(members, c); i >= 0 { // not yet, if it ends before it joined
			last := len(members) - 1
			members[i] = members[last]
			l.groups[g] = members[:last]
		}
	}
	delete(l.conns, c.fd)
	_ = unix.Close(int(c.fd))
}
