//go:build linux

package compare

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/gatecast/gatecast/bench/result"
)

// Exit codes, the same as those of a measurement.
const (
	exitOK      = 0
	exitMissed  = 1 // gate: worse than the baseline
	exitInvalid = 2 // a document proves nothing
	exitError   = 3
)

// Run is the command compare: args are flags and the documents. code is the exit code; err is nil when everything was said.
func Run(args []string, stdout, stderr io.Writer) (code int, err error) {
	f := flag.NewFlagSet("gatecast bench compare", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, "Usage: gatecast bench compare [flags] OLD.json NEW.json …\n\n"+
			"Says for each metric whether NEW differs from OLD; several NEW are compared with the same OLD.\n"+
			"A directory stands for its result.json.\n\n")
		f.PrintDefaults()
	}
	all := f.Bool("all", false, "every metric, not only those that targets are compared by")
	if err := f.Parse(args); err != nil {
		return exitError, err
	}
	const least = 2
	if f.NArg() < least {
		return exitError, errors.New("compare needs two documents or more: gatecast bench compare OLD.json NEW.json")
	}
	docs := make([]*result.Document, f.NArg())
	for i, path := range f.Args() {
		if docs[i], err = Read(path); err != nil {
			return codeOf(err), err
		}
	}
	for i, d := range docs[1:] {
		if i > 0 {
			fmt.Fprintln(stdout)
		}
		fmt.Fprintf(stdout, "%s (old) and %s (new)\n", f.Arg(0), f.Arg(i+1))
		if err := table(stdout, docs[0], d, *all); err != nil {
			return exitError, err
		}
	}
	return exitOK, nil
}

func codeOf(err error) int {
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return exitInvalid
	}
	return exitError
}

// table prints two documents beside each other.
func table(w io.Writer, old, now *result.Document, all bool) error {
	for _, note := range machines(old.Environment, now.Environment) {
		fmt.Fprintln(w, "note:", note)
	}
	rows, short, matched := 0, false, 0
	for _, a := range old.Results {
		b := find(now, a.Title)
		if b == nil {
			fmt.Fprintf(w, "only in old: %s\n", a.Title)
			continue
		}
		matched++
		n, few, err := resultTable(w, a, b, all)
		if err != nil {
			return err
		}
		rows, short = rows+n, short || few
	}
	for _, b := range now.Results {
		if find(old, b.Title) == nil {
			fmt.Fprintf(w, "only in new: %s\n", b.Title)
		}
	}
	if matched == 0 {
		return errors.New("the documents have no result in common: results are matched by their titles")
	}
	fmt.Fprintf(w, "\nMedians over the repeats. ~: no difference shown, p >= %g by the exact test of Mann and Whitney. Where a\n"+
		"number of repeats stands beside it, so many on both sides would probably show a difference of that kind.\n", alpha)
	if short {
		fmt.Fprintf(w, "Fewer than %d repeats on both sides show nothing: even the clearest order may be chance.\n", leastRepeats())
	}
	const many = 8
	if rows >= many {
		fmt.Fprintf(w, "%d comparisons: about %.0f of them differ by chance alone.\n", rows, math.Ceil(float64(rows)*alpha))
	}
	return nil
}

// machines notes why absolute values may differ.
func machines(a, b result.Environment) (notes []string) {
	for _, x := range []struct {
		what     string
		old, now any
	}{
		{"processor", a.CPU, b.CPU}, {"number of processors", a.CPUs, b.CPUs}, {"kernel", a.Kernel, b.Kernel}, {"Go", a.Go, b.Go},
	} {
		if x.old != x.now {
			notes = append(notes, fmt.Sprintf("the %s differs, %v and %v: go by the ratios", x.what, x.old, x.now))
		}
	}
	return notes
}

// resultTable prints a result that both have. few is whether a row had too few repeats to tell.
func resultTable(w io.Writer, a, b *result.Result, all bool) (rows int, few bool, err error) {
	fmt.Fprintf(w, "\n%s\n", a.Title)
	if a.Partial || b.Partial {
		fmt.Fprintln(w, "  PARTIAL: one of them ended before all runs were made")
	}
	if names := unlike(a.Options, b.Options); len(names) > 0 {
		fmt.Fprintf(w, "  WARNING: not the same load: %s\n", strings.Join(names, "; "))
	}
	first, ratios := base(a), true
	if other := base(b); other != first {
		fmt.Fprintf(w, "  note: ratios are to %s in old and to %s in new, so there are none here\n", first, other)
		ratios = false
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "\told\tnew\tchange\t"
	if ratios {
		head += fmt.Sprintf("ratio to %s\tnew\tchange\t", first)
	}
	fmt.Fprintln(t, "  "+head)
	targets := b.Targets()
	for _, target := range a.Targets() {
		if !slices.Contains(targets, target) {
			fmt.Fprintf(t, "  %s: only in old\n", target)
			continue
		}
		fmt.Fprintf(t, "  %s\n", target)
		for _, m := range metrics(a, target, all) {
			c := compare(m, values(a, m, target), values(b, m, target))
			rows, few = rows+1, few || c.few
			line := fmt.Sprintf("    %s\t%s\t%s\t%s\t", result.BareName(m), c.human(c.old), c.human(c.now), c.change())
			if ratios && target != first {
				if r := compare(m, a.Ratios(m, target, first), b.Ratios(m, target, first)); r.n > 0 && r.m > 0 {
					rows, few = rows+1, few || r.few
					line += fmt.Sprintf("%s\t%s\t%s\t", times(r.old), times(r.now), r.change())
				}
			}
			fmt.Fprintln(t, strings.TrimRight(line, " "))
		}
	}
	for _, target := range targets {
		if !slices.Contains(a.Targets(), target) {
			fmt.Fprintf(t, "  %s: only in new\n", target)
		}
	}
	return rows, few, t.Flush()
}

// comparison is one metric of one target, before and now.
type comparison struct {
	metric   string
	n, m     int // repeats
	old, now float64
	p        float64
	larger   float64 // share of pairs in which the new value is larger
	few      bool    // no outcome could have meant anything
}

func compare(metric string, a, b []float64) comparison {
	c := comparison{metric: metric, n: len(a), m: len(b), old: result.Median(a), now: result.Median(b)}
	c.p, c.larger = mannWhitney(a, b)
	c.few = c.n > 0 && c.m > 0 && leastP(c.n, c.m) >= alpha
	return c
}

func (c comparison) differs() bool { return c.p < alpha && c.n > 0 && c.m > 0 }

// by is the change as a share of the old value.
func (c comparison) by() float64 { return c.now/c.old - 1 }

// worse is by how much it got worse, as a share; below 0 if it got better.
func (c comparison) worse() float64 {
	if moreIsBetter(c.metric) {
		return -c.by()
	}
	return c.by()
}

// change is the change and what it means, in words.
func (c comparison) change() string {
	switch {
	case c.n == 0 || c.m == 0:
		return "only in one"
	case c.few:
		return fmt.Sprintf("~ %d and %d repeats, %d needed", c.n, c.m, leastRepeats())
	case !c.differs():
		text := fmt.Sprintf("~ p=%.2f", c.p)
		if n := neededRepeats(c.larger); n > 0 {
			text += fmt.Sprintf(", %d repeats", max(n, c.n+1, c.m+1))
		}
		return text
	}
	word := "better"
	if c.worse() > 0 {
		word = "worse"
	}
	return fmt.Sprintf("%s %s p=%.3f", c.percent(), word, c.p)
}

func (c comparison) percent() string {
	if by := c.by(); !math.IsNaN(by) && !math.IsInf(by, 0) {
		return fmt.Sprintf("%+.1f %%", 100*by)
	}
	return "from 0"
}

func (c comparison) human(v float64) string { return result.Human(c.metric, v) }

func times(ratio float64) string {
	if math.IsNaN(ratio) {
		return "none"
	}
	return fmt.Sprintf("%.2f×", ratio)
}
