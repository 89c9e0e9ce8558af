//go:build linux

package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/gatecast/gatecast/bench/agent"
	"github.com/gatecast/gatecast/bench/compare"
	"github.com/gatecast/gatecast/bench/flooder"
	"github.com/gatecast/gatecast/bench/live"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// Exit codes of Main.
const (
	exitOK      = 0 // measured
	exitMissed  = 1 // measured, and a threshold was missed
	exitInvalid = 2 // it proves nothing: something lost, or the harness was too slow
	exitError   = 3 // not measured
)

// minProcs is how many Ps the harness has at least.
const minProcs = 8

// errInterrupted is the cause of a context that a signal ended.
var errInterrupted = errors.New("interrupted")

// Main is the program: it runs one command line and returns the exit code. Signals end it in order.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() { // ends with ctx
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	code, err := run(ctx, args, stdout, stderr)
	var usage *usageError
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "gatecast bench: %v\nSee: gatecast bench help\n", err)
		return exitError
	case err != nil:
		fmt.Fprintln(stderr, "gatecast bench:", err)
		return exitError
	}
	return code
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int, err error) {
	if len(args) == 0 {
		return exitError, &usageError{"which scenario?"}
	}
	switch word, rest := args[0], args[1:]; word {
	case "help", "-h", "-help", "--help":
		help(stdout)
		return exitOK, nil
	case "suite":
		return runSuite(ctx, rest, stdout, stderr)
	case "compare":
		return compare.Run(rest, stdout, stderr)
	case "gate":
		o := settings{binaries: make(map[string]string)}
		again := func(ctx context.Context, baseline *result.Document) (*result.Document, error) {
			return o.repeat(ctx, baseline, rest, stderr)
		}
		return compare.RunGate(ctx, rest, o.declarePrograms, again, stdout, stderr)
	case agent.Command:
		return exitOK, joinAgents(ctx, args[1:], stderr)
	case flooder.Command:
		return exitOK, flooder.Serve(ctx, os.Stdin, stdout)
	case selfcheckCommand:
		return selfcheck(ctx, rest, stdout, stderr)
	case target.BareCommand:
		return exitOK, target.ServeBare(ctx, rest, stdout, stderr)
	case target.RawCommand:
		return exitOK, target.ServeRaw(ctx, rest, stdout, stderr)
	case target.NATSCommand:
		return exitOK, target.ServeNATS(ctx, rest, stdout, stderr)
	default:
		return runScenario(ctx, word, rest, stdout, stderr)
	}
}

// runScenario measures one scenario.
func runScenario(ctx context.Context, name string, args []string, stdout, stderr io.Writer) (code int, err error) {
	s, err := findScenario(name)
	if err != nil {
		return exitError, err
	}
	o, err := parse(s, args, stderr)
	if err != nil {
		return exitError, err
	}
	targets, err := target.Find(o.Targets)
	if err != nil {
		return exitError, &usageError{err.Error()}
	}
	moreProcs()
	if err := o.gather(ctx, stderr); err != nil {
		return exitError, err
	}
	defer func() { err = errors.Join(err, o.dismiss()) }()
	d := newDocument(append([]string{name}, args...))
	view := live.New(stderr, live.IsTerminal(stderr))
	view.Begin(o.Repeat * len(targets))
	r, failure := measure(ctx, s, o, targets, view)
	view.End()
	d.Results = []*result.Result{r}
	return conclude(d, o.out, failure, stdout)
}

// moreProcs sets GOMAXPROCS: a goroutine back from a system call needs a P; with one a core, the publisher would wait for a P
// whose thread the kernel has put aside.
func moreProcs() { runtime.GOMAXPROCS(max(minProcs, runtime.GOMAXPROCS(0))) }

// conclude prints and saves a document, a partial one too, and finds the exit code.
func conclude(d *result.Document, out string, failure error, stdout io.Writer) (int, error) {
	finish(d)
	if len(d.Results) > 0 {
		failure = errors.Join(failure, writeTables(stdout, d, false), saveTo(out, d))
	}
	switch {
	case failure != nil:
		return exitError, failure
	case !d.Valid:
		return exitInvalid, nil
	case len(d.Missed) > 0:
		return exitMissed, nil
	}
	return exitOK, nil
}

// finish completes a document when nothing more is measured.
func finish(d *result.Document) {
	d.Seconds = time.Since(d.Began).Seconds()
	d.Conclude()
	d.Results = slices.DeleteFunc(d.Results, func(r *result.Result) bool { return len(r.Runs)+len(r.Discarded) == 0 })
}

// saveTo saves a document that holds something in -out, if that was given.
func saveTo(out string, d *result.Document) error {
	if out == "" || len(d.Results) == 0 {
		return nil
	}
	if err := save(out, d); err != nil {
		return fmt.Errorf("save the result: %w", err)
	}
	return nil
}

func help(w io.Writer) {
	fmt.Fprint(w, "gatecast bench: measure a WebSocket pub/sub server, with proof that nothing was lost\n\nUsage: gatecast bench SCENARIO [flags]\n\n")
	for _, s := range scenarios() {
		about := s.about
		if s.missing != "" {
			about += " (not yet: " + s.missing + ")"
		}
		fmt.Fprintf(w, "  %-10s %s\n", s.name, about)
	}
	fmt.Fprint(w, "\nIs the yardstick one: gatecast bench selfcheck [flags]\n")
	fmt.Fprint(w, "\nSeveral at once: gatecast bench suite NAME [flags]\n\n")
	for _, s := range suites() {
		fmt.Fprintf(w, "  %-10s %s\n", s.name, s.about)
	}
	fmt.Fprint(w, "\nResults: gatecast bench compare OLD NEW · gatecast bench gate -baseline OLD [NEW]\nMore machines: gatecast bench agent -h\n\nTargets (-target A,B; ratios are to the first):\n\n")
	for _, t := range target.All() {
		fmt.Fprintf(w, "  %-12s %s\n", t.Name(), t.About())
	}
	fmt.Fprint(w, "\nFlags: gatecast bench SCENARIO -h. Exit codes: 0 measured, 1 threshold missed, 2 invalid run, 3 error.\n")
}
