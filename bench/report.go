//go:build linux

package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// writeTable prints a result for people.
func writeTable(w io.Writer, r *Result) error {
	e := r.Environment
	fmt.Fprintf(w, "\n%s: %d connections, %s, %d loops, payload %d bytes, %d repeats\n", r.Scenario, r.Options.Conns, pace(r.Options), r.Options.Loops, r.Options.Size, r.Options.Repeat)
	fmt.Fprintf(w, "%d x %s, Linux %s, %s, load %s, noise p99.9 %.0f us, max %.0f us\n", e.CPUs, e.CPU, e.Kernel, e.Go, e.Load, e.Noise999, e.NoiseMax)
	if r.Partial {
		fmt.Fprintf(w, "PARTIAL: ended after %d of the runs\n", len(r.Runs))
	}
	if !r.Valid {
		fmt.Fprintln(w, "INVALID: no ranking. What was wrong:")
		for _, run := range r.Runs {
			for _, fault := range run.Faults {
				fmt.Fprintf(w, "  %s, repeat %d: %s\n", run.Target, run.Repeat, fault)
			}
		}
		return nil
	}
	writeBalance(w, r)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	base := r.Runs[0].Target
	fmt.Fprintf(t, "\ntarget\tmetric\tmedian\tmin\tmax\tratio to %s\tfrom\tto\t\n", base)
	for _, s := range r.Summary {
		ratio := "\t\t"
		if s.Ratio > 0 && s.Target != base {
			ratio = fmt.Sprintf("%.2f\t%.2f\t%.2f", s.Ratio, s.RatioMin, s.RatioMax)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", s.Target, bareName(s.Metric), human(s.Metric, s.Median), human(s.Metric, s.Min), human(s.Metric, s.Max), ratio)
	}
	for _, missed := range r.Missed {
		fmt.Fprintf(t, "THRESHOLD MISSED: %s\n", missed)
	}
	return t.Flush()
}

// writeBalance prints what the ledgers prove, and the notes.
func writeBalance(w io.Writer, r *Result) {
	var delivered int64
	for _, run := range r.Runs {
		if run.Ledger != nil {
			delivered += run.Ledger.Delivered
		}
		for _, note := range run.Notes {
			fmt.Fprintf(w, "note: %s, repeat %d: %s\n", run.Target, run.Repeat, note)
		}
	}
	if delivered > 0 {
		fmt.Fprintf(w, "ledger: %d messages delivered, each once, in order, to its own group; none lost\n", delivered)
	}
}

func pace(o Options) string {
	switch {
	case o.Window > 0:
		return fmt.Sprintf("closed loop of %d", o.Window)
	default:
		return fmt.Sprintf("open loop at %g/s", o.Rate)
	}
}

// bareName is a metric's name without its unit, when the unit is a time or bytes, which [human] prints.
func bareName(metric string) string {
	if name, ok := strings.CutSuffix(metric, "-ns"); ok {
		return name
	}
	metric = strings.Replace(metric, "-ns/", "/", 1)
	if name, ok := strings.CutSuffix(metric, "-B"); ok {
		return name
	}
	return strings.Replace(metric, "-B/", "/", 1)
}

// human prints a value in its metric's unit.
func human(metric string, v float64) string {
	switch {
	case strings.HasSuffix(metric, "-ns") || strings.Contains(metric, "-ns/"):
		d := time.Duration(v)
		switch {
		case d >= time.Second:
			return fmt.Sprintf("%.2f s", d.Seconds())
		case d >= 10*time.Millisecond:
			return fmt.Sprintf("%.1f ms", v/1e6)
		case d >= time.Millisecond:
			return fmt.Sprintf("%.2f ms", v/1e6)
		case d >= time.Microsecond:
			return fmt.Sprintf("%.2f us", v/1e3)
		}
		return fmt.Sprintf("%.0f ns", v)
	case strings.HasSuffix(metric, "-B") || strings.Contains(metric, "-B/"):
		switch {
		case v >= 10<<20:
			return fmt.Sprintf("%.1f MB", v/(1<<20))
		case v >= 10<<10:
			return fmt.Sprintf("%.1f KB", v/(1<<10))
		}
		return fmt.Sprintf("%.0f B", v)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// writeBenchmarks prints Go benchmark lines, one a run, for benchstat. An invalid result has none.
func writeBenchmarks(w io.Writer, r *Result) error {
	if !r.Valid {
		return nil
	}
	fmt.Fprintf(w, "goos: linux\ncpu: %s\n", r.Environment.CPU)
	for _, run := range r.Runs {
		fmt.Fprintf(w, "BenchmarkGatecastBench/%s/target=%s/conns=%d 1", r.Scenario, run.Target, r.Options.Conns)
		for _, m := range run.Metrics {
			fmt.Fprintf(w, " %.10g %s", m.Value, m.Name)
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// save writes result.json, table.txt, bench.txt and the histograms into the directory.
func save(dir string, r *Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	write := func(name string, body func(w io.Writer) error) error {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		return errors.Join(body(f), f.Close())
	}
	err := errors.Join(
		write("result.json", func(w io.Writer) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(r)
		}),
		write("table.txt", func(w io.Writer) error { return writeTable(w, r) }),
		write("bench.txt", func(w io.Writer) error { return writeBenchmarks(w, r) }),
	)
	for _, run := range r.Runs {
		for _, n := range run.histograms {
			err = errors.Join(err, write(fmt.Sprintf("%s-%d-%s.hlog", run.Target, run.Repeat, n.name), func(w io.Writer) error {
				return writeLog(w, r, n.h)
			}))
		}
	}
	return err
}

// writeLog writes a histogram of nanoseconds as an HDR interval log.
func writeLog(w io.Writer, r *Result, h *hdrhistogram.Histogram) error {
	h.SetStartTimeMs(r.Began.UnixMilli())
	h.SetEndTimeMs(r.Began.UnixMilli() + r.Options.Duration.Milliseconds())
	log := hdrhistogram.NewHistogramLogWriter(w)
	return errors.Join(
		log.OutputLogFormatVersion(),
		log.OutputComment("#[nanoseconds; "+r.Scenario+"]"),
		log.OutputLegend(),
		log.OutputIntervalHistogram(h),
	)
}
