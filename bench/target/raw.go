//go:build linux

package target

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"

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
	case o.HTTP:
		return "it is published to over a socket only"
	}
	return ""
}

// Start runs this program again as a raw server.
func (t rawTarget) Start(ctx context.Context, o Options) (Instance, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, RawCommand, "-loops", strconv.Itoa(max(o.Loops, 1)), "-batch="+strconv.FormatBool(t.batch))
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd.Stdout = w
	p, err := start(cmd)
	_ = w.Close()
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(r).ReadString('\n')
	addr, parseErr := netip.ParseAddrPort(strings.TrimSpace(line))
	if err := errors.Join(err, parseErr); err != nil {
		return nil, errors.Join(fmt.Errorf("the raw server did not say where it listens: %w", err), p.Stop())
	}
	return &rawInstance{p, addr, o.Speaks}, nil
}

type rawInstance struct {
	*process
	addr   netip.AddrPort
	speaks bool
}

// Addrs is where it listens.
func (r *rawInstance) Addrs() []netip.AddrPort { return []netip.AddrPort{r.addr} }

// Spec is no protocol.
func (r *rawInstance) Spec() codec.Spec {
	return codec.Spec{Codec: "raw", Host: r.addr.String(), Speaks: r.speaks}
}

// Version is empty: it is part of the harness.
func (r *rawInstance) Version() string { return "" }

// ServeRaw is the process of a raw server: it prints its address and serves until ctx ends.
func ServeRaw(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(RawCommand, flag.ContinueOnError)
	flags.SetOutput(stderr)
	loops := flags.Int("loops", 1, "event loops")
	batch := flags.Bool("batch", false, "send messages that were read together in one sendto")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := raw.Listen(raw.Options{Addr: netip.MustParseAddrPort("127.0.0.1:0"), Loops: *loops, Batch: *batch})
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
