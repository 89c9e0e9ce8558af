//go:build linux

package bench

import (
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/ledger"
)

// Schema is the version of result.json. A field that changes its meaning makes another one.
const Schema = "gatecast-bench/1"

// Result is what one command measured.
type Result struct {
	Schema      string      `json:"schema"`
	Scenario    string      `json:"scenario"`
	Command     []string    `json:"command"`
	Began       time.Time   `json:"began"`
	Seconds     float64     `json:"seconds"`
	Environment Environment `json:"environment"`
	Options     Options     `json:"options"`
	Valid       bool        `json:"valid"`
	Partial     bool        `json:"partial"` // interrupted: not all runs are here
	Missed      []string    `json:"missed"`  // thresholds
	Runs        []*Run      `json:"runs"`    // in the order they were made
	Summary     []Summary   `json:"summary"` // empty unless valid
}

// Run is one target measured once.
type Run struct {
	Target  string         `json:"target"`
	Version string         `json:"version,omitempty"`
	Repeat  int            `json:"repeat"` // from 1; runs of one repeat are a pair
	Faults  []string       `json:"faults"` // any = invalid
	Notes   []string       `json:"notes"`
	Ledger  *ledger.Counts `json:"ledger,omitempty"`
	Metrics []Metric       `json:"metrics"`

	histograms []named
	p99        time.Duration // held against the threshold
}

// Metric is one number. Its name ends in its unit, as in Go's benchmarks.
type Metric struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Compare bool    `json:"compare"` // in the table, and as a ratio to the first target
}

type named struct {
	name string
	h    *hdrhistogram.Histogram
}

// Summary is one metric of one target over all repeats.
type Summary struct {
	Target string  `json:"target"`
	Metric string  `json:"metric"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	// Ratio is the median over the repeats of this target's value by the first target's of the same repeat; 0 for metrics
	// that are not compared.
	Ratio    float64 `json:"ratio,omitempty"`
	RatioMin float64 `json:"ratio_min,omitempty"`
	RatioMax float64 `json:"ratio_max,omitempty"`
}

func (r *Run) add(name string, value float64) {
	r.Metrics = append(r.Metrics, Metric{Name: name, Value: value})
}

func (r *Run) compare(name string, value float64) {
	r.Metrics = append(r.Metrics, Metric{Name: name, Value: value, Compare: true})
}

// latency adds the percentiles of a histogram; compared are its median and p99.
func (r *Run) latency(name string, h *hdrhistogram.Histogram, compare bool) {
	for _, q := range []struct {
		name    string
		of      float64
		compare bool
	}{{"p50", 50, true}, {"p90", 90, false}, {"p99", 99, true}, {"p99.9", 99.9, false}} {
		r.Metrics = append(r.Metrics, Metric{name + "-" + q.name + "-ns", float64(h.ValueAtQuantile(q.of)), compare && q.compare})
	}
	r.add(name+"-max-ns", float64(h.Max()))
	r.histograms = append(r.histograms, named{name, h})
}

// value is the metric's value in the run.
func (r *Run) value(metric string) (float64, bool) {
	for _, m := range r.Metrics {
		if m.Name == metric {
			return m.Value, true
		}
	}
	return 0, false
}

// summarise fills Valid, Missed and Summary from the runs. An invalid result has no summary: nothing to rank by.
func (r *Result) summarise() {
	r.Valid, r.Missed, r.Summary = len(r.Runs) > 0, nil, nil
	var targets []string
	for _, run := range r.Runs {
		r.Valid = r.Valid && len(run.Faults) == 0
		if !slices.Contains(targets, run.Target) {
			targets = append(targets, run.Target)
		}
	}
	if !r.Valid {
		return
	}
	for _, t := range targets {
		var p99 []float64
		for _, run := range r.Runs {
			if run.Target == t {
				p99 = append(p99, float64(run.p99))
			}
		}
		if got := time.Duration(median(p99)); r.Options.P99 > 0 && got > r.Options.P99 {
			r.Missed = append(r.Missed, t+": p99 of the response is "+got.String()+", the threshold "+r.Options.P99.String())
		}
		for _, m := range r.Runs[slices.IndexFunc(r.Runs, func(run *Run) bool { return run.Target == t })].Metrics {
			r.Summary = append(r.Summary, r.summary(t, targets[0], m))
		}
	}
}

func (r *Result) summary(target, base string, m Metric) Summary {
	var values, ratios []float64
	for _, run := range r.Runs {
		v, ok := run.value(m.Name)
		if run.Target != target || !ok {
			continue
		}
		values = append(values, v)
		for _, other := range r.Runs {
			if b, ok := other.value(m.Name); ok && m.Compare && b > 0 && other.Target == base && other.Repeat == run.Repeat {
				ratios = append(ratios, v/b)
			}
		}
	}
	s := Summary{Target: target, Metric: m.Name, Median: median(values), Min: slices.Min(values), Max: slices.Max(values)}
	if len(ratios) > 0 {
		s.Ratio, s.RatioMin, s.RatioMax = median(ratios), slices.Min(ratios), slices.Max(ratios)
	}
	return s
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
