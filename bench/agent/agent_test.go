//go:build linux

package agent

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/plan"
	"github.com/gatecast/gatecast/bench/raw"
)

const patience = 30 * time.Second

// until waits for a condition.
func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(patience), time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !reached() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// serve runs a raw server and returns what receivers need to know of it.
func serve(t *testing.T, p plan.Plan) crew.Options {
	t.Helper()
	s, err := raw.Listen(raw.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := s.Addr()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return crew.Options{
		Addrs: []netip.AddrPort{addr}, Spec: codec.Spec{Codec: "raw", Host: addr.String()}, Plan: p, Count: p.Conns, Run: 7, Inflight: 8,
	}
}

func listen(t *testing.T, o Options) *Host {
	t.Helper()
	h, err := Listen(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		for _, c := range h.children {
			if err := syscall.Kill(c.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("process %d still runs", c.cmd.Process.Pid)
			}
		}
	})
	return h
}

func gather(t *testing.T, o Options) *Host {
	t.Helper()
	h := listen(t, o)
	if err := h.Gather(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h
}

// run publishes count messages, with a window if it is not 0, and returns the balance.
func run(t *testing.T, h *Host, o crew.Options, count, window int) crew.Tally {
	t.Helper()
	c, err := h.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	logins, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := logins.Response.TotalCount(); n != int64(o.Count) {
		t.Errorf("%d logins, want %d", n, o.Count)
	}
	speaker, err := codec.Open(o.Spec)
	if err != nil {
		t.Fatal(err)
	}
	p, err := load.Open(t.Context(), load.Options{Addr: o.Addrs[0], Codec: speaker, Plan: o.Plan, Run: o.Run, Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	alive := func() error { return c.State().Err }
	from := ledger.Now()
	if window == 0 {
		c.Receive(from, nil)
		err = p.Open(t.Context(), load.Schedule{Start: from, Rate: 500}, count, alive)
	} else {
		c.Receive(from, func(int64) { p.Completed() })
		least, most := int64(0), 0
		err = p.Window(t.Context(), window, time.Second, func() int {
			done := c.State().Completed
			if done < least {
				t.Errorf("%d completed after %d", done, least)
			}
			least = done
			most = max(most, int(sum(p.Sent()))-int(done))
			return int(done)
		}, alive)
		if most > window {
			t.Errorf("%d in flight, want %d at most", most, window)
		}
		if least < int64(window) {
			t.Errorf("%d publications completed in a second, want more than a window of %d", least, window)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	want := int64(0)
	for g, members := range o.Plan.Sizes() {
		want += int64(members) * int64(p.Sent()[g])
	}
	until(t, "all is delivered", func() bool { return c.State().Delivered >= want || alive() != nil })
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if last := c.State().Last; last < p.Last() {
		t.Errorf("the last arrival was %d ns before the last publication", p.Last()-last)
	}
	tally, err := c.Balance(p.Sent())
	if err != nil {
		t.Fatal(err)
	}
	if tally.Counts.Expected != want || tally.Counts.Delivered != want || len(tally.Counts.Faults()) > 0 {
		t.Errorf("ledger: %+v, want %d delivered", tally.Counts, want)
	}
	if n := tally.Times.Response.TotalCount(); n != want {
		t.Errorf("%d responses, want %d", n, want)
	}
	if n := tally.Times.Last.TotalCount(); n != sum(p.Sent()) || n != tally.Times.First.TotalCount() || n != tally.Times.Median.TotalCount() {
		t.Errorf("first, median, last of %d, %d, %d publications, want %d", tally.Times.First.TotalCount(), tally.Times.Median.TotalCount(), n, sum(p.Sent()))
	}
	return tally
}

func sum(sent []uint32) (n int64) {
	for _, s := range sent {
		n += int64(s)
	}
	return n
}

func TestProcessesReceiveAsOne(t *testing.T) {
	h := gather(t, Options{Procs: 3})
	for _, tt := range []struct {
		name   string
		plan   plan.Plan
		window int
	}{
		{"one group, open", plan.Plan{Conns: 20, Groups: 1, PerConn: 1}, 0},
		{"one group, a window", plan.Plan{Conns: 20, Groups: 1, PerConn: 1}, 8},
		{"several groups, each at all processes, a window", plan.Plan{Conns: 20, Groups: 4, PerConn: 2}, 8},
		{"a group a client, each at one process, a window", plan.Plan{Conns: 9, Groups: 9, PerConn: 1}, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tally := run(t, h, serve(t, tt.plan), 100, tt.window); tally.Doubt != 0 {
				t.Errorf("doubt = %d, want none on one machine", tally.Doubt)
			}
		})
	}
	usage, err := h.Usage()
	if err != nil || len(usage) != 3 || usage[0].CPU <= 0 || usage[2].RSS <= 0 {
		t.Errorf("usage = %+v, %v", usage, err)
	}
}

func TestKilledAgentEndsTheRun(t *testing.T) {
	h, err := Listen(Options{Procs: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := h.Gather(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := h.Open(serve(t, plan.Plan{Conns: 10, Groups: 1, PerConn: 1}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Receive(ledger.Now(), nil)
	if err := h.children[1].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	until(t, "the loss is seen", func() bool { return c.State().Err != nil })
	if got := c.State().Err.Error(); !strings.Contains(got, "ended: signal: killed") && !strings.Contains(got, "is gone") {
		t.Errorf("error = %q, want the process that is gone", got)
	}
	if err := c.Stop(); err == nil {
		t.Error("Stop gives no error")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestErrorOfOneAgentNamesIt(t *testing.T) {
	h := gather(t, Options{Procs: 2})
	o := serve(t, plan.Plan{Conns: 4, Groups: 1, PerConn: 1})
	o.Addrs = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")} // nobody listens
	c, err := h.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Connect(t.Context())
	if err == nil || !strings.Contains(err.Error(), "receivers ") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error = %v, want a refused connection of an agent", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	h := gather(t, Options{Procs: 1})
	o := serve(t, plan.Plan{Conns: 50, Groups: 1, PerConn: 1})
	o.Rate = 0.1 // hours
	c, err := h.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.Connect(ctx)
		ended <- err
	}()
	until(t, "the first is connected", func() bool { return c.State().Connected > 0 })
	cancel(cause)
	if err := <-ended; !errors.Is(err, cause) {
		t.Errorf("error = %v, want the context's", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// elsewhere joins from this process, with a clock that the host does not know. ctx ends if it cannot.
func elsewhere(t *testing.T, h *Host, machine string) (ctx context.Context, ended func() error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	done := make(chan error, 1)
	var once sync.Once
	go func() {
		err := join(t.Context(), h.url("127.0.0.1"), "elsewhere", machine)
		if err != nil {
			cancel(err)
		}
		done <- err
	}()
	var err error
	return ctx, func() error { once.Do(func() { err = <-done }); return err }
}

func TestAgentsOfAnotherMachineTellHowTheirClockDiffers(t *testing.T) {
	var told bytes.Buffer
	h, err := Listen(Options{Others: 1, Tell: &told})
	if err != nil {
		t.Fatal(err)
	}
	ctx, ended := elsewhere(t, h, "another machine")
	if err := h.Gather(ctx); err != nil {
		t.Fatal(err)
	}
	if want := "gatecast bench agent -join nats://" + h.token + "@127.0.0.1:"; !strings.Contains(told.String(), want) {
		t.Errorf("told %q, want %q in it", told.String(), want)
	}
	tally := run(t, h, serve(t, plan.Plan{Conns: 5, Groups: 1, PerConn: 1}), 50, 0)
	if tally.Doubt <= 0 {
		t.Error("no doubt about another machine's clock")
	}
	until(t, "the agent tells its usage", func() bool { u, err := h.Usage(); return err == nil && u[0].CPU > 0 })
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := ended(); err != nil {
		t.Errorf("an agent that was let go says %v", err)
	}
}

func TestAgentEndsWhenTheCoordinatorIsGone(t *testing.T) {
	h := listen(t, Options{Others: 1, Tell: new(bytes.Buffer)})
	ctx, ended := elsewhere(t, h, machine())
	if err := h.Gather(ctx); err != nil {
		t.Fatal(err)
	}
	h.server.Shutdown()
	if err := ended(); err == nil || !strings.Contains(err.Error(), "the coordinator is gone") {
		t.Errorf("error = %v, want that the coordinator is gone", err)
	}
	until(t, "the host sees it", func() bool { return h.lost() != nil })
	h.conn.Close()
	h.conn = nil
}

func TestWhoMayNotJoinIsTold(t *testing.T) {
	h := listen(t, Options{Others: 1, Tell: new(bytes.Buffer)})
	wrong := strings.Replace(h.url("127.0.0.1"), h.token, "guess", 1)
	if err := join(t.Context(), wrong, "guess", machine()); err == nil || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("a wrong token: %v", err)
	}
	conn, err := nats.Connect(h.url("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t.Context(), conn, joinSubject, hello{Protocol: protocol + 1}); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("another version: %v", err)
	}
	conn.Close()
	ctx, ended := elsewhere(t, h, machine())
	if err := h.Gather(ctx); err != nil {
		t.Fatal(err)
	}
	if err := join(t.Context(), h.url("127.0.0.1"), "late", machine()); err == nil || !strings.Contains(err.Error(), "all 1 agents have joined") {
		t.Errorf("one too many: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := ended(); err != nil {
		t.Error(err)
	}
	h.conn = nil
}

func TestPortInUseIsTold(t *testing.T) {
	o := serve(t, plan.Plan{Conns: 1, Groups: 1, PerConn: 1})
	if _, err := Listen(Options{Listen: o.Addrs[0]}); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("error = %v", err)
	}
}
