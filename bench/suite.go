//go:build linux

package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/bench/compare"
	"github.com/gatecast/gatecast/bench/live"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// suite is several scenarios in one document.
type suite struct {
	name  string
	about string
	parts []part
}

// part is a scenario of a suite, with what differs from its defaults.
type part struct {
	scenario string
	change   func(o *result.Options)
	budgets  []result.Budget
}

func of(scenario string, change func(o *result.Options), budgets ...result.Budget) part {
	return part{scenario, change, budgets}
}

// What the rivals are: servers that hold a thousand connections with ease, and Python's, which get fewer and slower publications
// so that they keep up. Each table has the yardstick at the same load, for what sendto costs depends on how many sockets there are.
var (
	compiled = []string{"raw", "raw-batch", "gatecast", "nchan", "nats", "centrifuge", "ws", "socketio"}
	posters  = []string{"raw", "raw-batch", "gatecast", "nchan", "centrifuge"} // of them, those that take publications by HTTP
	python   = []string{"raw", "raw-batch", "gatecast", "daphne", "uvicorn"}
)

// suites is every suite there is.
func suites() []suite {
	return []suite{
		{"short", "fanout, idle and connect: gatecast against raw, in about three minutes", []part{
			of("fanout", func(o *result.Options) { o.Duration = 3 * time.Second }),
			of("fanout", func(o *result.Options) {
				o.Targets, o.Rate, o.Window, o.Duration = []string{"raw-batch", "gatecast"}, 0, 16, 3*time.Second
			}),
			of("connect", func(o *result.Options) { o.Conns = 3000 }),
			of("idle", func(o *result.Options) { o.Settle, o.Duration, o.Repeat = 2*time.Second, 3*time.Second, 3 }),
		}},
		{"engine", "the budgets of the socket engine, gatecast against raw; about 15 minutes, exit 1 if one is missed", engine()},
		{"strain", "what receivers wait beside slow ones and in a flood of handshakes; about 12 minutes, exit 1 if it is too long", strain()},
		{"rivals", "every rival that make bench-rivals installs: fanout, connect, idle; under 30 minutes", []part{
			of("fanout", func(o *result.Options) { o.Targets, o.Repeat, o.Duration = compiled, 3, 4*time.Second }),
			of("fanout", func(o *result.Options) {
				o.Targets, o.Repeat, o.Duration, o.Rate, o.Window = compiled, 3, 3*time.Second, 0, 16
			}),
			of("fanout", func(o *result.Options) {
				o.Targets, o.Repeat, o.Duration, o.HTTP = posters, 3, 4*time.Second, true
			}),
			of("fanout", func(o *result.Options) {
				o.Targets, o.Repeat, o.Duration, o.Conns, o.Rate = python, 3, 4*time.Second, 500, 4
			}),
			of("connect", func(o *result.Options) { o.Targets, o.Repeat, o.Conns = compiled, 3, 3000 }),
			of("connect", func(o *result.Options) { o.Targets, o.Repeat, o.Conns = python, 3, 500 }),
			of("idle", func(o *result.Options) {
				o.Targets, o.Repeat, o.Settle, o.Duration = compiled, 3, 3*time.Second, 3*time.Second
			}),
			of("idle", func(o *result.Options) {
				o.Targets, o.Repeat, o.Conns, o.Settle, o.Duration = python, 3, 500, 3*time.Second, 3*time.Second
			}),
		}},
	}
}

// runSuite measures a suite. A scenario that fails does not keep the others from being measured.
func runSuite(ctx context.Context, args []string, stdout, stderr io.Writer) (code int, err error) {
	s, o, err := parseSuite(args, stderr)
	if err != nil {
		return exitError, err
	}
	jobs, err := s.jobs(o)
	if err != nil {
		return exitError, err
	}
	moreProcs()
	d := newDocument(append([]string{"suite"}, args...))
	failure := measureAll(ctx, jobs, d, stderr)
	return conclude(d, o.out, failure, stdout)
}

// measureAll measures jobs into a document.
func measureAll(ctx context.Context, jobs []job, d *result.Document, stderr io.Writer) (failure error) {
	view, total := live.New(stderr, live.IsTerminal(stderr)), 0
	for _, j := range jobs {
		total += j.settings.Repeat * len(j.targets)
	}
	view.Begin(total)
	defer view.End()
	for _, j := range jobs {
		r, err := measure(ctx, j.scenario, j.settings, j.targets, view)
		d.Results = append(d.Results, r)
		if failure = errors.Join(failure, err); ctx.Err() != nil {
			break
		}
	}
	return failure
}

// repeat measures again what a document holds, for gate: the same loads, in more pairs, of the programs that o names.
func (o *settings) repeat(ctx context.Context, baseline *result.Document, args []string, stderr io.Writer) (*result.Document, error) {
	var jobs []job
	for _, r := range baseline.Results {
		sc, err := findScenario(r.Scenario)
		if err != nil {
			return nil, err
		}
		j := job{scenario: sc, settings: settings{Options: r.Options, binaries: o.binaries}}
		j.settings.Repeat = max(compare.Pairs, r.Options.Repeat)
		if j.settings.Procs != 1 || j.settings.Agents > 0 {
			return nil, fmt.Errorf("%s: gate measures with one process of receivers; give it the new result instead", r.Title)
		}
		if err := sc.check(&j.settings.Options); err != nil {
			return nil, err
		}
		if j.targets, err = target.Find(r.Options.Targets); err != nil {
			return nil, err
		}
		if err := sc.refused(j.settings, j.targets); err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	moreProcs()
	d := newDocument(append([]string{"gate"}, args...))
	failure := measureAll(ctx, jobs, d, stderr)
	finish(d)
	return d, errors.Join(failure, saveTo(o.out, d))
}

// job is a part of a suite that is ready to be measured.
type job struct {
	scenario *scenario
	settings settings
	targets  []target.Target
}

// parseSuite reads the command line of a suite.
func parseSuite(args []string, stderr io.Writer) (s suite, o settings, err error) {
	all := suites()
	var known []string
	for _, s := range all {
		known = append(known, s.name)
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return s, o, &usageError{"which suite? There are: " + strings.Join(known, ", ")}
	}
	i := slices.Index(known, args[0])
	if i < 0 {
		return s, o, &usageError{fmt.Sprintf("unknown suite %q; there are: %s", args[0], strings.Join(known, ", "))}
	}
	f := flag.NewFlagSet("gatecast bench suite "+args[0], flag.ContinueOnError)
	f.SetOutput(stderr)
	o.binaries = make(map[string]string)
	f.Var((*names)(&o.Targets), "target", "comma-separated `targets` to leave in; those a scenario does not have are ignored (default: all)")
	f.IntVar(&o.Repeat, "repeat", 0, "times each target is measured; 0 = the suite's own")
	f.IntVar(&o.Loops, "loops", runtime.NumCPU(), loopsAbout)
	o.declarePrograms(f)
	if err := f.Parse(args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return s, o, err
		}
		return s, o, &usageError{err.Error()}
	}
	if f.NArg() > 0 {
		return s, o, &usageError{fmt.Sprintf("unexpected argument %q; flags begin with -", f.Arg(0))}
	}
	if o.Repeat < 0 || o.Loops < 0 {
		return s, o, &usageError{"-repeat must be at least 1, -loops at least 0"}
	}
	_, err = target.Find(o.Targets) // a name that is none
	if err != nil {
		err = &usageError{err.Error()}
	}
	return all[i], o, err
}

// jobs checks all parts before the first is measured.
func (s suite) jobs(o settings) (jobs []job, err error) {
	for _, p := range s.parts {
		sc, err := findScenario(p.scenario)
		if err != nil {
			return nil, err
		}
		j := job{scenario: sc, settings: settings{Options: sc.defaults, out: o.out, binaries: o.binaries, budgets: p.budgets}}
		j.settings.Loops = o.Loops
		p.change(&j.settings.Options)
		if o.Repeat > 0 {
			j.settings.Repeat = o.Repeat
		}
		if len(o.Targets) > 0 {
			j.settings.Targets = slices.DeleteFunc(slices.Clone(j.settings.Targets), func(t string) bool { return !slices.Contains(o.Targets, t) })
		}
		if len(j.settings.Targets) == 0 {
			continue
		}
		if err := sc.check(&j.settings.Options); err != nil {
			return nil, err
		}
		if j.targets, err = target.Find(j.settings.Targets); err != nil {
			return nil, err
		}
		if err := sc.refused(j.settings, j.targets); err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	if len(jobs) == 0 {
		return nil, &usageError{fmt.Sprintf("suite %s has none of the targets %s", s.name, strings.Join(o.Targets, ", "))}
	}
	return jobs, nil
}
