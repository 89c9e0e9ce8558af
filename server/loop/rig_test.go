package loop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; a healthy run needs a fraction of it.
const patience = 20 * time.Second

// taskCall makes the test handler call the func in P.
const taskCall = 1 << 30

// probe is the Handler of the tests. Its hooks run on the loop; nil ones do the obvious.
type probe struct {
	loop *Loop
	rig  *rig

	read   func(h *probe, slot uint32, b []byte) // nil = echo
	open   func(h *probe, slot uint32)
	closed func(h *probe, slot uint32)
	task   func(h *probe, t Task)
	turn   func(h *probe)
	tick   func(h *probe, now uint32)
	live   map[uint32]ID // owned by the loop
}

func (h *probe) Open(slot uint32, peer netip.AddrPort) {
	id := h.loop.ID(slot)
	if _, ok := h.live[slot]; ok || slot == 0 {
		h.rig.t.Errorf("Open(%d) while the slot is taken", slot)
	}
	h.live[slot] = id
	h.rig.opened <- id
	if h.open != nil {
		h.open(h, slot)
	}
}

func (h *probe) Read(slot uint32, b []byte) {
	if _, ok := h.live[slot]; !ok {
		h.rig.t.Errorf("Read(%d) of a slot that is not open", slot)
	}
	if h.read != nil {
		h.read(h, slot, b)
		return
	}
	h.loop.SendBytes(slot, b)
}

func (h *probe) Closed(slot uint32, err error) {
	id, ok := h.live[slot]
	if !ok {
		h.rig.t.Errorf("Closed(%d) without Open", slot)
	}
	delete(h.live, slot)
	h.rig.closed <- closing{id, err}
	if h.closed != nil {
		h.closed(h, slot)
	}
}

func (h *probe) Task(t Task) {
	if t.Kind == taskCall {
		t.P.(func(*probe))(h)
	} else if h.task != nil {
		h.task(h, t)
	}
}

func (h *probe) Turn() {
	if h.turn != nil {
		h.turn(h)
	}
}

func (h *probe) Tick(now uint32) {
	if h.tick != nil {
		h.tick(h, now)
	}
}

type closing struct {
	id  ID
	err error
}

// mode is one way to run sockets; every behaviour is tested in each.
type mode struct {
	name   string
	option string
	tls    bool
}

func modes() []mode {
	m := []mode{{"portable", ModePortable, false}, {"portable with TLS", ModePortable, true}}
	if haveEpoll {
		m = append(m, mode{"epoll", ModeEpoll, false}, mode{"epoll with TLS", ModeEpoll, true})
	}
	return m
}

func eachMode(t *testing.T, f func(t *testing.T, m mode)) {
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) { f(t, m) })
	}
}

// rig is an engine with one listener and what its handlers saw.
type rig struct {
	t      testing.TB
	mode   mode
	engine *Engine
	addr   string
	probes []*probe
	opened chan ID
	closed chan closing
	log    *lockedBuffer
	doing  func(slot uint32, task int) string // for the watchdog; set before anything blocks
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newRig starts an engine with one loop unless setup says otherwise; setup may change options and set hooks of each probe.
func newRig(t testing.TB, m mode, options func(*Options), setup func(*probe)) *rig {
	t.Helper()
	r := &rig{t: t, mode: m, opened: make(chan ID, 1<<16), closed: make(chan closing, 1<<16), log: new(lockedBuffer)}
	o := DefaultOptions()
	o.Mode, o.Loops = m.option, 1
	if options != nil {
		options(&o)
	}
	var err error
	r.engine, err = New(o, func(l *Loop) Handler {
		h := &probe{loop: l, rig: r, live: map[uint32]ID{}}
		if setup != nil {
			setup(h)
		}
		r.probes = append(r.probes, h)
		return h
	}, slog.New(slog.NewTextHandler(r.log, nil)))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	served := r.serve(m.tls)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.engine.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil && !errors.Is(err, errStopped) { // a short test may be over before Serve began
			t.Errorf("Serve: %v", err)
		}
		if n := r.engine.Conns(); n != 0 {
			t.Errorf("Conns() = %d after Close, want 0", n)
		}
	})
	return r
}

func (r *rig) serve(secure bool) chan error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	if secure {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{certificate()}})
	}
	served := make(chan error, 1)
	go func() { served <- r.engine.Serve(ln) }()
	return served
}

var certificate = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// peer is the other end of a socket.
type peer struct {
	net.Conn
	tcp *net.TCPConn
	t   testing.TB
}

func (r *rig) dial() *peer {
	r.t.Helper()
	conn, err := net.DialTimeout("tcp", r.addr, patience)
	if err != nil {
		r.t.Fatal(err)
	}
	p := &peer{Conn: conn, tcp: conn.(*net.TCPConn), t: r.t}
	if r.mode.tls {
		p.Conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	_ = p.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { p.tcp.Close() })
	return p
}

// connect dials and waits until the loop has opened the socket.
func (r *rig) connect() (*peer, ID) {
	r.t.Helper()
	p := r.dial()
	if c, ok := p.Conn.(*tls.Conn); ok {
		if err := c.Handshake(); err != nil {
			r.t.Fatal(err)
		}
	}
	return p, await(r.t, r.opened, "Open")
}

func await[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s within %v", what, patience)
		panic("unreachable")
	}
}

// until waits for a condition that has no event to wait for.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// on runs f on the loop of probe h and waits for it.
func (h *probe) on(f func(h *probe)) {
	h.rig.t.Helper()
	done := make(chan struct{})
	h.loop.Post(Task{Kind: taskCall, P: func(h *probe) {
		defer close(done)
		f(h)
	}})
	await(h.rig.t, done, "task")
}

func (p *peer) send(s string) {
	p.t.Helper()
	if _, err := io.WriteString(p, s); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) expect(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p, got); err != nil || string(got) != want {
		p.t.Fatalf("read %d bytes, %v; want the %d of %.40q; got %.40q", n, err, len(want), want, got[:n])
	}
}

func (p *peer) expectEOF() {
	p.t.Helper()
	if n, err := p.Read(make([]byte, 1)); err != io.EOF {
		p.t.Fatalf("read %d bytes, %v; want EOF", n, err)
	}
}

// finish sends FIN (after close_notify with TLS) and can still read.
func (p *peer) finish() {
	p.t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.t.Fatal(err)
	}
	_ = p.tcp.CloseWrite()
}

// reset makes the peer vanish by RST.
func (p *peer) reset() {
	_ = p.tcp.SetLinger(0)
	_ = p.tcp.Close()
}

// fast makes ticks short, for tests of what takes several.
func fast(o *Options) { o.tick = 20 * time.Millisecond }

func frameOf(s string) *Frame {
	f := NewFrame(len(s))
	f.B = append(f.B, s...)
	return f
}
