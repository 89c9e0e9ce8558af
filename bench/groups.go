//go:build linux

package bench

import "github.com/gatecast/gatecast/bench/result"

// groups publishes to many groups that overlap, as rooms do: by default 5,000 connections, each in 4 of 1,000 groups of 20, and 1,000
// publications a second, which make 20,000 deliveries: harness and server fit in two cores.
func groups() *scenario {
	return &scenario{
		name: "groups", about: "one publisher, many groups that overlap: every message to the 20 of its group", run: fanout,
		takes:    append([]string{"groups", "per-conn", "zipf"}, publishing...),
		cost:     "server-ns/delivery",
		defaults: with(func(o *result.Options) { o.Conns, o.Groups, o.PerConn, o.Rate = 5000, 1000, 4, 1000 }),
	}
}
