//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatecast/gatecast/bench/target"
)

// measure runs the scenario on every target in turns, A B A B, so that what changes on the machine meanwhile meets all alike.
// Each run has a server of its own. What was measured before an error is kept in the result.
func measure(ctx context.Context, s *scenario, o Options, targets []target.Target, progress io.Writer) (*Result, error) {
	r := &Result{
		Schema: Schema, Scenario: s.name, Began: time.Now().UTC(), Environment: readEnvironment(), Options: o,
	}
	var failure error
	for repeat := 1; repeat <= o.Repeat && failure == nil; repeat++ {
		for _, t := range targets {
			run, err := measureOne(ctx, s, o, t)
			if err != nil {
				failure = fmt.Errorf("%s on %s: %w", s.name, t.Name(), err)
				break
			}
			run.Repeat = repeat
			r.Runs = append(r.Runs, run)
			fmt.Fprintln(progress, progressLine(s, o, run))
		}
	}
	r.Seconds = time.Since(r.Began).Seconds()
	r.Partial = failure != nil
	r.summarise()
	return r, failure
}

func measureOne(ctx context.Context, s *scenario, o Options, t target.Target) (run *Run, err error) {
	in, err := t.Start(ctx, target.Options{Loops: o.Loops, Gatecast: o.Gatecast})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Stop()) }()
	if run, err = s.run(ctx, o, in); err != nil {
		return nil, err
	}
	run.Target, run.Version = t.Name(), in.Version()
	return run, nil
}

func progressLine(s *scenario, o Options, run *Run) string {
	line := fmt.Sprintf("%d/%d %-10s", run.Repeat, o.Repeat, run.Target)
	if len(run.Faults) > 0 {
		return line + " INVALID: " + strings.Join(run.Faults, "; ")
	}
	for _, name := range []string{s.cost, "response-p50-ns", "response-p99-ns"} {
		if v, ok := run.value(name); ok {
			line += fmt.Sprintf("  %s %s", bareName(name), human(name, v))
		}
	}
	for _, note := range run.Notes {
		line += "  (" + note + ")"
	}
	return line
}
