package loop

import (
	"net"
	"time"
)

// readChunk is the buffer that a net.Conn's reader goroutine holds.
const readChunk = 4 << 10

// netConns drives net.Conns of any kind: TLS, in-memory pipes, and plain TCP where there is no epoll. Each has one reader
// goroutine, which hands what it read to the loop and waits until it is handled, and a writer goroutine only while a write is
// under way. Both report through the loop's inbox; the handler never runs on them.
//
//	reader: Read ─► report readDone ─┐                       ┌─ ack ─► Read …
//	                                 ├─► inbox ─► loop: handle
//	writer: Write ─► report wrote ───┘   ▲                   └─ writable ─► flush ─► write: go writer
type netConns struct {
	loop  *Loop
	conns []*netConn // by sock.ref; nil = unused
	free  []uint32
}

// netConn is one net.Conn. Its goroutines hand fields to the loop and back with each report and ack.
type netConn struct {
	loop      *Loop
	conn      net.Conn
	slot, gen uint32

	ack     chan struct{} // loop → reader: the buffer is handled, read on; closed by the loop when the socket is released
	got     []byte        // reader → loop
	readErr error
	held    bool // owned by the loop: a report waits for Resume

	run      func() // writer, made once so that starting it allocates nothing
	out      *Frame // loop → writer: bytes to write, with a reference
	writeErr error  // writer → loop
}

// netEvent is the news of one of a netConn's goroutines.
type netEvent struct {
	c    *netConn
	kind netEventKind
}

type netEventKind uint8

const (
	readDone netEventKind = iota // got and readErr are set; the reader waits for ack
	wrote                        // out is written, or writeErr set; the writer is gone
)

// open implements transport.
func (t *netConns) open(slot uint32, s *sock, a arrival) error {
	c := &netConn{loop: t.loop, conn: a.conn, slot: slot, gen: s.gen, ack: make(chan struct{}, 1)}
	c.run = c.writeOut
	if n := len(t.free); n > 0 {
		s.ref, t.free = t.free[n-1], t.free[:n-1]
		t.conns[s.ref] = c
	} else {
		s.ref = uint32(len(t.conns))
		t.conns = append(t.conns, c)
	}
	t.loop.engine.wg.Add(1)
	go c.readAll() // ends when the conn does, or with the first report after release
	return nil
}

func (c *netConn) readAll() {
	defer c.loop.engine.wg.Done()
	f := NewFrame(readChunk)
	defer f.Release()
	for {
		n, err := c.conn.Read(f.B[:cap(f.B)])
		c.got, c.readErr = f.B[:n], err
		c.loop.report(netEvent{c, readDone})
		if _, more := <-c.ack; !more || err != nil {
			return
		}
	}
}

func (c *netConn) writeOut() {
	defer c.loop.engine.wg.Done()
	_, c.writeErr = c.conn.Write(c.out.B)
	c.out.Release()
	c.loop.report(netEvent{c, wrote})
}

// handle works off a report on the loop.
func (t *netConns) handle(ev netEvent) {
	c := ev.c
	s := t.loop.socks.at(c.slot)
	if s.gen != c.gen || s.state == free || s.state == dead {
		return
	}
	switch ev.kind {
	case readDone:
		t.readDone(c, s)
	case wrote:
		s.flight = 0
		if c.writeErr != nil {
			t.loop.drop(c.slot, s, c.writeErr)
			return
		}
		t.loop.writable(c.slot, s)
	}
}

func (t *netConns) readDone(c *netConn, s *sock) {
	if s.is(isPaused) && len(c.got) > 0 {
		c.held = true
		return
	}
	err := c.readErr
	if len(c.got) > 0 {
		t.loop.receive(c.slot, s, c.got)
	}
	if err != nil && s.state != dead {
		t.loop.end(c.slot, s, err)
	}
	c.ack <- struct{}{}
}

// write implements transport: a copy of b goes to a new writer. The loop calls it only with none under way.
func (t *netConns) write(_ uint32, s *sock, b []byte) (int, error) {
	c := t.conns[s.ref]
	c.out = NewFrame(len(b))
	c.out.B = append(c.out.B, b...)
	s.flight = uint32(len(b))
	t.loop.engine.wg.Add(1)
	go c.run() // ends when the write does; release closes the conn under it
	return len(b), nil
}

// watch implements transport: a paused socket's reader is not answered, which stops it.
func (t *netConns) watch(_ uint32, s *sock) {
	if c := t.conns[s.ref]; c.held && !s.is(isPaused) {
		c.held = false
		t.loop.report(netEvent{c, readDone})
	}
}

// shutdown implements transport. TLS first says close_notify, which may block.
func (t *netConns) shutdown(_ uint32, s *sock) bool {
	c := t.conns[s.ref].conn
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		return false
	}
	t.loop.engine.wg.Add(1)
	go func() { // ends when the alert is sent or the conn is closed
		defer t.loop.engine.wg.Done()
		_ = half.CloseWrite()
		if below, ok := c.(interface{ NetConn() net.Conn }); ok {
			if half, ok := below.NetConn().(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		}
	}()
	return true
}

// release implements transport.
func (t *netConns) release(_ uint32, s *sock) {
	c := t.conns[s.ref]
	t.conns[s.ref] = nil
	t.free = append(t.free, s.ref)
	close(c.ack)
	closeConn(t.loop.engine, c.conn, s.is(isReset))
}

// closeConn closes conn without waiting for its peer.
func closeConn(e *Engine, conn net.Conn, reset bool) {
	below := conn
	if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
		below = tls.NetConn()
	}
	if reset {
		if tcp, ok := below.(interface{ SetLinger(sec int) error }); ok {
			_ = tcp.SetLinger(0)
		}
	}
	if reset || below == conn {
		_ = below.Close()
		return
	}
	e.wg.Add(1)
	go func() { // ends when close_notify is sent or cannot be; crypto/tls waits 5 s at most
		defer e.wg.Done()
		_ = conn.Close()
	}()
}

func (a arrival) close() {
	if a.conn != nil {
		_ = a.conn.Close()
	} else {
		closeRaw(a.fd)
	}
}

// parker is the poller of a loop without epoll: everything comes through its inbox, so it only sleeps.
type parker struct {
	bell  chan struct{} // rung by wake; never closed
	timer *time.Timer
}

func newParker() *parker {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &parker{bell: make(chan struct{}, 1), timer: t}
}

func (p *parker) wait(timeout time.Duration) {
	if timeout == 0 {
		select {
		case <-p.bell:
		default:
		}
		return
	}
	p.timer.Reset(timeout)
	select {
	case <-p.bell:
		p.timer.Stop()
	case <-p.timer.C:
	}
}

func (p *parker) wake() {
	select {
	case p.bell <- struct{}{}:
	default:
	}
}

func (p *parker) close() error { return nil }
