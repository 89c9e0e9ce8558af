//go:build linux

package bench

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/target"
)

// Options of a run. The zero value is not ready; see parse for the defaults.
type Options struct {
	Targets  string        `json:"targets"`  // comma-separated; the first is the one ratios are to
	Gatecast string        `json:"gatecast"` // path of the binary
	Loops    int           `json:"loops"`    // event loops of targets that let one choose
	Conns    int           `json:"conns"`
	Rate     float64       `json:"rate"`   // publications (connect: handshakes) due a second; open loop
	Window   int           `json:"window"` // publications (connect: handshakes) in flight; closed loop. 0 = open
	Size     int           `json:"size"`   // bytes of a payload
	Warmup   time.Duration `json:"warmup_ns"`
	Duration time.Duration `json:"duration_ns"`
	Settle   time.Duration `json:"settle_ns"` // idle: between the last login and the first reading
	Repeat   int           `json:"repeat"`
	Patience time.Duration `json:"patience_ns"` // how long nothing may arrive before what is missing counts as lost
	MaxLag   time.Duration `json:"max_lag_ns"`  // p99 of the generator's own lag in a valid run
	P99      time.Duration `json:"p99_ns"`      // threshold; 0 = none
	Out      string        `json:"out"`         // directory for result.json and the rest; "" = none

	groups int // tests only: more than one group
}

// usageError is a wrong command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// parse reads the flags of a scenario.
func parse(s *scenario, args []string, stderr io.Writer) (Options, error) {
	o := Options{groups: 1}
	f := flag.NewFlagSet("gatecast bench "+s.name, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.Targets, "target", "raw,gatecast", "targets, measured in turns; ratios are to the first")
	f.StringVar(&o.Gatecast, "gatecast", "", "gatecast `binary` to measure (default: the one beside this program, or in PATH)")
	f.IntVar(&o.Loops, "loops", runtime.NumCPU(), "event loops of every target")
	f.IntVar(&o.Conns, "conns", s.conns, "connections, all in one group")
	f.Float64Var(&o.Rate, "rate", s.rate, "open loop: publications (connect: handshakes) due a second")
	f.IntVar(&o.Window, "window", s.window, "closed loop: publications (connect: handshakes) in flight, instead of -rate")
	f.IntVar(&o.Size, "size", 100, fmt.Sprintf("payload `bytes`, at least %d", ledger.StampSize))
	f.DurationVar(&o.Warmup, "warmup", time.Second, "time before measuring begins")
	f.DurationVar(&o.Duration, "duration", 5*time.Second, "time measured (connect: as long as it takes)")
	f.DurationVar(&o.Settle, "settle", 5*time.Second, "idle: rest before measuring begins")
	f.IntVar(&o.Repeat, "repeat", 5, "times each target is measured")
	f.DurationVar(&o.Patience, "patience", 5*time.Second, "silence after which missing messages count as lost")
	f.DurationVar(&o.MaxLag, "max-lag", time.Millisecond, "p99 of the generator's lag above which the run is invalid")
	f.DurationVar(&o.P99, "p99", 0, "exit 1 if a target's p99 latency is above; 0 = no threshold")
	f.StringVar(&o.Out, "out", "", "`directory` for result.json, bench.txt, table.txt and .hlog files")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, &usageError{err.Error()}
	}
	if f.NArg() > 0 {
		return o, &usageError{fmt.Sprintf("unexpected argument %q; flags begin with -", f.Arg(0))}
	}
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["rate"] && given["window"] {
		return o, &usageError{"-rate is the open loop, -window the closed one; give one of them"}
	}
	if given["window"] {
		o.Rate = 0
	}
	if given["rate"] {
		o.Window = 0
	}
	return o, o.check()
}

// check says what is wrong with the options.
func (o *Options) check() error {
	switch {
	case o.Conns < 1:
		return &usageError{"-conns must be at least 1"}
	case o.Repeat < 1:
		return &usageError{"-repeat must be at least 1"}
	case o.Rate < 0 || o.Window < 0 || o.Rate == 0 && o.Window == 0:
		return &usageError{"-rate or -window must be above 0"}
	case o.Size < ledger.StampSize:
		return &usageError{fmt.Sprintf("-size must be at least %d: every payload carries a stamp", ledger.StampSize)}
	case o.Duration <= 0:
		return &usageError{"-duration must be above 0"}
	}
	if _, err := target.Find(o.Targets); err != nil {
		return &usageError{err.Error()}
	}
	return raiseFiles(o.Conns)
}

// spareFiles is what a process needs beside its sockets.
const spareFiles = 64

// raiseFiles raises the limit of descriptors, which targets inherit, and fails if it is too low for conns.
func raiseFiles(conns int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Max < uint64(conns+spareFiles) {
		return fmt.Errorf("%d connections need %d open files and the limit is %d; raise it (ulimit -Hn), or lower -conns", conns, conns+spareFiles, limit.Max)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}

// selfPID is the harness.
var selfPID = os.Getpid()
