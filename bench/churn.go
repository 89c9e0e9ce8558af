//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// churn publishes to many groups, and in the second half of the time members leave their groups and join them again. The ledger holds
// the target to what it confirmed. What a leave with its join costs is the difference between the halves: the server's CPU in the
// second half, less what its deliveries cost in the first.
func churn() *scenario {
	return &scenario{
		name: "churn", about: "members leave and rejoin their groups while messages are published", run: churned,
		takes: append([]string{"churn", "groups", "per-conn", "zipf"}, without(publishing, "window")...),
		cost:  "server-ns/join+leave", churn: "members that leave a group each second, and as many that come back, in the second half of the time",
		defaults: with(func(o *result.Options) {
			o.Targets, o.Groups, o.PerConn, o.Rate, o.Churn, o.Duration = []string{"gatecast"}, 100, 2, 100, 1000, 10*time.Second
		}),
		wants: func(o *target.Options) { o.Moves = true },
	}
}

// churned runs it.
func churned(ctx context.Context, s *site) (run *result.Run, err error) {
	id, half := rand.Uint32(), s.o.Duration/2
	l, err := crew.Open(crew.Options{
		Addrs: s.in.Addrs(), Spec: s.in.Spec(), Plan: s.plan(), Count: s.o.Conns, Run: id, Inflight: loginsInFlight, Single: true,
		Churn: &crew.Churn{Rate: s.o.Churn, After: half, For: half},
	})
	if err != nil {
		return nil, err
	}
	middle := make(chan reading, 1)
	d := &delivery{site: s, crew: l, sizes: s.plan().Sizes(), each: "delivery"}
	d.complete = func() bool { return l.CaughtUp(d.pub.Sent()) }
	defer func() { err = errors.Join(err, d.close()) }()
	if _, err := l.Connect(ctx); err != nil {
		return nil, err
	}
	c, err := codec.Open(s.in.Spec())
	if err != nil {
		return nil, err
	}
	pub, err := load.Open(ctx, load.Options{Addr: s.in.Addrs()[0], Codec: c, Plan: s.plan(), Run: id, Size: s.o.Size})
	if err != nil {
		return nil, err
	}
	d.pub = pub
	reading, cancel := context.WithCancel(ctx)
	d.began = func(from int64) {
		go d.readAt(reading, from+int64(half), middle) // ends with the reading, or with cancel
	}
	tally, m, err := d.publish(ctx)
	cancel()
	mid, ok := <-middle
	if err != nil {
		return nil, err
	}
	if run = d.result(tally, m); d.closed {
		return run, nil
	}
	d.judgeMoves(run, l.Moves(), m, mid, ok)
	return run, nil
}

// readAt reads the costs at a moment, and closes the channel. Without a reading it was too late, or failed.
func (d *delivery) readAt(ctx context.Context, at int64, to chan<- reading) {
	defer close(to)
	timer := time.NewTimer(time.Duration(at - ledger.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		if r, err := d.read(); err == nil {
			to <- r
		}
	case <-ctx.Done():
	}
}

// judgeMoves says what joins and leaves cost.
func (d *delivery) judgeMoves(run *result.Run, moves crew.Moves, m metered, middle reading, ok bool) {
	switch {
	case moves.Pending > 0:
		run.Faults = append(run.Faults, fmt.Sprintf("%d joins or leaves never confirmed", moves.Pending))
		return
	case moves.Joins == 0:
		run.Harness = append(run.Harness, "nobody left and came back: too few messages had reached members in the second half")
		return
	case !ok || len(m.seconds) == 0:
		run.Harness = append(run.Harness, "the costs were not read between the halves")
		return
	}
	first, last := m.seconds[0], m.seconds[len(m.seconds)-1]
	quiet, busy := middle.server.Since(first.server).CPU, last.server.Since(middle.server).CPU
	each := 0.0 // CPU of a delivery without joins and leaves
	if n := middle.delivered - first.delivered; n > 0 {
		each = float64(quiet) / float64(n)
	}
	pairs := float64(moves.Joins+moves.Leaves) / 2
	run.Compare("server-ns/join+leave", (float64(busy)-each*float64(last.delivered-middle.delivered))/pairs)
	run.Latency("join", moves.Join, true)
	run.Add("joins", float64(moves.Joins))
	run.Add("leaves", float64(moves.Leaves))
}
