//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatecast/gatecast/bench/live"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// measure runs the scenario on every target in turns, A B A B, so that what changes on the machine meanwhile meets all alike.
// Each run has a server of its own. What was measured before an error is kept in the result.
func measure(ctx context.Context, s *scenario, o settings, targets []target.Target, view *live.View) (*result.Result, error) {
	r := &result.Result{Scenario: s.name, Title: s.title(o.Options), Cost: s.costOf(o.Options), Options: o.Options, Budgets: o.budgets}
	failure := s.refused(o, targets)
	for repeat := 1; repeat <= o.Repeat && failure == nil; repeat++ {
		for _, t := range targets {
			view.Run(r.Title, t.Name(), repeat, o.Repeat)
			run, err := measureOnce(ctx, s, o, t, repeat, r, view)
			if err != nil {
				failure = fmt.Errorf("%s on %s: %w", s.name, t.Name(), err)
				break
			}
			r.Runs = append(r.Runs, run)
			view.Done(progressLine(s, o.Options, run))
		}
	}
	if failure != nil {
		r.Partial, r.Failure = true, failure.Error()
	}
	r.Summarise()
	return r, failure
}

// refused says which target cannot run the scenario, before anything is started.
func (s *scenario) refused(o settings, targets []target.Target) error {
	for _, t := range targets {
		if why := t.Cannot(s.targetOptions(o)); why != "" {
			return fmt.Errorf("%s cannot run %s: %s", t.Name(), s.name, why)
		}
	}
	return nil
}

func (s *scenario) targetOptions(o settings) target.Options {
	t := target.Options{
		Loops: o.Loops, Nodes: o.Nodes, Conns: o.Conns, Groups: o.Groups, PerConn: o.PerConn, Login: o.Login, Users: o.Users, Personal: s.personal,
		HTTP: o.HTTP, Slow: o.Policy, Handshakes: o.Limit, Binaries: o.binaries,
	}
	if s.wants != nil {
		s.wants(&t)
	}
	return t
}

// measureOnce makes a run, again if the harness was at fault, until it is right or the retries are used up.
func measureOnce(ctx context.Context, s *scenario, o settings, t target.Target, repeat int, r *result.Result, view *live.View) (*result.Run, error) {
	for try := 0; ; try++ {
		run, err := measureOne(ctx, s, o, t, view)
		if err != nil {
			return nil, err
		}
		run.Repeat = repeat
		if len(run.Harness) == 0 || len(run.Faults) > 0 || try == o.Retries {
			return run, nil
		}
		r.Discarded = append(r.Discarded, run)
		view.Note(fmt.Sprintf("%d/%d %-10s made again: %s", repeat, o.Repeat, t.Name(), strings.Join(run.Harness, "; ")))
	}
}

func measureOne(ctx context.Context, s *scenario, o settings, t target.Target, view *live.View) (run *result.Run, err error) {
	view.Phase("start")
	in, err := t.Start(ctx, s.targetOptions(o))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Stop()) }()
	if run, err = s.run(ctx, &site{o: o.Options, in: in, personal: s.personal, host: o.host, view: view}); err != nil {
		return nil, err
	}
	run.Target, run.Version = t.Name(), in.Version()
	return run, nil
}

func progressLine(s *scenario, o result.Options, run *result.Run) string {
	line := fmt.Sprintf("%d/%d %-10s", run.Repeat, o.Repeat, run.Target)
	if faults := append(run.Faults, run.Harness...); len(faults) > 0 {
		return line + " INVALID: " + strings.Join(faults, "; ")
	}
	for _, name := range []string{s.cost, "response-p50-ns", "response-p99-ns"} {
		if v, ok := run.Value(name); ok {
			line += fmt.Sprintf("  %s %s", result.BareName(name), result.Human(name, v))
		}
	}
	const most = 3 // all are in the table
	for _, note := range run.Notes[max(0, len(run.Notes)-most):] {
		line += "  (" + note + ")"
	}
	return line
}

// newDocument begins a document.
func newDocument(args []string) *result.Document {
	return &result.Document{
		Schema: result.Schema, Command: append([]string{"gatecast", "bench"}, args...), Began: time.Now().UTC(),
		Environment: result.ReadEnvironment(),
	}
}
