//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/swarm"
	"github.com/gatecast/gatecast/bench/target"
)

const (
	stallNote  = 500 * time.Millisecond // silence worth a word
	drainTick  = 5 * time.Millisecond
	lead       = 20 * time.Millisecond // between the decision to publish and the first due time
	maxBusy    = 0.9                   // share of one core the harness may need in a valid open-loop run
	gatherTime = 3                     // times the duration after which an overloaded run is cut off
)

// fanout publishes to groups whose members are all here, and times every delivery.
func fanout(ctx context.Context, o Options, in target.Instance) (run *Run, err error) {
	id := rand.Uint32()
	rec := newReceivers(id, o.Conns, o.groups)
	sw, err := swarm.Open(swarm.Options{Addr: in.Addr(), Clients: o.Conns, Protocol: in.Members(), Receiver: rec})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sw.Close()) }()
	if err := sw.Connect(ctx); err != nil {
		return nil, err
	}
	pub, err := load.Open(ctx, load.Options{Addr: in.Addr(), Protocol: in.Publisher(), Run: id, Groups: o.groups, Size: o.Size})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pub.Close()) }()
	if o.Window > 0 {
		rec.complete = pub.Completed
	}
	start := ledger.Now() + int64(lead)
	rec.from = start + int64(o.Warmup)
	rec.last.Store(start)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	received := make(chan struct{})
	go func() { // ends with ctx, before the swarm and the publisher are closed
		defer close(received)
		if err := sw.Run(ctx); err != nil {
			cancel(err)
		}
	}()
	meter := startMeter(ctx, in, rec, rec.from)
	var sent int
	load.Urgently(func() { sent, err = publish(ctx, o, pub, start, rec) })
	if err == nil {
		err = rec.gather(ctx, sent*rec.members, o)
	}
	end, meterErr := meter.stop()
	cancel(nil)
	<-received
	if err := errors.Join(err, meterErr); err != nil {
		return nil, err
	}
	return fanoutRun(o, rec, pub, sent, end)
}

// publish sends what is due.
func publish(ctx context.Context, o Options, pub *load.Publisher, start int64, rec *receivers) (int, error) {
	total := o.Warmup + o.Duration
	if o.Window > 0 {
		return pub.Window(ctx, o.Window, total, func() int { return int(rec.completed.Load()) })
	}
	return pub.Open(ctx, load.Schedule{Start: start, Rate: o.Rate}, int(total.Seconds()*o.Rate))
}

// gather waits until all is delivered, or nothing comes for the patience.
func (r *receivers) gather(ctx context.Context, expected int, o Options) error {
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	from := ledger.Now()
	for r.delivered.Load() < int64(expected) {
		now := ledger.Now()
		if now-max(from, r.last.Load()) > int64(o.Patience) || now-from > int64(gatherTime*(o.Warmup+o.Duration)+o.Patience) {
			return nil // the ledger will say what is missing
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return r.linger(ctx, tick)
}

// linger waits a moment for what should not come: duplicates and strays after the last message.
func (r *receivers) linger(ctx context.Context, tick *time.Ticker) error {
	for range 10 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// fanoutRun makes the result of what was received.
func fanoutRun(o Options, rec *receivers, pub *load.Publisher, sent int, m metered) (*Run, error) {
	counts := rec.ledger.Balance(func(group uint32) uint32 {
		return uint32((sent - int(group) + o.groups - 1) / o.groups)
	})
	run := &Run{Ledger: &counts, Faults: counts.Faults()}
	if silent := time.Duration(ledger.Now() - rec.last.Load()); len(rec.arrived) < sent { // the end reached nobody
		run.Faults = append(run.Faults, fmt.Sprintf("stalled: nothing arrived in the last %.1f s", silent.Seconds()))
	}
	if silence := time.Duration(rec.silence); silence > stallNote {
		run.Notes = append(run.Notes, fmt.Sprintf("stalled: nothing arrived for %v although messages were due", silence.Round(time.Millisecond)))
	}
	if sent == 0 || m.deliveries == 0 {
		run.Faults = append(run.Faults, "nothing was delivered in the time measured")
		return run, nil
	}
	busy := m.harness.CPU.Seconds() / m.elapsed.Seconds()
	if o.Window == 0 {
		if lag := time.Duration(pub.Lag.ValueAtQuantile(99)); lag > o.MaxLag {
			run.Faults = append(run.Faults, fmt.Sprintf("the generator fell behind: p99 of its lag is %v, allowed %v", lag, o.MaxLag))
		}
		if busy > maxBusy {
			run.Faults = append(run.Faults, fmt.Sprintf("the harness needed %.0f %% of a core, so latencies are its own", 100*busy))
		}
		run.add("lag-p99-ns", float64(pub.Lag.ValueAtQuantile(99)))
	} else if busy > maxBusy {
		run.Notes = append(run.Notes, fmt.Sprintf("the harness needed %.0f %% of a core: the rate may be its own limit", 100*busy))
	}
	per := func(d time.Duration) float64 { return float64(d) / float64(m.deliveries) }
	run.compare("server-ns/delivery", per(m.server.CPU))
	run.add("server-user-ns/delivery", per(m.server.User))
	run.add("server-system-ns/delivery", per(m.server.System))
	run.add("harness-ns/delivery", per(m.harness.CPU))
	run.compare("deliveries/s", float64(m.deliveries)/m.elapsed.Seconds())
	run.latency("response", rec.times.response, true)
	run.latency("service", rec.times.service, false)
	run.latency("first", rec.times.first, false)
	run.latency("median", rec.times.median, false)
	run.latency("last", rec.times.final, true)
	run.add("switches/delivery", float64(m.server.Switches)/float64(m.deliveries))
	run.add("rss-B", float64(m.now.RSS))
	run.add("fds", float64(m.now.Files))
	run.p99 = time.Duration(rec.times.response.ValueAtQuantile(99))
	return run, nil
}

// meter reads the costs of a target and of the harness when measuring begins and when it ends.
type meter struct {
	in    target.Instance
	rec   *receivers
	begun chan reading // one value, or closed by the meter's goroutine when ctx ended first
}

// reading is the state at one moment.
type reading struct {
	at        time.Time
	server    proc.Usage
	harness   proc.Usage
	delivered int64
	err       error
}

// metered is what happened between two readings.
type metered struct {
	elapsed         time.Duration
	server, harness proc.Usage
	now             proc.Usage // the server at the end
	deliveries      int64
}

func startMeter(ctx context.Context, in target.Instance, rec *receivers, from int64) *meter {
	m := &meter{in: in, rec: rec, begun: make(chan reading, 1)}
	go func() { // ends at from, or with ctx
		defer close(m.begun)
		timer := time.NewTimer(time.Duration(from - ledger.Now()))
		defer timer.Stop()
		select {
		case <-timer.C:
			m.begun <- m.read()
		case <-ctx.Done():
		}
	}()
	return m
}

func (m *meter) read() (r reading) {
	var err1, err2 error
	r.server, err1 = proc.Read(m.in.PIDs()...)
	r.harness, err2 = proc.Read(selfPID)
	r.at, r.delivered, r.err = time.Now(), m.rec.delivered.Load(), errors.Join(err1, err2)
	return r
}

func (m *meter) stop() (metered, error) {
	end := m.read()
	var begin reading
	select {
	case begin = <-m.begun:
	default: // publishing failed before measuring began; that error is told
		return metered{}, nil
	}
	if err := errors.Join(begin.err, end.err); err != nil {
		return metered{}, err
	}
	return metered{
		elapsed: end.at.Sub(begin.at), server: end.server.Since(begin.server), harness: end.harness.Since(begin.harness),
		now: end.server, deliveries: end.delivered - begin.delivered,
	}, nil
}
