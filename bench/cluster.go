//go:build linux

package bench

import (
	"context"
	"time"

	"github.com/gatecast/gatecast/bench/result"
)

// cluster publishes on the first node of several to members on all of them, as evenly as they can be divided. What a message has to
// go through between nodes shows in the difference between the members of the publisher's node and the others.
func cluster() *scenario {
	return &scenario{
		name: "cluster", about: "several nodes: published on one, received on all", run: acrossNodes, leastNodes: 2,
		takes: append([]string{"nodes"}, publishing...), cost: "server-ns/delivery",
		defaults: with(func(o *result.Options) { o.Targets, o.Nodes, o.Rate = []string{"nats", "gatecast"}, 3, 20 }),
	}
}

func acrossNodes(ctx context.Context, s *site) (*result.Run, error) {
	tally, run, err := s.deliver(ctx)
	if err != nil || tally.Near == nil || len(run.Faults) > 0 {
		return run, err
	}
	run.Latency("near", tally.Near, false)
	run.Latency("far", tally.Far, true)
	near, far := tally.Near.ValueAtQuantile(50), tally.Far.ValueAtQuantile(50)
	run.Compare("added-median-ns", float64(time.Duration(far-near)))
	return run, nil
}

// recovery waits for the feature.
func recovery() *scenario {
	return &scenario{
		name: "recovery", about: "connections that were away get what they missed; not yet: gatecast has no durable groups", run: fanout,
		cost: "server-ns/delivery", defaults: common, missing: "gatecast has no durable groups yet",
	}
}
