//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/result"
)

// openStorm opens the receivers of a storm: they log in by rate or window.
func (s *site) openStorm() (crew.Crew, error) {
	return s.muster(crew.Options{Rate: s.o.Rate, Inflight: s.o.Window})
}

// connect makes all connections at once and times each until it is ready: upgraded, logged in, in its groups.
func connect(ctx context.Context, s *site) (run *result.Run, err error) {
	if s.o.Known {
		if err := s.introduce(ctx); err != nil {
			return nil, err
		}
	}
	c, err := s.openStorm()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	looked := s.look(ctx)
	s.phase("connect")
	defer s.follow(c, 0, 0)()
	before, err := s.read()
	if err != nil {
		return nil, err
	}
	logins, err := c.Connect(ctx)
	if err != nil {
		return nil, err
	}
	after, err := s.read()
	if err != nil {
		return nil, err
	}
	seen := s.look(ctx)
	m := between([]reading{before, after})
	run = &result.Run{P99: time.Duration(logins.Response.ValueAtQuantile(99))}
	switch {
	case m.busy <= maxBusy:
	case s.o.Rate > 0: // an open loop: response times hold what the harness was late
		run.Harness = append(run.Harness, fmt.Sprintf("the harness needed %.0f %% of a core, so latencies are its own", 100*m.busy))
	default:
		run.Notes = append(run.Notes, fmt.Sprintf("the harness needed %.0f %% of a core: the rate may be its own limit", 100*m.busy))
	}
	per := func(d time.Duration) float64 { return float64(d) / float64(s.o.Conns) }
	run.Compare("server-ns/handshake", per(m.server.CPU))
	run.Add("server-user-ns/handshake", per(m.server.User))
	run.Add("server-system-ns/handshake", per(m.server.System))
	run.Add("harness-ns/handshake", per(m.harness.CPU))
	run.Compare("handshakes/s", float64(s.o.Conns)/m.elapsed.Seconds())
	run.Latency("response", logins.Response, true)
	run.Latency("service", logins.Service, false)
	run.Add("rss-B", float64(m.now.RSS))
	run.Add("fds", float64(m.now.Files))
	seen.enter(run, looked, "handshake", int64(s.o.Conns))
	return run, nil
}

// forgetting is how long users that will be known stay away: their groups must be gone from the target when they come back, as
// those of users who were away are, and their logins not yet. Gatecast keeps a subscription for 2 s, and a login for 10 s.
const forgetting = 4 * time.Second

// introduce lets every user log in and go again.
func (s *site) introduce(ctx context.Context) error {
	s.phase("introduce")
	before, err := s.read()
	if err != nil {
		return err
	}
	c, err := s.openStorm()
	if err != nil {
		return err
	}
	_, err = c.Connect(ctx)
	if err := errors.Join(err, c.Close()); err != nil {
		return err
	}
	leaving, cancel := context.WithTimeoutCause(ctx, s.o.Patience, errors.New("the target keeps connections of clients that are gone"))
	defer cancel()
	left := func() bool {
		var now reading
		now, err = s.read()
		return err != nil || now.server.Files < before.server.Files+max(s.o.Conns/100, 10) // it may have opened others
	}
	if err := errors.Join(until(leaving, left), err); err != nil {
		return err
	}
	rest := time.NewTimer(s.o.Settle)
	defer rest.Stop()
	select {
	case <-rest.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hold connects, rests, and then measures what connections cost that do nothing.
func hold(ctx context.Context, s *site) (run *result.Run, err error) {
	bare := s.look(ctx)
	before, err := s.read()
	if err != nil {
		return nil, err
	}
	c, err := s.openStorm()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := c.Connect(ctx); err != nil {
		return nil, err
	}
	if err := restFor(ctx, c, s.o.Settle); err != nil {
		return nil, err
	}
	looked := s.look(ctx)
	begin, err := s.read()
	if err != nil {
		return nil, err
	}
	if err := restFor(ctx, c, s.o.Duration); err != nil {
		return nil, err
	}
	end, err := s.read()
	if err != nil {
		return nil, err
	}
	seen := s.look(ctx)
	conns := float64(s.o.Conns)
	m := between([]reading{begin, end})
	run = &result.Run{}
	run.Compare("rss-B/conn", float64(begin.server.RSS-before.server.RSS)/conns)
	run.Add("anon-B/conn", float64(begin.server.Anon-before.server.Anon)/conns)
	run.Add("harness-rss-B/conn", float64(end.harness.RSS-before.harness.RSS)/conns)
	run.Compare("server-ns/conn/s", float64(m.server.CPU)/conns/m.elapsed.Seconds())
	run.Add("rss-B", float64(end.server.RSS))
	run.Add("start-rss-B", float64(before.server.RSS))
	run.Add("fds", float64(end.server.Files))
	run.Add("threads", float64(end.server.Threads))
	if bare.sockets == nil || seen.sockets == nil {
		run.Notes = append(run.Notes, fmt.Sprintf("kernel memory of sockets is unknown: %v", errors.Join(bare.hidden, seen.hidden)))
	} else {
		run.Add("kernel-B/conn", float64(seen.sockets.Total()-bare.sockets.Total())/conns)
		run.Add("kernel-queues-B/conn", float64(seen.sockets.Queues-bare.sockets.Queues)/conns)
	}
	seen.enter(run, looked, "", 0)
	return run, nil
}

// restFor lets the clients live for d: pings are answered, a lost connection is an error.
func restFor(ctx context.Context, c crew.Crew, d time.Duration) error {
	c.Receive(ledger.Now(), nil)
	end, tick := time.NewTimer(d), time.NewTicker(drainTick)
	defer end.Stop()
	defer tick.Stop()
	for c.State().Err == nil { // which Stop tells
		select {
		case <-end.C:
			return c.Stop()
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), c.Stop())
		}
	}
	return c.Stop()
}
