//go:build linux

package compare

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/gatecast/gatecast/bench/result"
)

// Pairs is how many runs of target and raw, one after the other, a new measurement for a gate has at least.
const Pairs = 7

// DefaultTolerance is how much worse a ratio may be: twice what the same server differs by between runs.
const DefaultTolerance = 0.10

// GateOptions say what a gate lets pass. The zero value tolerates nothing.
type GateOptions struct {
	Tolerance float64  // share by which a ratio may be worse than the baseline's: 0.1 is 10 %
	Metric    string   // "" = the cost of each result
	Targets   []string // to look at; none = all but the first
}

// Gate holds a new measurement against a baseline, by ratios to the first target only. missed names what got worse by more than the
// tolerance and not by chance. An error is an [InvalidError] if one of the documents proves nothing, or too few repeats were made;
// otherwise the two have nothing to compare.
func Gate(baseline, now *result.Document, o GateOptions) (missed []string, err error) {
	checks, err := gate(baseline, now, o)
	for _, c := range checks {
		if c.missed(o) {
			missed = append(missed, c.text(o))
		}
	}
	return missed, err
}

// gateCheck is one target in one result.
type gateCheck struct {
	comparison // of ratios
	title      string
	target     string
	first      string
}

func (c gateCheck) missed(o GateOptions) bool { return c.worse() > o.Tolerance && c.differs() }

// text says it all in a line.
func (c gateCheck) text(o GateOptions) string {
	change := fmt.Sprintf("%.1f %% worse", 100*c.worse())
	if c.worse() <= 0 {
		change = fmt.Sprintf("%.1f %% better", -100*c.worse())
	}
	return fmt.Sprintf("%s: %s: %s is %s that of %s, in the baseline %s: %s, allowed %g %% (p=%.3f, %d and %d pairs)",
		c.title, c.target, result.BareName(c.metric), times(c.now), c.first, times(c.old), change, 100*o.Tolerance, c.p, c.n, c.m)
}

func gate(baseline, now *result.Document, o GateOptions) (checks []gateCheck, err error) {
	for _, d := range []struct {
		name string
		doc  *result.Document
	}{{"the baseline", baseline}, {"the new result", now}} {
		if err := Check(d.doc); err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		if d.doc.Partial {
			return nil, &InvalidError{d.name + " is partial: it ended before all runs were made"}
		}
	}
	for _, a := range baseline.Results {
		b := find(now, a.Title)
		if b == nil {
			return nil, fmt.Errorf("the new result has no %q, and the baseline does; make a new baseline if that is meant", a.Title)
		}
		if names := unlike(a.Options, b.Options); len(names) > 0 {
			return nil, fmt.Errorf("%s: not the load of the baseline: %s", a.Title, strings.Join(names, "; "))
		}
		more, err := gateResult(a, b, o)
		if err != nil {
			return nil, err
		}
		checks = append(checks, more...)
	}
	switch {
	case len(checks) > 0:
		return checks, nil
	case len(o.Targets) > 0:
		return nil, fmt.Errorf("the baseline has no %s with a target %s", o.metric(), strings.Join(o.Targets, " or "))
	}
	return nil, fmt.Errorf("the baseline has no %s of two targets: a gate needs a first one, such as raw, to go by", o.metric())
}

func (o GateOptions) metric() string {
	if o.Metric == "" {
		return "cost"
	}
	return o.Metric
}

func gateResult(a, b *result.Result, o GateOptions) (checks []gateCheck, err error) {
	metric := o.Metric
	if metric == "" {
		metric = a.Cost
	}
	first := base(a)
	if other := base(b); other != first {
		return nil, fmt.Errorf("%s: ratios are to %s in the baseline and to %s in the new result", a.Title, first, other)
	}
	for _, target := range a.Targets() {
		if target == first || len(o.Targets) > 0 && !slices.Contains(o.Targets, target) {
			continue
		}
		old, now := a.Ratios(metric, target, first), b.Ratios(metric, target, first)
		if len(old) == 0 && o.Metric != "" {
			continue // a metric that this scenario does not have
		}
		c := gateCheck{compare(metric, old, now), a.Title, target, first}
		switch {
		case len(old) == 0 || len(now) == 0:
			return nil, fmt.Errorf("%s: %s has no %s beside one of %s", a.Title, target, metric, first)
		case len(now) < Pairs:
			return nil, &InvalidError{fmt.Sprintf("%s: %d pairs of %s and %s; a gate needs %d (-repeat %d)",
				a.Title, len(now), first, target, Pairs, Pairs)}
		case c.few:
			return nil, &InvalidError{fmt.Sprintf("%s: the baseline has %d pairs of %s and %s, too few to tell anything by; "+
				"measure it with -repeat %d", a.Title, len(old), first, target, Pairs)}
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// Measure measures what a document holds again, with the same options but [Pairs] repeats.
type Measure func(ctx context.Context, baseline *result.Document) (*result.Document, error)

// RunGate is the command gate. measure is not called when a document to compare is given, and may be nil
// where nothing can be measured. code is the exit code; err is nil when everything
// was said.
func RunGate(ctx context.Context, args []string, measure Measure, stdout, stderr io.Writer) (code int, err error) {
	f := flag.NewFlagSet("gatecast bench gate", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "Usage: gatecast bench gate -baseline OLD.json [flags] [NEW.json]\n\n"+
			"Exits 1 if a ratio to the first target is worse than the baseline's, and not by chance. Without NEW.json it measures\n"+
			"anew what the baseline holds, %d times.\n\n", Pairs)
		f.PrintDefaults()
	}
	path := f.String("baseline", "", "`file` to compare with: a result.json, or its directory")
	tolerance := f.String("tolerance", "10%", "how much worse a ratio may be: 10% or 0.1")
	metric := f.String("metric", "", "`metric` to look at (default: the cost of each scenario)")
	targets := f.String("target", "", "targets to look at, with commas between them (default: all but the first)")
	if err := f.Parse(args); err != nil {
		return exitError, err
	}
	o := GateOptions{Metric: *metric}
	if o.Tolerance, err = parseShare(*tolerance); err != nil {
		return exitError, fmt.Errorf("-tolerance: %w", err)
	}
	if *targets != "" {
		o.Targets = strings.Split(*targets, ",")
	}
	if *path == "" {
		return exitError, errors.New("gate needs a baseline: gatecast bench gate -baseline OLD.json")
	}
	if f.NArg() > 1 {
		return exitError, fmt.Errorf("unexpected argument %q: gate compares one new result", f.Arg(1))
	}
	baseline, err := Read(*path)
	if err != nil {
		return codeOf(err), err
	}
	var now *result.Document
	switch {
	case f.NArg() == 1:
		now, err = Read(f.Arg(0))
	case measure == nil:
		return exitError, errors.New("gate cannot measure here; give it the new result: gatecast bench gate -baseline OLD.json NEW.json")
	default:
		now, err = measure(ctx, baseline)
	}
	if err != nil {
		return codeOf(err), err
	}
	return judge(stdout, baseline, now, o)
}

// judge prints every check.
func judge(w io.Writer, baseline, now *result.Document, o GateOptions) (code int, err error) {
	checks, err := gate(baseline, now, o)
	if err != nil {
		return codeOf(err), err
	}
	for _, c := range checks {
		word := "ok    "
		switch {
		case c.missed(o):
			word, code = "MISSED", exitMissed
		case c.worse() > o.Tolerance: // but it may be chance
			word = "unsure"
		}
		if _, err := fmt.Fprintln(w, word, c.text(o)); err != nil {
			return exitError, err
		}
	}
	return code, nil
}

// parseShare reads 10% or 0.1.
func parseShare(s string) (float64, error) {
	number, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v < 100) {
		return 0, fmt.Errorf("%q is no share; write 10%% or 0.1", s)
	}
	return v, nil
}
