//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// reconnect takes the last node away in the middle of a run and starts it again at once: how long until all its connections are back,
// with the patience of good clients, and what that costs. What is published meanwhile may be lost; nothing may come twice.
func reconnect() *scenario {
	return &scenario{
		name: "reconnect", about: "a node is killed or drained under load and started again: how long until all are back", run: reconnected,
		takes: append([]string{"how", "nodes"}, without(publishing, "window", "patience", "p99", "max-lag")...), cost: "back-p99-ns",
		defaults: with(func(o *result.Options) { o.How, o.Rate, o.Duration, o.Repeat = "kill", 20, 10*time.Second, 3 }),
	}
}

// The ways of a node.
const (
	howKill  = "kill"  // SIGKILL
	howDrain = "drain" // SIGTERM
)

// allBack is how long clients have to come back once the load is over.
const allBack = time.Minute

// outage is what happened to the node.
type outage struct {
	node     int
	began    int64              // when it was taken away
	restored int64              // when it served again
	before   map[int]proc.Usage // by process
	err      error
}

func reconnected(ctx context.Context, s *site) (run *result.Run, err error) {
	r, ok := s.in.(target.Restarter)
	if !ok {
		return nil, errors.New("the harness cannot take its nodes away and start them again")
	}
	id := rand.Uint32()
	l, err := crew.Open(crew.Options{
		Addrs: s.in.Addrs(), Spec: s.in.Spec(), Plan: s.plan(), Count: s.o.Conns, Run: id, Inflight: loginsInFlight, Redial: true,
	})
	if err != nil {
		return nil, err
	}
	d := &delivery{site: s, crew: l, sizes: s.plan().Sizes(), each: "delivery"}
	defer func() { err = errors.Join(err, d.close()) }()
	if _, err := l.Connect(ctx); err != nil {
		return nil, err
	}
	c, err := codec.Open(s.in.Spec())
	if err != nil {
		return nil, err
	}
	pub, err := load.Open(ctx, load.Options{Addr: s.in.Addrs()[0], Codec: c, Plan: s.plan(), Run: id, Size: s.o.Size, Redial: true})
	if err != nil {
		return nil, err
	}
	d.pub = pub
	out, err := d.interrupted(ctx, l, r)
	if err != nil {
		return nil, err
	}
	tally, err := l.Balance(pub.Sent())
	if err != nil {
		return nil, err
	}
	return s.judgeOutage(l, tally, out)
}

// interrupted publishes, takes the node away in the middle, and waits until all are back.
func (d *delivery) interrupted(ctx context.Context, l *crew.Local, r target.Restarter) (*outage, error) {
	d.start = ledger.Now() + int64(lead)
	d.from = d.start + int64(d.o.Warmup)
	l.Receive(d.from, nil)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := &outage{node: len(d.in.Addrs()) - 1}
	done := make(chan struct{})
	go func() { // ends when the node is back, or ctx ends
		defer close(done)
		if out.err = d.takeAway(ctx, r, out); out.err != nil {
			cancel(out.err)
		}
	}()
	var err error
	load.Urgently(func() { err = d.send(ctx) })
	<-done
	if out.err != nil {
		return nil, errors.Join(out.err, l.Stop())
	}
	if err == nil {
		err = d.awaitReturn(ctx, l)
	}
	return out, errors.Join(err, l.Stop())
}

// takeAway is the outage.
func (d *delivery) takeAway(ctx context.Context, r target.Restarter, out *outage) (err error) {
	middle := time.NewTimer(time.Duration(d.from + int64(d.o.Duration)/2 - ledger.Now()))
	defer middle.Stop()
	select {
	case <-middle.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if out.before, err = usages(d.in); err != nil {
		return err
	}
	out.began = ledger.Now()
	if d.o.How == howDrain {
		err = r.Drain(out.node)
	} else {
		err = r.Kill(out.node)
	}
	if err == nil {
		err = r.Restart(ctx, out.node)
	}
	if err != nil {
		return fmt.Errorf("%s node %d and start it again: %w", d.o.How, out.node, err)
	}
	out.restored = ledger.Now()
	return nil
}

// usages are the costs of each process of a target.
func usages(in target.Instance) (map[int]proc.Usage, error) {
	all := make(map[int]proc.Usage)
	for _, pid := range in.PIDs() {
		u, err := proc.Read(pid)
		if err != nil {
			return nil, err
		}
		all[pid] = u
	}
	return all, nil
}

// awaitReturn waits until nobody is away, and then until what was published has had time to arrive.
func (d *delivery) awaitReturn(ctx context.Context, l *crew.Local) error {
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for deadline := ledger.Now() + int64(allBack); ; {
		s, now := l.State(), ledger.Now()
		switch {
		case s.Err != nil:
			return s.Err
		case l.Away() == 0 && s.Delivered >= d.expected():
			return d.linger(ctx, tick)
		case l.Away() == 0 && s.Quiet > quietAfter && now-d.pub.Last() > int64(quietAfter), now > deadline:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// quietAfter is the silence after which what has not arrived was lost with the node.
const quietAfter = time.Second

// judgeOutage says what the outage did.
func (s *site) judgeOutage(l *crew.Local, tally crew.Tally, out *outage) (*result.Run, error) {
	counts := tally.Counts
	counts.Lost = 0 // may be
	run := &result.Run{Ledger: &tally.Counts, Faults: counts.Faults()}
	if n := l.Away(); n > 0 {
		run.Faults = append(run.Faults, fmt.Sprintf("%d of %d connections were not back within %v", n, s.o.Conns, allBack))
	}
	back := l.Returns()
	if len(back) == 0 {
		run.Faults = append(run.Faults, "the node went away and nobody lost a connection")
		return run, nil
	}
	after, err := usages(s.in)
	if err != nil {
		return nil, err
	}
	var cost time.Duration
	for pid, u := range after {
		cost += u.Since(out.before[pid]).CPU
	}
	times := load.NewHistogram()
	for _, b := range back {
		load.Record(times, b.Back-out.began)
	}
	run.P99 = time.Duration(times.ValueAtQuantile(99))
	run.Latency("back", times, true)
	run.Compare("handshakes/s-peak", peak(back))
	run.Compare("server-ns/reconnection", float64(cost)/float64(len(back)))
	run.Add("reconnections", float64(len(back)))
	run.Add("lost/conn", float64(tally.Counts.Lost)/float64(len(back)))
	run.Add("restart-ns", float64(out.restored-out.began))
	run.Latency("response", tally.Times.Response, false)
	return run, nil
}

// peakWindow is the time over which the largest rate of handshakes is taken.
const peakWindow = 100 * time.Millisecond

// peak is the largest rate of returns.
func peak(back []crew.Return) float64 {
	times := make([]int64, len(back))
	for i, b := range back {
		times[i] = b.Back
	}
	slices.Sort(times)
	most, first := 0, 0
	for i, at := range times {
		for times[first] <= at-int64(peakWindow) {
			first++
		}
		most = max(most, i-first+1)
	}
	return float64(most) / peakWindow.Seconds()
}
