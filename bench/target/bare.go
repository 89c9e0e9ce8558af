//go:build linux

package target

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"

	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/raw"
)

// BareCommand is the word on our own command line that makes a process a bare loop of sendto; see [ServeBare].
const BareCommand = "bare-sendto"

// Raw is the raw target.
func Raw() Target { return rawTarget{} }

// StartBare runs this program again as a bare loop for so many members, which sends them rounds messages of size bytes, rate a second.
// It is an [Instance] whose members connect as raw's do; the connection after them gives the signal with one byte.
func StartBare(ctx context.Context, members, rounds int, rate float64, size int) (Instance, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := startAnnounced(exec.Command(self, BareCommand, "-members", strconv.Itoa(members), "-rounds", strconv.Itoa(rounds),
		"-rate", strconv.FormatFloat(rate, 'g', -1, 64), "-size", strconv.Itoa(size)))
	if err != nil {
		return nil, err
	}
	addr, err := p.address(ctx)
	if err != nil {
		return nil, err
	}
	return &rawInstance{p.process, addr, false}, nil
}

// ServeBare is the process of a bare loop: it prints its address and runs until all is sent, or ctx ends.
func ServeBare(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(BareCommand, flag.ContinueOnError)
	flags.SetOutput(stderr)
	var o raw.BareOptions
	flags.IntVar(&o.Conns, "members", 1, "members")
	flags.IntVar(&o.Rounds, "rounds", 1, "messages to each")
	flags.Float64Var(&o.Rate, "rate", 1, "messages to each a second")
	size := flags.Int("size", ledger.StampSize, "bytes of a message")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.Frame = frame.AppendServer(nil, frame.Text, filler(*size))
	b, err := raw.ListenBare(o)
	if err != nil {
		return err
	}
	addr, err := b.Addr()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, addr); err != nil {
		return err
	}
	if err := b.Serve(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

// filler is a payload of size bytes with a stamp of no run.
func filler(size int) []byte {
	payload := ledger.Stamp{}.Append(nil)
	for len(payload) < size {
		payload = append(payload, 'x')
	}
	return payload
}
