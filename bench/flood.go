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
	"github.com/gatecast/gatecast/bench/flooder"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/result"
)

// flood is a fanout in three phases of equal length: in the second, strangers ask for handshakes, far more than the server is told to
// accept. What the receivers wait then is held against what they waited before. They lose nothing, as in any fanout.
func flood() *scenario {
	return &scenario{
		name: "flood", about: "a fanout in which, for a third of the time, handshakes are asked for at many times the limit", run: flooded,
		takes: append([]string{"flood", "limit", "groups", "per-conn"}, without(publishing, "window")...),
		cost:  "during/before",
		defaults: with(func(o *result.Options) {
			o.Conns, o.Rate, o.Limit, o.Flood, o.Duration = 500, 50, 200, 1000, 9*time.Second
		}),
	}
}

// flooded runs it.
func flooded(ctx context.Context, s *site) (run *result.Run, err error) {
	id, phase := rand.Uint32(), s.o.Duration/3
	l, err := crew.Open(crew.Options{
		Addrs: s.in.Addrs(), Spec: s.in.Spec(), Plan: s.plan(), Count: s.o.Conns, Run: id, Inflight: loginsInFlight,
		Rate: float64(s.o.Limit) / 2, // the receivers are no flood
		Slow: &crew.Slow{Phase: phase},
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
	pub, err := load.Open(ctx, load.Options{Addr: s.in.Addrs()[0], Codec: c, Plan: s.plan(), Run: id, Size: s.o.Size})
	if err != nil {
		return nil, err
	}
	d.pub = pub
	f, err := flooder.Start()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	o := flooder.Order{Addr: s.in.Addrs()[0], Requests: s.strangers(c), Rate: s.o.Flood, For: phase}
	var begun error
	d.began = func(from int64) {
		o.From = from + int64(phase)
		begun = f.Flood(o)
	}
	tally, m, err := d.publish(ctx)
	if err = errors.Join(begun, err); err != nil {
		return nil, err
	}
	counts, err := f.Wait(ctx)
	if err != nil {
		return nil, err
	}
	run = d.result(tally, m)
	if len(m.seconds) == 0 {
		return run, nil // nothing was measured, which is a fault by now
	}
	phases := l.Others()
	for i, name := range []string{"before", "during", "after"} {
		run.Latency(name, phases[i], name == "during")
	}
	if before := phases[0].ValueAtQuantile(99); before > 0 {
		run.Compare("during/before", float64(phases[1].ValueAtQuantile(99))/float64(before))
	}
	s.judgeFlood(run, counts)
	return run, nil
}

// maxStrangers is how many different handshakes a flood has.
const maxStrangers = 64

// strangers are handshakes of clients that are no receivers.
func (s *site) strangers(c codec.Codec) (requests [][]byte) {
	plan := s.plan()
	plan.Conns += maxStrangers
	for i := s.o.Conns; i < plan.Conns; i++ {
		requests = append(requests, c.Request(codec.Client{Index: i, Groups: plan.Of(i)}))
	}
	return requests
}

// judgeFlood says what became of the flood.
func (s *site) judgeFlood(run *result.Run, c flooder.Counts) {
	if c.Failed > 0 {
		run.Faults = append(run.Faults, fmt.Sprintf("%d of %d handshakes of the flood got no answer: %s", c.Failed, c.Due, c.Error))
	}
	most := float64(s.o.Limit) * (c.Took.Seconds() + 1) // and what of a second before was not used
	switch {
	case c.Refused == 0:
		run.Notes = append(run.Notes, fmt.Sprintf("all %d handshakes of the flood were accepted: the target has no limit", c.Accepted))
	case float64(c.Accepted) > most:
		run.Faults = append(run.Faults, fmt.Sprintf("%d handshakes were accepted in %.1f s, at most %.0f should have been", c.Accepted, c.Took.Seconds(), most))
	}
	run.Add("flood-due", float64(c.Due))
	run.Add("flood-accepted", float64(c.Accepted))
	run.Add("flood-refused", float64(c.Refused))
	run.Add("flooder-ns/handshake", float64(c.CPU)/float64(max(c.Due, 1)))
}
