//go:build linux

package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/result"
)

// search looks for the largest load at which the last receiver is served in time: it doubles the load until a probe fails, then halves
// the distance. Each probe is a run of fanout, with connections of its own, on the same server.
func search() *scenario {
	return &scenario{
		name: "search", about: "the largest rate, or number of connections, that keeps the p99 of the last receiver under -p99", run: probe,
		takes: append([]string{"search", "most"}, without(publishing, "window")...),
		cost:  "max-rate",
		defaults: with(func(o *result.Options) {
			o.Search, o.Rate, o.Repeat, o.Duration, o.P99 = "rate", 20, 3, 2*time.Second, 0
		}),
		complete: func(o *result.Options) {
			if o.Most == 0 {
				o.Most = mostRate
				if o.Search == "conns" {
					o.Most = float64(proc.MaxConns())
				}
			}
		},
	}
}

const (
	mostRate = 1e6  // publications a second that nobody keeps
	closely  = 0.05 // share of the load by which the answer may be too low
)

// checkSearch says what is wrong with the options of a search.
func checkSearch(o *result.Options) error {
	switch {
	case o.P99 <= 0:
		return &usageError{"a search needs -p99: how late the last receiver may be"}
	case o.Search != "rate" && o.Search != "conns":
		return &usageError{fmt.Sprintf("-search %q: it is rate or conns", o.Search)}
	case o.Most < float64(o.Conns) && o.Search == "conns", o.Most < o.Rate && o.Search == "rate":
		return &usageError{"-most must not be below where the search begins, -rate or -conns"}
	}
	return nil
}

// searched is the state of a search.
type searched struct {
	*site
	best   *result.Run // that kept the bound
	notes  []string
	failed string // why the lowest load that failed did
}

// probe runs the search.
func probe(ctx context.Context, s *site) (*result.Run, error) {
	f := &searched{site: s}
	begin := s.o.Rate
	if s.o.Search == "conns" {
		begin = float64(s.o.Conns)
	}
	good, bad := 0.0, 0.0 // the largest load that was kept, the smallest that was not
	for load := begin; ; {
		kept, err := f.keeps(ctx, load)
		if err != nil {
			return nil, err
		}
		if kept {
			good = load
		} else {
			bad = load
		}
		switch {
		case good >= s.o.Most:
			f.failed = fmt.Sprintf("nothing failed up to -most %g", s.o.Most)
			return f.result(good), nil
		case bad == 0:
			load = min(2*load, s.o.Most)
		case good == 0:
			load = f.whole(load / 2)
		default:
			load = f.whole((good + bad) / 2)
		}
		if bad > 0 && (bad-good <= closely*bad || load <= good || load >= bad || load < 1) {
			return f.result(good), nil
		}
	}
}

// whole rounds numbers of connections.
func (f *searched) whole(load float64) float64 {
	if f.o.Search == "conns" {
		return float64(int(load))
	}
	return load
}

// keeps makes a run with the load and reports whether it kept the bound.
func (f *searched) keeps(ctx context.Context, load float64) (bool, error) {
	s := *f.site
	if s.o.Search == "conns" {
		s.o.Conns = int(load)
	} else {
		s.o.Rate = load
	}
	if s.o.MaxLag == 0 {
		s.o.MaxLag = max(time.Millisecond, s.o.P99/10) // the answer is right within a tenth of the bound
	}
	var run *result.Run
	var why string
	for try := 0; try <= s.o.Retries; try++ {
		var err error
		if _, run, err = s.deliver(ctx); err != nil {
			return false, fmt.Errorf("%s: %w", f.name(load), err)
		}
		if why = f.judge(run); !strings.HasPrefix(why, harnessFault) {
			break
		}
	}
	if why == "" {
		f.best = run
		last, _ := run.Value("last-p99-ns")
		f.notes = append(f.notes, fmt.Sprintf("%s: kept, p99 of the last receiver %s", f.name(load), result.Human("last-p99-ns", last)))
		return true, nil
	}
	f.failed = why
	f.notes = append(f.notes, fmt.Sprintf("%s: failed: %s", f.name(load), why))
	return false, nil
}

func (f *searched) name(load float64) string {
	if f.o.Search == "conns" {
		return fmt.Sprintf("%g connections", load)
	}
	return fmt.Sprintf("%.4g/s", load)
}

// harnessFault begins the reason of a probe that is made again, for it says nothing of the target.
const harnessFault = "the harness itself: "

// judge says why a run failed; "" if it kept the bound.
func (f *searched) judge(run *result.Run) string {
	switch last, _ := run.Value("last-p99-ns"); {
	case len(run.Faults) > 0:
		return strings.Join(run.Faults, "; ")
	case time.Duration(last) > f.o.P99:
		return fmt.Sprintf("p99 of the last receiver is %s", result.Human("last-p99-ns", last))
	case len(run.Harness) > 0:
		return harnessFault + strings.Join(run.Harness, "; ")
	}
	return ""
}

// result is the best run with what was searched for as its first metric.
func (f *searched) result(good float64) *result.Run {
	run := f.best
	if run == nil {
		run = &result.Run{Faults: []string{"no load was small enough: " + f.failed}}
	}
	metric := "max-" + f.o.Search
	run.Metrics = slices.Insert(run.Metrics, 0, result.Metric{Name: metric, Value: good, Compare: true})
	run.Notes = append(f.notes, "the limit: "+f.failed)
	return run
}
