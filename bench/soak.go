//go:build linux

package bench

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/swarm"
)

// soak publishes to groups for long, while further connections come, join the same groups and go. What a server does not give back
// shows in the slope of its memory.
func soak() *scenario {
	return &scenario{
		name: "soak", about: "for long: publications to groups while connections come and go; the slope of the server's memory", run: soaked,
		takes: append([]string{"groups", "per-conn", "churn"}, publishing...), cost: "rss-slope-B/min",
		churn: "further connections a second that come, join groups and go",
		defaults: with(func(o *result.Options) {
			o.Groups, o.Rate, o.Churn, o.Duration, o.Warmup, o.Repeat = 100, 100, 50, 2*time.Minute, 10*time.Second, 1
		}),
	}
}

func soaked(ctx context.Context, s *site) (run *result.Run, err error) {
	passers, err := s.openPassers()
	if err != nil {
		return nil, err
	}
	d, err := s.assemble(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	stop := passers.start(ctx)
	begin, err := d.site.read()
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	tally, m, err := d.publish(ctx)
	if err = errors.Join(err, stop()); err != nil {
		return nil, err
	}
	run = d.result(tally, m)
	if len(run.Faults) > 0 || len(m.seconds) < 2 {
		return run, nil
	}
	run.Compare("rss-slope-B/min", slope(m.seconds))
	run.Add("fds-begin", float64(begin.server.Files))
	if v, ok := d.looked.runtime[goGoroutines]; ok {
		run.Add("goroutines-begin", v)
	}
	elapsed := time.Duration(ledger.Now() - passers.began).Seconds()
	run.Add("reconnections/s", float64(passers.came.Load())/elapsed)
	return run, nil
}

// slope is the growth of the server's memory a minute by least squares.
func slope(readings []reading) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for _, r := range readings {
		x, y := time.Duration(r.at-readings[0].at).Minutes(), float64(r.server.RSS)
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	if d := n*sumXX - sumX*sumX; d > 0 {
		return (n*sumXY - sumX*sumY) / d
	}
	return math.NaN()
}

// passers are connections that come and go; what they receive is nobody's business.
type passers struct {
	site  *site
	codec codec.Codec
	began int64
	came  atomic.Int64
}

func (s *site) openPassers() (*passers, error) {
	c, err := codec.Open(s.in.Spec())
	return &passers{site: s, codec: c}, err
}

// start lets them come until stop is called.
func (p *passers) start(ctx context.Context) (stop func() error) {
	p.began = ledger.Now()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { // ends with stop
		for ctx.Err() == nil && p.site.o.Churn > 0 {
			if err := p.pass(ctx); err != nil && ctx.Err() == nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// pass has as many come as there are to be in a second, one after the other, and go together.
func (p *passers) pass(ctx context.Context) (err error) {
	o := p.site.o
	count := max(int(math.Ceil(o.Churn)), 1)
	plan := p.site.plan()
	plan.Conns += count
	sw, err := swarm.Open(swarm.Options{
		Addrs: p.site.in.Addrs(), Codec: p.codec, Plan: plan, First: o.Conns, Count: count, Rate: o.Churn,
		Ready: func(_, _, _ int64) { p.came.Add(1) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sw.Close()) }()
	if err := sw.Connect(ctx); err != nil {
		return err
	}
	// The last of them has joined: the next ones are due when a second, or what Churn below 1 makes of it, is over.
	rest, cancel := context.WithTimeout(ctx, time.Duration(float64(time.Second)/o.Churn))
	defer cancel()
	return sw.Run(rest)
}
