//go:build linux

package bench

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// echo has every connection publish to a group of its own and get that back. Publications are due as a fanout's are, over all
// connections, write k by connection k mod N, and a thread of its own makes them: its lag is judged as a publisher's.
func echo() *scenario {
	return &scenario{
		name: "echo", about: "every connection publishes to itself: round trips", run: echoes,
		takes:    append([]string{"batch"}, without(publishing, "login", "users")...),
		cost:     "server-ns/message",
		defaults: with(func(o *result.Options) { o.Rate = 5000 }),
		complete: func(o *result.Options) { o.Groups = o.Conns },
		wants:    func(o *target.Options) { o.Speaks = true },
	}
}

// echoes runs it.
func echoes(ctx context.Context, s *site) (run *result.Run, err error) {
	id := rand.Uint32()
	c, err := codec.Open(s.in.Spec())
	if err != nil {
		return nil, err
	}
	l, err := crew.Open(crew.Options{
		Addrs: s.in.Addrs(), Spec: s.in.Spec(), Plan: s.plan(), Count: s.o.Conns, Run: id, Inflight: loginsInFlight, Single: true,
	})
	if err != nil {
		return nil, err
	}
	pub, err := load.OpenSpeakers(load.SpeakerOptions{
		Clients: s.o.Conns, Send: l.Send, Codec: c, Run: id, Size: s.o.Size, Batch: s.o.Batch,
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	d := &delivery{site: s, crew: l, pub: pub, sizes: s.plan().Sizes(), each: "message"}
	defer func() { err = errors.Join(err, d.close()) }()
	if _, err := d.crew.Connect(ctx); err != nil {
		return nil, err
	}
	tally, m, err := d.publish(ctx)
	if err != nil {
		return nil, err
	}
	return d.result(tally, m), nil
}
