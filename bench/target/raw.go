//go:build linux

package target

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/raw"
)

// RawCommand is the word on our own command line that makes a process a raw server; see [ServeRaw].
const RawCommand = "raw-server"

// rawTarget is package raw in a process of its own.
type rawTarget struct{ batch bool }

// Name is raw or raw-batch.
func (t rawTarget) Name() string {
	if t.batch {
		return "raw-batch"
	}
	return "raw"
}

// About says what it does.
func (t rawTarget) About() string {
	if t.batch {
		return "the yardstick for throughput: messages read together go out in one sendto a member"
	}
	return "the yardstick: nothing but one sendto a member and message"
}

// Cannot is what needs more than sendto.
func (t rawTarget) Cannot(o Options) string {
	switch {
	case o.Nodes > 1:
		return "it is one process"
	case o.Moves:
		return "its members stay in their groups"
	}
	return ""
}

// Start runs this program again as a raw server.
func (t rawTarget) Start(ctx context.Context, o Options) (Instance, error) {
	r := &rawInstance{target: t, opts: o, addr: netip.MustParseAddrPort("127.0.0.1:0")}
	if err := r.Restart(ctx, 0); err != nil {
		return nil, err
	}
	return r, nil
}

// Restart implements [Restarter].
func (r *rawInstance) Restart(ctx context.Context, _ int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := startAnnounced(exec.Command(self, RawCommand, "-addr", r.addr.String(), "-loops", strconv.Itoa(r.opts.workers()),
		"-batch="+strconv.FormatBool(r.target.batch)))
	if err != nil {
		return err
	}
	addr, _, err := p.address(ctx)
	if err != nil {
		return err
	}
	r.process, r.addr = p.process, addr
	return nil
}

// Kill implements [Restarter].
func (r *rawInstance) Kill(int) error { return r.process.kill() }

// Drain implements [Restarter].
func (r *rawInstance) Drain(int) error { return r.Stop() }

type rawInstance struct {
	*process
	target rawTarget
	opts   Options
	addr   netip.AddrPort // the same after a restart
}

// Addrs is where it listens.
func (r *rawInstance) Addrs() []netip.AddrPort { return []netip.AddrPort{r.addr} }

// Spec is no protocol.
func (r *rawInstance) Spec() codec.Spec {
	return codec.Spec{Codec: "raw", Host: r.addr.String(), Speaks: r.opts.Speaks}
}

// Version is empty: it is part of the harness.
func (r *rawInstance) Version() string { return "" }

// ServeRaw is the process of a raw server: it prints its address and serves until ctx ends.
func ServeRaw(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(RawCommand, flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := netip.MustParseAddrPort("127.0.0.1:0")
	flags.TextVar(&listen, "addr", listen, "address to listen on; port 0 = any")
	loops := flags.Int("loops", 1, "event loops")
	batch := flags.Bool("batch", false, "send messages that were read together in one sendto")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := raw.Listen(raw.Options{Addr: listen, Loops: *loops, Batch: *batch})
	if err != nil {
		return err
	}
	addr, err := s.Addr()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, addr); err != nil {
		return err
	}
	return s.Serve(ctx)
}
