//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/swarm"
	"github.com/gatecast/gatecast/bench/target"
)

// connect makes all connections at once and times each until it is ready: upgraded, logged in, in its group.
func connect(ctx context.Context, o Options, in target.Instance) (run *Run, err error) {
	due, service := load.NewHistogram(), load.NewHistogram()
	sw, err := swarm.Open(swarm.Options{
		Addr: in.Addr(), Clients: o.Conns, Protocol: in.Members(), Rate: o.Rate, Inflight: o.Window,
		Connecting: func(dueAt, began, ready int64) {
			load.Record(due, ready-dueAt)
			load.Record(service, ready-began)
		},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sw.Close()) }()
	before, err := readBoth(in)
	if err != nil {
		return nil, err
	}
	if err := sw.Connect(ctx); err != nil {
		return nil, err
	}
	after, err := readBoth(in)
	if err != nil {
		return nil, err
	}
	elapsed := after.at.Sub(before.at)
	server, harness := after.server.Since(before.server), after.harness.Since(before.harness)
	run = &Run{p99: time.Duration(due.ValueAtQuantile(99))}
	if busy := harness.CPU.Seconds() / elapsed.Seconds(); busy > maxBusy {
		run.Notes = append(run.Notes, fmt.Sprintf("the harness needed %.0f %% of a core: the rate may be its own limit", 100*busy))
	}
	per := func(d time.Duration) float64 { return float64(d) / float64(o.Conns) }
	run.compare("server-ns/handshake", per(server.CPU))
	run.add("server-user-ns/handshake", per(server.User))
	run.add("server-system-ns/handshake", per(server.System))
	run.add("harness-ns/handshake", per(harness.CPU))
	run.compare("handshakes/s", float64(o.Conns)/elapsed.Seconds())
	run.latency("response", due, true)
	run.latency("service", service, false)
	run.add("rss-B", float64(after.server.RSS))
	run.add("fds", float64(after.server.Files))
	return run, nil
}

// hold connects, rests, and then measures what connections cost that do nothing.
func hold(ctx context.Context, o Options, in target.Instance) (run *Run, err error) {
	before, err := readBoth(in)
	if err != nil {
		return nil, err
	}
	sw, err := swarm.Open(swarm.Options{Addr: in.Addr(), Clients: o.Conns, Protocol: in.Members(), Rate: o.Rate, Inflight: o.Window})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sw.Close()) }()
	if err := sw.Connect(ctx); err != nil {
		return nil, err
	}
	if err := runFor(ctx, sw, o.Settle); err != nil {
		return nil, err
	}
	begin, err := readBoth(in)
	if err != nil {
		return nil, err
	}
	if err := runFor(ctx, sw, o.Duration); err != nil {
		return nil, err
	}
	end, err := readBoth(in)
	if err != nil {
		return nil, err
	}
	conns := float64(o.Conns)
	run = &Run{}
	run.compare("rss-B/conn", float64(end.server.RSS-before.server.RSS)/conns)
	run.add("anon-B/conn", float64(end.server.Anon-before.server.Anon)/conns)
	run.add("harness-rss-B/conn", float64(end.harness.RSS-before.harness.RSS)/conns)
	run.compare("server-ns/conn/s", float64(end.server.Since(begin.server).CPU)/conns/end.at.Sub(begin.at).Seconds())
	run.add("rss-B", float64(end.server.RSS))
	run.add("start-rss-B", float64(before.server.RSS))
	run.add("fds", float64(end.server.Files))
	run.add("threads", float64(end.server.Threads))
	return run, nil
}

// runFor lets the clients live for d: pings are answered, a lost connection is an error.
func runFor(ctx context.Context, sw *swarm.Swarm, d time.Duration) error {
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	if err := sw.Run(limited); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// readBoth reads the costs of the target and of the harness.
func readBoth(in target.Instance) (r reading, err error) {
	if r.server, err = proc.Read(in.PIDs()...); err != nil {
		return r, err
	}
	r.harness, err = proc.Read(selfPID)
	r.at = time.Now()
	return r, err
}
