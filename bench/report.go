//go:build linux

package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/html"
	"github.com/gatecast/gatecast/bench/result"
)

// writeTables prints a document for people: the metrics that are compared, or all of them.
func writeTables(w io.Writer, d *result.Document, all bool) error {
	e := d.Environment
	fmt.Fprintf(w, "\n%d x %s, Linux %s, %s, load %s, noise p99.9 %.0f us, max %.0f us\n", e.CPUs, e.CPU, e.Kernel, e.Go, e.Load, e.Noise999, e.NoiseMax)
	if d.Partial {
		fmt.Fprintln(w, "PARTIAL: it ended before all runs were made")
	}
	for _, r := range d.Results {
		if err := writeTable(w, r, all); err != nil {
			return err
		}
	}
	return nil
}

// writeTable prints a result.
func writeTable(w io.Writer, r *result.Result, all bool) error {
	fmt.Fprintf(w, "\n%s: %s, payload %d bytes, %d repeats\n", r.Title, r.Options.LoopsText(), r.Options.Size, r.Options.Repeat)
	if r.Partial {
		fmt.Fprintf(w, "PARTIAL: ended after %d of the runs: %s\n", len(r.Runs), r.Failure)
	}
	for _, run := range r.Discarded {
		fmt.Fprintf(w, "made again: %s, repeat %d: %s\n", run.Target, run.Repeat, strings.Join(run.Harness, "; "))
	}
	if !r.Valid {
		fmt.Fprintln(w, "INVALID: no ranking. What was wrong:")
		for _, run := range r.Runs {
			for _, fault := range append(run.Faults, run.Harness...) {
				fmt.Fprintf(w, "  %s, repeat %d: %s\n", run.Target, run.Repeat, fault)
			}
		}
		return nil
	}
	writeBalance(w, r)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if all {
		writeStats(t, r)
	} else {
		writeRanking(t, r)
	}
	for _, b := range r.Budgets {
		if held, is := b.Held(r); held {
			fmt.Fprintf(t, "budget kept: %s; it is %s\n", b, is)
		}
	}
	for _, missed := range r.Missed {
		fmt.Fprintf(t, "THRESHOLD MISSED: %s\n", missed)
	}
	return t.Flush()
}

// writeRanking prints a row a target: the medians of what is compared, and the ratio of what it is first compared by.
func writeRanking(t io.Writer, r *result.Result) {
	targets := r.Targets()
	fmt.Fprint(t, "\ntarget")
	for _, s := range r.Summary {
		if s.Target != targets[0] || !s.Compare {
			continue
		}
		fmt.Fprintf(t, "\t%s", result.BareName(s.Metric))
		if s.Metric == r.Cost {
			fmt.Fprintf(t, "\tratio to %s", targets[0])
		}
	}
	fmt.Fprintln(t)
	for _, target := range targets {
		fmt.Fprint(t, target)
		for _, column := range r.Summary {
			if column.Target != targets[0] || !column.Compare {
				continue
			}
			value, ratio := "-", "-" // a metric that the target does not have, or of a cost that is not above 0
			if s, ok := r.Stat(target, column.Metric); ok {
				value = result.Human(s.Metric, s.Median)
				if s.Ratio > 0 {
					ratio = fmt.Sprintf("%.2f (%.2f to %.2f)", s.Ratio, s.RatioMin, s.RatioMax)
				}
			}
			fmt.Fprintf(t, "\t%s", value)
			if column.Metric == r.Cost {
				fmt.Fprintf(t, "\t%s", ratio)
			}
		}
		fmt.Fprintln(t)
	}
}

// writeStats prints a row a metric.
func writeStats(t io.Writer, r *result.Result) {
	base := r.Runs[0].Target
	fmt.Fprintf(t, "\ntarget\tmetric\tmedian\tmin\tmax\tratio to %s\tfrom\tto\n", base)
	for _, s := range r.Summary {
		ratio := "\t\t"
		if s.Ratio > 0 && s.Target != base {
			ratio = fmt.Sprintf("%.2f\t%.2f\t%.2f", s.Ratio, s.RatioMin, s.RatioMax)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Target, result.BareName(s.Metric), result.Human(s.Metric, s.Median), result.Human(s.Metric, s.Min), result.Human(s.Metric, s.Max), ratio)
	}
}

// writeBalance prints what the ledgers prove, and the notes.
func writeBalance(w io.Writer, r *result.Result) {
	var delivered, excused, away int64
	for _, run := range r.Runs {
		if run.Ledger != nil {
			delivered += run.Ledger.Delivered
			excused += run.Ledger.Excused
			away += run.Ledger.Lost // which only reconnect allows in a valid run
		}
		for _, note := range run.Notes {
			fmt.Fprintf(w, "note: %s, repeat %d: %s\n", run.Target, run.Repeat, note)
		}
	}
	lost := "none lost"
	if away > 0 {
		lost = fmt.Sprintf("%d lost, all of the outage", away)
	}
	if excused > 0 {
		lost = fmt.Sprintf("%d lost, all by receivers that did not read", excused)
	}
	if delivered > 0 {
		fmt.Fprintf(w, "ledger: %d messages delivered, each once, in order, to its own group; %s\n", delivered, lost)
	}
}

// writeBenchmarks prints Go benchmark lines, one a run, for benchstat. An invalid result has none.
func writeBenchmarks(w io.Writer, d *result.Document) error {
	fmt.Fprintf(w, "goos: linux\ncpu: %s\n", d.Environment.CPU)
	for _, r := range d.Results {
		if !r.Valid {
			continue
		}
		name := strings.NewReplacer(", ", "/", " ", "-").Replace(r.Title)
		for _, run := range r.Runs {
			fmt.Fprintf(w, "BenchmarkGatecastBench/%s/target=%s 1", name, run.Target)
			for _, m := range run.Metrics {
				if m.Value == 0 { // benchstat gives zeros with a unit of time a table of their own
					continue
				}
				fmt.Fprintf(w, " %.10g %s", m.Value, m.Name)
			}
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// save writes report.html, result.json, table.txt, bench.txt and the histograms into the directory.
func save(dir string, d *result.Document) error {
	logs := filepath.Join(dir, "hlog")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		return err
	}
	write := func(path string, body func(w io.Writer) error) error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		return errors.Join(body(f), f.Close())
	}
	err := errors.Join(
		write(filepath.Join(dir, "result.json"), func(w io.Writer) error { return result.Encode(w, d) }),
		write(filepath.Join(dir, "report.html"), func(w io.Writer) error { return html.Write(w, d) }),
		write(filepath.Join(dir, "table.txt"), func(w io.Writer) error { return writeTables(w, d, true) }),
		write(filepath.Join(dir, "bench.txt"), func(w io.Writer) error { return writeBenchmarks(w, d) }),
	)
	for i, r := range d.Results {
		for _, run := range r.Runs {
			for _, n := range run.Histograms {
				name := fmt.Sprintf("%d-%s-%s-%d-%s.hlog", i+1, r.Scenario, run.Target, run.Repeat, n.Name)
				err = errors.Join(err, write(filepath.Join(logs, name), func(w io.Writer) error {
					return writeLog(w, d, r, n.H)
				}))
			}
		}
	}
	return err
}

// writeLog writes a histogram of nanoseconds as an HDR interval log.
func writeLog(w io.Writer, d *result.Document, r *result.Result, h *hdrhistogram.Histogram) error {
	h.SetStartTimeMs(d.Began.UnixMilli())
	h.SetEndTimeMs(d.Began.UnixMilli() + r.Options.Duration.Milliseconds())
	log := hdrhistogram.NewHistogramLogWriter(w)
	return errors.Join(
		log.OutputLogFormatVersion(),
		log.OutputComment("#[nanoseconds; "+r.Title+"]"),
		log.OutputLegend(),
		log.OutputIntervalHistogram(h),
	)
}
