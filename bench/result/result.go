//go:build linux

package result

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/ledger"
)

// Schema is the version of result.json, see [Encode]. A field that changes its meaning makes another one.
const Schema = "gatecast-bench/3"

// Document is what one command measured.
type Document struct {
	Schema      string      `json:"schema"`
	Command     []string    `json:"command"`
	Began       time.Time   `json:"began"`
	Seconds     float64     `json:"seconds"`
	Environment Environment `json:"environment"`
	Valid       bool        `json:"valid"`   // every result is
	Partial     bool        `json:"partial"` // interrupted: not all runs are here
	Missed      []string    `json:"missed"`  // thresholds
	Results     []*Result   `json:"results"`
}

// Result is one scenario on one or more targets.
type Result struct {
	Scenario  string   `json:"scenario"`
	Title     string   `json:"title"` // unique in the document: "fanout, 500 connections"
	Cost      string   `json:"cost"`  // the metric that is compared first
	Options   Options  `json:"options"`
	Valid     bool     `json:"valid"`
	Partial   bool     `json:"partial"`
	Failure   string   `json:"failure,omitempty"` // why it is partial
	Budgets   []Budget `json:"budgets,omitempty"`
	Missed    []string `json:"missed"`
	Runs      []*Run   `json:"runs"`      // in the order they were made
	Discarded []*Run   `json:"discarded"` // made again, because the harness was at fault, never the target
	Summary   []Stat   `json:"summary"`   // empty unless valid
}

// Budget is a bound of a target's median: of its ratio to the first target, or of the value itself.
type Budget struct {
	Target string  `json:"target"`
	Metric string  `json:"metric"`
	Ratio  float64 `json:"ratio,omitempty"` // at most; 0 = the value is bounded
	Value  float64 `json:"value,omitempty"` // at most
}

// String says what is allowed.
func (b Budget) String() string {
	if b.Ratio > 0 {
		return fmt.Sprintf("%s of %s at most %.2f of the first target's", b.Metric, b.Target, b.Ratio)
	}
	return fmt.Sprintf("%s of %s at most %s", b.Metric, b.Target, Human(b.Metric, b.Value))
}

// Held says whether the result keeps the budget, and what it is.
func (b Budget) Held(r *Result) (held bool, is string) {
	s, ok := r.Stat(b.Target, b.Metric)
	switch {
	case !ok:
		return false, "not measured"
	case b.Ratio > 0:
		return s.Ratio <= b.Ratio, fmt.Sprintf("%.2f", s.Ratio)
	}
	return s.Median <= b.Value, Human(b.Metric, s.Median)
}

// Options are those of a scenario. See the command's -h for what each means.
type Options struct {
	Targets  []string      `json:"targets"` // the first is the one ratios are to
	Conns    int           `json:"conns"`
	Groups   int           `json:"groups"`
	PerConn  int           `json:"per_conn"` // groups a connection is in
	Shared   int           `json:"shared"`   // connections in one group, beside the one of all; 0 = Groups and PerConn say
	Zipf     float64       `json:"zipf"`
	Rate     float64       `json:"rate"`   // publications (connect: handshakes) due a second; open loop
	Window   int           `json:"window"` // publications (connect: handshakes) in flight; closed loop. 0 = open
	Size     int           `json:"size"`   // bytes of a payload
	Batch    int           `json:"batch"`  // echo: messages in one write
	HTTP     bool          `json:"http"`   // publish by HTTP
	Churn    float64       `json:"churn"`  // churn: joins and leaves a second; soak: reconnections a second
	Slow     float64       `json:"slow"`   // slow: share of the receivers that stop reading
	Policy   string        `json:"policy"` // slow: what the target does with messages for them; "" = its default
	Flood    float64       `json:"flood"`  // flood: handshakes due a second
	Limit    int           `json:"limit"`  // flood: handshakes a second that the target is to accept
	How      string        `json:"how"`    // reconnect: kill or drain
	Search   string        `json:"search"` // search: rate or conns
	Most     float64       `json:"most"`   // search: where it ends
	Nodes    int           `json:"nodes"`
	Procs    int           `json:"procs"`  // processes of receivers on this machine
	Agents   int           `json:"agents"` // processes of receivers elsewhere
	Loops    int           `json:"loops"`  // event loops of targets that let one choose; 0 = gatecast's own default, one a core of others
	Login    string        `json:"login"`
	Users    int           `json:"users"` // distinct users; 0 = one a connection
	Known    bool          `json:"known"` // connect: all have logged in just before
	Warmup   time.Duration `json:"warmup_ns"`
	Duration time.Duration `json:"duration_ns"`
	Settle   time.Duration `json:"settle_ns"` // idle: between the last login and the first reading; connect: before known users come back
	Repeat   int           `json:"repeat"`
	Retries  int           `json:"retries"`     // of a run in which the harness was at fault
	Patience time.Duration `json:"patience_ns"` // how long nothing may arrive before what is missing counts as lost
	MaxLag   time.Duration `json:"max_lag_ns"`  // p99 of the generator's own lag in a valid run; 0 = see load.AllowedLag
	P99      time.Duration `json:"p99_ns"`      // threshold; 0 = none
}

// LoopsText says how many loops there were, for people.
func (o Options) LoopsText() string {
	switch o.Loops {
	case 0:
		return "loops by default"
	case 1:
		return "1 loop"
	}
	return fmt.Sprintf("%d loops", o.Loops)
}

// Run is one target measured once.
type Run struct {
	Target  string         `json:"target"`
	Version string         `json:"version,omitempty"`
	Repeat  int            `json:"repeat"`  // from 1; runs of one repeat are a pair
	Faults  []string       `json:"faults"`  // of the target; any = invalid
	Harness []string       `json:"harness"` // faults of the harness; any = invalid too, but worth another try
	Notes   []string       `json:"notes"`
	Ledger  *ledger.Counts `json:"ledger,omitempty"`
	Metrics []Metric       `json:"metrics"`
	Spectra []Spectrum     `json:"spectra,omitempty"` // of drawn histograms; hlog/ has all of them whole
	Series  []Second       `json:"series,omitempty"`

	Histograms []Named       `json:"-"`
	P99        time.Duration `json:"-"` // held against the threshold
}

// Metric is one number. Its name ends in its unit, as in Go's benchmarks.
type Metric struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Compare bool    `json:"compare"` // in the table, and as a ratio to the first target
}

// Named is a histogram of nanoseconds.
type Named struct {
	Name string
	H    *hdrhistogram.Histogram
}

// Spectrum is a latency by percentile.
type Spectrum struct {
	Name   string
	Points []Point
}

// Point says that Percentile percent took NS or less.
type Point struct {
	Percentile float64 `json:"p"`
	NS         int64   `json:"ns"`
}

// Second is what happened in one second of a run.
type Second struct {
	At        float64 `json:"at"` // seconds since measuring began; below 0 in the warm-up
	Delivered int64   `json:"delivered"`
	P50       int64   `json:"p50_ns"` // of the response
	P99       int64   `json:"p99_ns"`
	Max       int64   `json:"max_ns"`
	CPU       float64 `json:"cpu"`   // of the server, cores
	RSS       int64   `json:"rss_b"` // of the server
	Conns     int     `json:"conns"`
}

// Stat is one metric of one target over all repeats.
type Stat struct {
	Target  string  `json:"target"`
	Metric  string  `json:"metric"`
	Compare bool    `json:"compare,omitempty"`
	N       int     `json:"n"`
	Median  float64 `json:"median"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	// Ratio is the median over the repeats of this target's value by the first target's of the same repeat; 0 for metrics
	// that are not compared.
	Ratio    float64 `json:"ratio,omitempty"`
	RatioMin float64 `json:"ratio_min,omitempty"`
	RatioMax float64 `json:"ratio_max,omitempty"`
}

// Add adds a metric.
func (r *Run) Add(name string, value float64) {
	r.Metrics = append(r.Metrics, Metric{Name: name, Value: value})
}

// Compare adds a metric that is compared between targets.
func (r *Run) Compare(name string, value float64) {
	r.Metrics = append(r.Metrics, Metric{Name: name, Value: value, Compare: true})
}

// Latency adds the percentiles of a histogram; compared are its median and p99.
func (r *Run) Latency(name string, h *hdrhistogram.Histogram, compare bool) {
	for _, q := range []struct {
		name    string
		of      float64
		compare bool
	}{{"p50", 50, true}, {"p90", 90, false}, {"p99", 99, true}, {"p99.9", 99.9, false}} {
		r.Metrics = append(r.Metrics, Metric{name + "-" + q.name + "-ns", float64(h.ValueAtQuantile(q.of)), compare && q.compare})
	}
	r.Add(name+"-max-ns", float64(h.Max()))
	r.Histograms = append(r.Histograms, Named{name, h})
	if slices.Contains(drawn, name) {
		r.Spectra = append(r.Spectra, Spectrum{name, points(h)})
	}
}

// drawn are the histograms that report.html draws.
var drawn = []string{"response", "last"}

// points samples a histogram where its tail is drawn, down to its last value.
func points(h *hdrhistogram.Histogram) (out []Point) {
	for k := 0; above(k)*float64(h.TotalCount()) >= 1; k++ {
		p := 100 * (1 - above(k))
		out = append(out, Point{p, h.ValueAtQuantile(p)})
	}
	return append(out, Point{100, h.Max()})
}

// above is the share of values above the k-th point: four points halve it.
func above(k int) float64 { return math.Pow(2, -float64(k)/4) }

// percentile is that of the k-th of n points.
func percentile(k, n int) float64 {
	if k == n-1 {
		return 100
	}
	return 100 * (1 - above(k))
}

// Value is the metric's value in the run.
func (r *Run) Value(metric string) (float64, bool) {
	for _, m := range r.Metrics {
		if m.Name == metric {
			return m.Value, true
		}
	}
	return 0, false
}

// Targets are the targets that have runs, in their order.
func (r *Result) Targets() (names []string) {
	for _, run := range r.Runs {
		if !slices.Contains(names, run.Target) {
			names = append(names, run.Target)
		}
	}
	return names
}

// Summarise fills Valid, Missed and Summary from the runs.
func (r *Result) Summarise() {
	r.Valid, r.Missed, r.Summary = len(r.Runs) > 0, []string{}, []Stat{}
	// Lists that are empty are [] in JSON: who reads it need not ask for null.
	r.Runs, r.Discarded = some(r.Runs), some(r.Discarded)
	for _, run := range slices.Concat(r.Runs, r.Discarded) {
		run.Faults, run.Harness, run.Notes, run.Metrics = some(run.Faults), some(run.Harness), some(run.Notes), some(run.Metrics)
	}
	targets := r.Targets()
	for _, run := range r.Runs {
		r.Valid = r.Valid && len(run.Faults) == 0 && len(run.Harness) == 0
	}
	if !r.Valid {
		return
	}
	for _, t := range targets {
		var p99 []float64
		for _, run := range r.Runs {
			if run.Target == t {
				p99 = append(p99, float64(run.P99))
			}
		}
		if got := time.Duration(Median(p99)); r.Options.P99 > 0 && got > r.Options.P99 {
			r.Missed = append(r.Missed, r.Title+": "+t+": p99 of the response is "+got.String()+", the threshold "+r.Options.P99.String())
		}
	}
	r.Summary = r.stats()
	for _, b := range r.Budgets {
		if held, is := b.Held(r); !held {
			r.Missed = append(r.Missed, fmt.Sprintf("%s: %s; it is %s", r.Title, b, is))
		}
	}
}

// stats are those of every metric that a target's first run has.
func (r *Result) stats() []Stat {
	all, targets := []Stat{}, r.Targets()
	for _, t := range targets {
		for _, m := range r.Runs[slices.IndexFunc(r.Runs, func(run *Run) bool { return run.Target == t })].Metrics {
			all = append(all, r.stat(t, targets[0], m))
		}
	}
	return all
}

// some is the list, or an empty one for nil.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Ratios returns the target's values of a metric by those of base, repeat by repeat.
func (r *Result) Ratios(metric, target, base string) (ratios []float64) {
	for _, run := range r.Runs {
		v, ok := run.Value(metric)
		if run.Target != target || !ok {
			continue
		}
		for _, other := range r.Runs {
			if b, ok := other.Value(metric); ok && b > 0 && other.Target == base && other.Repeat == run.Repeat {
				ratios = append(ratios, v/b)
			}
		}
	}
	return ratios
}

func (r *Result) stat(target, base string, m Metric) Stat {
	var values []float64
	for _, run := range r.Runs {
		if v, ok := run.Value(m.Name); ok && run.Target == target {
			values = append(values, v)
		}
	}
	s := Stat{
		Target: target, Metric: m.Name, Compare: m.Compare, N: len(values),
		Median: Median(values), Min: slices.Min(values), Max: slices.Max(values),
	}
	if ratios := r.Ratios(m.Name, target, base); m.Compare && len(ratios) > 0 {
		s.Ratio, s.RatioMin, s.RatioMax = Median(ratios), slices.Min(ratios), slices.Max(ratios)
	}
	return s
}

// Stat returns the summary of a target's metric.
func (r *Result) Stat(target, metric string) (Stat, bool) {
	for _, s := range r.Summary {
		if s.Target == target && s.Metric == metric {
			return s, true
		}
	}
	return Stat{}, false
}

// Conclude fills Valid, Partial and Missed of the document from its results.
func (d *Document) Conclude() {
	d.Valid, d.Missed, d.Results = len(d.Results) > 0, []string{}, some(d.Results)
	for _, r := range d.Results {
		d.Valid = d.Valid && r.Valid
		d.Partial = d.Partial || r.Partial
		d.Missed = append(d.Missed, r.Missed...)
	}
}

// Median is the middle value, or the mean of the two in the middle.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
