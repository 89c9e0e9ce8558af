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

	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/raw"
	"github.com/gatecast/gatecast/bench/swarm"
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
	return &rawInstance{p, addr}, nil
}

type rawInstance struct {
	*process
	addr netip.AddrPort
}

// Addr is where it listens.
func (r *rawInstance) Addr() netip.AddrPort { return r.addr }

// Version is empty: it is part of the harness.
func (r *rawInstance) Version() string { return "" }

// Members say nothing.
func (r *rawInstance) Members() swarm.Protocol { return RawProtocol{Host: r.addr.String()} }

// Publisher sends payloads as they are.
func (r *rawInstance) Publisher() load.Protocol { return RawProtocol{Host: r.addr.String()} }

// RawProtocol is the absence of one: what is published is what is delivered.
type RawProtocol struct{ Host string }

// Request upgrades at the root.
func (p RawProtocol) Request(int) []byte { return frame.Request(p.Host, "/") }

// Hello says nothing.
func (RawProtocol) Hello(int) []byte { return nil }

// Hear ignores what has no stamp.
func (RawProtocol) Hear([]byte) swarm.Heard { return swarm.Heard{} }

// PublisherRequest upgrades at the publisher's path.
func (p RawProtocol) PublisherRequest() []byte { return frame.Request(p.Host, "/publish") }

// PublisherGreeted is false: the upgrade is all.
func (RawProtocol) PublisherGreeted() bool { return false }

// Publish sends the payload itself.
func (RawProtocol) Publish(dst []byte, _ uint32, payload []byte) []byte {
	return append(dst, payload...)
}

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
