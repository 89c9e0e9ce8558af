//go:build linux

package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/plan"
	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/swarm"
	"github.com/gatecast/gatecast/bench/target"
)

// selfcheckCommand proves that the yardstick is one: raw costs what a bare loop of sendto over the same sockets costs.
const selfcheckCommand = "selfcheck"

// tolerance is how far raw's cost may be from the bare loop's, and the share by which pairs may differ for the median to mean that.
const tolerance = 0.05

// yardstick is what a selfcheck asks for.
type yardstick struct {
	conns, rounds, pairs, size int
	rate                       float64
}

func parseYardstick(args []string, stderr io.Writer) (y yardstick, err error) {
	f := flag.NewFlagSet("gatecast bench "+selfcheckCommand, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "Usage: gatecast bench %s [flags]\n\nProves that raw costs what a bare loop of sendto costs, within %.0f %%: exit 0 if so, 1 if not, 2 if the machine is too noisy to tell.\n\n", selfcheckCommand, 100*tolerance)
		f.PrintDefaults()
	}
	f.IntVar(&y.conns, "conns", 1000, "receivers")
	f.IntVar(&y.rounds, "rounds", 60, "messages to each receiver")
	f.Float64Var(&y.rate, "rate", 20, "messages to each receiver a second")
	f.IntVar(&y.size, "size", 100, "payload `bytes`")
	f.IntVar(&y.pairs, "pairs", 7, "times both are measured, in turns")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return y, err
		}
		return y, &usageError{err.Error()}
	}
	switch {
	case f.NArg() > 0:
		return y, &usageError{fmt.Sprintf("unexpected argument %q; flags begin with -", f.Arg(0))}
	case y.conns < 1 || y.rounds < 1 || y.rate <= 0 || y.pairs < 1:
		return y, &usageError{"-conns, -rounds, -rate and -pairs must be above 0"}
	case y.size < ledger.StampSize:
		return y, &usageError{fmt.Sprintf("-size must be at least %d: every payload carries a stamp", ledger.StampSize)}
	}
	return y, proc.RaiseFiles(y.conns)
}

// selfcheck measures both in turns, and every other pair the other way round.
func selfcheck(ctx context.Context, args []string, stdout, stderr io.Writer) (int, error) {
	y, err := parseYardstick(args, stderr)
	if err != nil {
		return exitError, err
	}
	moreProcs()
	var ratios []float64
	for pair := range y.pairs {
		cost := make(map[string]float64)
		order := []string{"raw", "bare"}
		if pair%2 == 1 {
			slices.Reverse(order)
		}
		for _, name := range order {
			if cost[name], err = y.measure(ctx, name == "bare"); err != nil {
				return exitError, fmt.Errorf("selfcheck of %s: %w", name, err)
			}
		}
		ratio := cost["raw"] / cost["bare"]
		ratios = append(ratios, ratio)
		fmt.Fprintf(stderr, "%d/%d raw %.0f ns/sendto, bare %.0f ns/sendto, ratio %.3f\n", pair+1, y.pairs, cost["raw"], cost["bare"], ratio)
	}
	code, verdict := judgeYardstick(ratios)
	fmt.Fprintln(stdout, verdict)
	return code, nil
}

// judgeYardstick says what the ratios of pairs prove. The spread is where the median of many more pairs would lie, six times of seven:
// between the second and the sixth of seven. One pair that something disturbed says nothing.
func judgeYardstick(ratios []float64) (code int, verdict string) {
	sorted := slices.Sorted(slices.Values(ratios))
	n := float64(len(sorted))
	cut := max(0, int(n/2-0.75*math.Sqrt(n)))
	lo, hi := sorted[cut], sorted[len(sorted)-1-cut]
	median := result.Median(ratios)
	verdict = fmt.Sprintf("raw costs %.3f of a bare sendto loop: median of %d pairs, from %.3f to %.3f", median, len(ratios), lo, hi)
	off := max(median-1, 1-median)
	switch {
	case (hi-lo)/2 > tolerance*median:
		return exitInvalid, verdict + fmt.Sprintf("; they are too far apart to tell %.0f %%: try again on a quieter machine, or with more -pairs or -rounds", 100*tolerance)
	case off > tolerance:
		return exitMissed, verdict + fmt.Sprintf("; more than %.0f %% off", 100*tolerance)
	}
	return exitOK, verdict + fmt.Sprintf("; within %.0f %%", 100*tolerance)
}

// counter counts what arrives.
type counter struct{ n, last atomic.Int64 }

// Receive implements swarm.Receiver.
func (c *counter) Receive(_ int, _ ledger.Stamp, at int64) {
	c.n.Add(1)
	c.last.Store(at)
}

// measure is the CPU of a sendto in nanoseconds, of the bare loop or of raw with one loop.
func (y yardstick) measure(ctx context.Context, bare bool) (cost float64, err error) {
	in, err := y.start(ctx, bare)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Stop()) }()
	c, err := codec.Open(in.Spec())
	if err != nil {
		return 0, err
	}
	p, got := plan.Plan{Conns: y.conns, Groups: 1, PerConn: 1}, &counter{}
	sw, err := swarm.Open(swarm.Options{Addrs: in.Addrs(), Codec: c, Plan: p, Count: y.conns, Receiver: got})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, sw.Close()) }()
	if err := sw.Connect(ctx); err != nil {
		return 0, err
	}
	run, closer, err := y.rounder(ctx, in, c, p, bare)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closer()) }()

	receiving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- sw.Run(receiving) }() // ends with stop, or when a client fails
	defer func() {
		stop()
		err = errors.Join(err, <-ended)
	}()
	before, err := proc.Read(in.PIDs()...)
	if err != nil {
		return 0, err
	}
	got.last.Store(ledger.Now())
	if err := run(ctx); err != nil {
		return 0, err
	}
	if err := y.gather(ctx, got); err != nil {
		return 0, err
	}
	after, err := proc.Read(in.PIDs()...)
	if err != nil {
		return 0, err
	}
	return float64(after.Since(before).CPU) / float64(y.conns*y.rounds), nil
}

func (y yardstick) start(ctx context.Context, bare bool) (target.Instance, error) {
	if bare {
		return target.StartBare(ctx, y.conns, y.rounds, y.rate, y.size)
	}
	return target.Raw().Start(ctx, target.Options{Loops: 1, Nodes: 1, Conns: y.conns, PerConn: 1})
}

// rounder makes ready what begins the rounds: the publisher of raw, or the bare loop's signal.
func (y yardstick) rounder(ctx context.Context, in target.Instance, c codec.Codec, p plan.Plan, bare bool) (run func(context.Context) error, closer func() error, err error) {
	if bare {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", in.Addrs()[0].String())
		if err != nil {
			return nil, nil, err
		}
		run := func(context.Context) error {
			_, err := conn.Write([]byte{1})
			return err
		}
		return run, conn.Close, nil
	}
	pub, err := load.Open(ctx, load.Options{Addr: in.Addrs()[0], Codec: c, Plan: p, Run: rand.Uint32(), Size: y.size})
	if err != nil {
		return nil, nil, err
	}
	run = func(ctx context.Context) (err error) {
		load.Urgently(func() {
			err = pub.Open(ctx, load.Schedule{Start: ledger.Now(), Rate: y.rate}, y.rounds, func() error { return nil })
		})
		return err
	}
	return run, pub.Close, nil
}

// gather waits until all has arrived.
func (y yardstick) gather(ctx context.Context, got *counter) error {
	const patience = 10 * time.Second
	all := int64(y.conns) * int64(y.rounds)
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	for got.n.Load() < all {
		if ledger.Now()-got.last.Load() > int64(patience+time.Duration(1e9/y.rate)) {
			return fmt.Errorf("%d of %d messages arrived, and nothing more for %v", got.n.Load(), all, patience)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
