//go:build linux

package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/proc"
)

// Options of a host.
type Options struct {
	Procs  int            // agents to start on this machine
	Others int            // agents to wait for that are started elsewhere
	Listen netip.AddrPort // for those; the zero value = any port of the loopback
	Tell   io.Writer      // is told how to start them
}

const (
	serverReady = 10 * time.Second
	watchEvery  = 200 * time.Millisecond
	childJoins  = 20 * time.Second
	pingEvery   = 3 * time.Second // an agent whose machine is silent for three of them is gone
)

// Host is where agents join. Its methods but Close may be called by one goroutine at a time.
type Host struct {
	// static
	opts   Options
	token  string
	server *server.Server
	conn   *nats.Conn

	children []*child
	agents   []*member // in the order of their shares; complete once Gather has returned
	crews    int
	crew     atomic.Pointer[Crew] // whose news is heard

	joined chan struct{} // of many: somebody did
	ctx    context.Context
	cancel context.CancelCauseFunc // with what was lost
	watch  sync.WaitGroup

	mu      sync.Mutex
	joining []*member // guarded by mu
	closing bool      // guarded by mu
}

// member is an agent that joined.
type member struct {
	hello
	ours bool // a child of this process

	mu    sync.Mutex
	usage proc.Usage // as it told last; guarded by mu
}

// isOf reports whether the agent is that child.
func (m *member) isOf(c *child) bool { return m.PID == c.cmd.Process.Pid && m.Machine == machine() }

// String names it in errors.
func (m *member) String() string { return fmt.Sprintf("%s (process %d)", m.Name, m.PID) }

// Listen opens a host that nobody has joined.
func Listen(o Options) (_ *Host, err error) {
	if !o.Listen.IsValid() {
		o.Listen = netip.MustParseAddrPort("127.0.0.1:0")
	}
	port := int(o.Listen.Port())
	if port == 0 {
		port = server.RANDOM_PORT
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	h := &Host{opts: o, token: rand.Text(), ctx: ctx, cancel: cancel, joined: make(chan struct{}, o.Procs+o.Others)}
	// Its own listener's error would only be logged.
	if ln, err := net.Listen("tcp", o.Listen.String()); err != nil {
		return nil, fmt.Errorf("listen for agents: %w", err)
	} else if err := ln.Close(); err != nil {
		return nil, err
	}
	h.server, err = server.NewServer(&server.Options{
		ServerName: "gatecast-bench", Host: o.Listen.Addr().String(), Port: port, Authorization: h.token,
		AuthTimeout: serverReady.Seconds(), NoSigs: true, NoLog: true, MaxPayload: maxMessage, MaxPending: 4 * maxMessage, PingInterval: pingEvery, MaxPingsOut: 2,
	})
	if err != nil {
		return nil, fmt.Errorf("listen for agents: %w", err)
	}
	h.server.Start()
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if !h.server.ReadyForConnections(serverReady) {
		return nil, fmt.Errorf("listen for agents on %s: not ready within %v", o.Listen, serverReady)
	}
	h.conn, err = nats.Connect("", nats.InProcessServer(h.server), nats.Token(h.token), nats.NoReconnect(), nats.Name("host"))
	if err != nil {
		return nil, err
	}
	for subject, handle := range map[string]nats.MsgHandler{joinSubject: h.join, clockSubject: tellTime, newsSubject: h.hear} {
		if _, err := h.conn.Subscribe(subject, handle); err != nil {
			return nil, err
		}
	}
	if err := h.conn.FlushTimeout(serverReady); err != nil { // else an agent may ask before the server knows who answers
		return nil, fmt.Errorf("listen for agents: %w", err)
	}
	return h, nil
}

func tellTime(m *nats.Msg) { _ = m.Respond(strconv.AppendInt(nil, ledger.Now(), 10)) }

// url is where agents join, as others must spell the address.
func (h *Host) url(addr string) string {
	port := h.server.Addr().(*net.TCPAddr).Port
	return fmt.Sprintf("nats://%s@%s", h.token, net.JoinHostPort(addr, strconv.Itoa(port)))
}

// outside is an address of this machine that others may know it by.
func (h *Host) outside() string {
	if !h.opts.Listen.Addr().IsUnspecified() {
		return h.opts.Listen.Addr().String()
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

// inside is an address that processes of this machine reach the host by.
func (h *Host) inside() string {
	if h.opts.Listen.Addr().IsUnspecified() {
		return "127.0.0.1"
	}
	return h.opts.Listen.Addr().String()
}

// Gather starts the children and waits until all agents have joined.
func (h *Host) Gather(ctx context.Context) error {
	for i := range h.opts.Procs {
		c, err := startChild(h.url(h.inside()), fmt.Sprintf("receivers %d", i+1))
		if err != nil {
			return err
		}
		h.children = append(h.children, c)
		h.watch.Go(func() { // ends with the process
			<-c.done
			h.lose(c.ended())
		})
	}
	if h.opts.Others > 0 {
		fmt.Fprintf(h.opts.Tell, "Start on other machines, %d in all:\n\n  gatecast bench %s -join %s\n\n", h.opts.Others, Command, h.url(h.outside()))
	} else {
		limited, cancel := context.WithTimeoutCause(ctx, childJoins, fmt.Errorf("the processes of receivers have not joined within %v", childJoins))
		defer cancel()
		ctx = limited
	}
	for range h.opts.Procs + h.opts.Others {
		select {
		case <-h.joined:
		case <-h.ctx.Done():
			return context.Cause(h.ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	h.mu.Lock()
	h.agents = h.joining
	h.mu.Unlock()
	for _, m := range h.agents {
		for _, c := range h.children {
			m.ours = m.ours || m.isOf(c)
		}
	}
	h.watch.Go(h.attend)
	return nil
}

// join answers an agent that wants to join. NATS calls it, one at a time.
func (h *Host) join(m *nats.Msg) {
	var who hello
	err := json.Unmarshal(m.Data, &who)
	h.mu.Lock()
	switch {
	case err != nil:
	case who.Protocol != protocol:
		err = fmt.Errorf("the coordinator is another version of gatecast bench: its agents speak %d, not %d", protocol, who.Protocol)
	case len(h.joining) == h.opts.Procs+h.opts.Others:
		err = fmt.Errorf("all %d agents have joined already", len(h.joining))
	default:
		h.joining = append(h.joining, &member{hello: who})
	}
	h.mu.Unlock()
	a := answer{Machine: machine()}
	if err != nil {
		a.Error = err.Error()
	}
	_ = m.Respond(encode(a))
	if err == nil {
		h.joined <- struct{}{}
	}
}

// attend looks whether all agents are still there.
func (h *Host) attend() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.ctx.Done():
			return
		}
		list, err := h.server.Connz(&server.ConnzOptions{Limit: len(h.agents) + 16})
		if err != nil {
			continue
		}
		here := make(map[string]bool)
		for _, c := range list.Conns {
			here[c.Name] = true
		}
		for _, m := range h.agents {
			if !here[m.Orders] {
				h.lose(fmt.Errorf("agent %s is gone", m))
			}
		}
	}
}

// lose ends the run: an agent is gone, unless it was told to go.
func (h *Host) lose(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closing {
		h.cancel(err)
	}
}

// lost is what was lost, or nil.
func (h *Host) lost() error {
	if h.ctx.Err() == nil {
		return nil
	}
	return context.Cause(h.ctx)
}

// hear takes news of an agent. NATS calls it, one at a time.
func (h *Host) hear(m *nats.Msg) {
	var n news
	if err := json.Unmarshal(m.Data, &n); err != nil {
		h.lose(fmt.Errorf("news of an agent: %w", err))
		return
	}
	if c := h.crew.Load(); c != nil && c.number == n.Crew {
		c.hear(n)
	}
}

// Usage is what all agents cost, one by one: those of this machine now, those of others by their last news.
func (h *Host) Usage() ([]proc.Usage, error) {
	all := make([]proc.Usage, len(h.agents))
	for i, m := range h.agents {
		if !m.ours {
			m.mu.Lock()
			all[i] = m.usage
			m.mu.Unlock()
			continue
		}
		var err error
		if all[i], err = proc.Read(m.PID); err != nil {
			return nil, errors.Join(h.lost(), err)
		}
	}
	return all, nil
}

// Close lets all agents go, and waits for those of this machine.
func (h *Host) Close() (err error) {
	h.mu.Lock()
	h.closing = true
	joined := h.joining
	h.mu.Unlock()
	if h.conn != nil {
		for _, m := range joined {
			err = errors.Join(err, h.conn.Publish(m.Orders, encode(order{Do: doEnd})))
		}
		err = errors.Join(err, h.conn.FlushTimeout(endTimeout))
	}
	for _, c := range h.children {
		if h.isJoined(c) {
			continue
		}
		_ = c.cmd.Process.Kill() // it would not hear of the end
	}
	for _, c := range h.children {
		err = errors.Join(err, c.stop())
	}
	h.awaitLeave()
	h.cancel(errors.New("the host is closed"))
	h.watch.Wait()
	if h.conn != nil {
		h.conn.Close()
	}
	h.server.Shutdown()
	h.server.WaitForShutdown()
	return err
}

// awaitLeave gives agents from elsewhere the time to hear that they may go: to one that has not, we would just be gone.
func (h *Host) awaitLeave() {
	const leaves, own = 2 * time.Second, 1 // the host's own connection
	limit, tick := time.NewTimer(leaves), time.NewTicker(5*time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for h.conn != nil && h.opts.Others > 0 && h.server.NumClients() > own {
		select {
		case <-tick.C:
		case <-limit.C:
			return
		}
	}
}

func (h *Host) isJoined(c *child) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.joining {
		if m.isOf(c) {
			return true
		}
	}
	return false
}
