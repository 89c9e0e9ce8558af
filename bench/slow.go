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
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/result"
)

// slow is a fanout in three phases of equal length: in the second, a share of the receivers does not read. What the others wait then
// is held against what they waited before. The slow ones may lose messages or be closed, both counted, but what does reach them must be
// right. Messages are large, so that buffers fill within a fraction of the phase.
func slow() *scenario {
	return &scenario{
		name: "slow", about: "a fanout in which some receivers stop reading for a third of the time", run: slowly,
		takes: append([]string{"slow", "policy", "groups", "per-conn"}, without(publishing, "window")...),
		cost:  "during/before",
		defaults: with(func(o *result.Options) {
			o.Conns, o.Rate, o.Size, o.Slow, o.Duration = 500, 50, 6000, 0.1, 9*time.Second
		}),
	}
}

// slowPolicies are those of gatecast's [[groups]] slow.
var slowPolicies = []string{"close", "drop_oldest", "drop_newest", "latest"}

// slowly runs it.
func slowly(ctx context.Context, s *site) (run *result.Run, err error) {
	id := rand.Uint32()
	how := crew.Slow{Share: s.o.Slow, Phase: s.o.Duration / 3}
	d, slowSizes, slowOnes := &delivery{site: s, sizes: make([]int, s.o.Groups), each: "delivery"}, make([]int, s.o.Groups), 0
	for i := range s.o.Conns {
		sizes := d.sizes
		if how.Is(i) {
			slowOnes++
			sizes = slowSizes
		}
		for _, g := range s.plan().Of(i) {
			sizes[g]++
		}
	}
	if slowOnes == 0 || slowOnes == s.o.Conns {
		return nil, fmt.Errorf("-slow %g of %d connections are %d; it takes slow ones and others", s.o.Slow, s.o.Conns, slowOnes)
	}
	l, err := crew.Open(crew.Options{
		Addrs: s.in.Addrs(), Spec: s.in.Spec(), Plan: s.plan(), Count: s.o.Conns, Run: id, Inflight: loginsInFlight, Slow: &how,
	})
	if err != nil {
		return nil, err
	}
	d.crew = l
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
	d.rest = func() bool { // the slow ones have caught up, or nothing more comes
		state := l.State()
		return state.Err != nil || l.SlowDelivered() >= deliveries(pub.Sent(), slowSizes) || state.Quiet > s.o.Patience
	}
	tally, m, err := d.publish(ctx)
	if err != nil {
		return nil, err
	}
	run = d.result(tally, m)
	if len(m.seconds) == 0 {
		return run, nil // nothing was measured, which is a fault by now
	}
	others := l.Others()
	for i, name := range []string{"before", "during", "after"} {
		run.Latency(name, others[i], name == "during")
	}
	if before := others[0].ValueAtQuantile(99); before > 0 {
		run.Compare("during/before", float64(others[1].ValueAtQuantile(99))/float64(before))
	}
	peak := slices.MaxFunc(m.seconds, func(a, b reading) int { return int(a.server.RSS - b.server.RSS) })
	run.Compare("rss-peak-B", float64(peak.server.RSS))
	run.Add("slow", float64(slowOnes))
	run.Add("slow-closed", float64(l.Closed()))
	run.Add("slow-lost", float64(tally.Counts.Excused))
	return run, nil
}
