//go:build linux

package html

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/gatecast/gatecast/bench/result"
)

// spectrumNames are the histograms that are drawn, with what they mean.
var spectrumNames = []struct{ name, title string }{
	{"response", "Response by percentile"},
	{"last", "Last receiver by percentile"},
}

// spectra draws latency by percentile, all targets in one plot: x is log 1/(1-p), so each tick is a tenth of what is above.
func spectra(r *result.Result, all marks) (charts []chart) {
	for _, s := range spectrumNames {
		var curves []curve
		far := 0.0
		for _, name := range r.Targets() {
			c := curve{mark: all.of(name), points: spectrum(r, name, s.name)}
			if n := len(c.points); n > 0 {
				far = max(far, c.points[n-1].x)
			}
			nines := 0.0
			for i, p := range c.points {
				if p.x >= nines {
					c.shapes, nines = append(c.shapes, i), math.Floor(p.x)+1
				}
			}
			curves = append(curves, c)
		}
		x := xAxis{hi: far, text: func(v float64) string { return percentileText(int(v)) }}
		for v := range int(far) + 1 {
			x.ticks = append(x.ticks, float64(v))
		}
		about := "percentile up to the slowest; median of the repeats"
		if c, ok := newChart(s.title, about, "-ns", x, curves); ok {
			charts = append(charts, c)
		}
	}
	return charts
}

// percentileText is that of so many nines: 0, 90, 99, 99.9.
func percentileText(nines int) string {
	if nines < 1 {
		return "0"
	}
	return strconv.FormatFloat(100-math.Pow(10, float64(2-nines)), 'f', max(0, nines-2), 64)
}

// spectrum is the median over a target's repeats at each percentile that at least half of them reached. The slowest stands where
// its percentile would be.
func spectrum(r *result.Result, target, name string) (points []point) {
	at := make(map[float64][]float64)
	var slowest, depth []float64
	repeats := 0
	for _, run := range r.Runs {
		for _, s := range run.Spectra {
			if run.Target != target || s.Name != name {
				continue
			}
			repeats++
			deepest := 0.0
			for _, p := range s.Points {
				if p.Percentile >= 100 {
					slowest = append(slowest, float64(p.NS))
					continue
				}
				x := -math.Log10(1 - p.Percentile/100)
				at[x], deepest = append(at[x], float64(p.NS)), max(deepest, x)
			}
			depth = append(depth, deepest)
		}
	}
	for x, ns := range at {
		if 2*len(ns) >= repeats {
			points = append(points, point{x, max(1, result.Median(ns))})
		}
	}
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.x, b.x) })
	if n := len(points); n > 0 && len(slowest) > 0 {
		// Repeats that reach less far can pull a median below the one before; percentiles do not fall.
		for i := 1; i < n; i++ {
			points[i].y = max(points[i].y, points[i-1].y)
		}
		end := point{max(result.Median(depth), points[n-1].x) + 0.03, max(result.Median(slowest), points[n-1].y)}
		points = append(points, end)
	}
	return points
}

// timeMost is how many points a line over time has; longer runs are drawn in steps of several seconds.
const timeMost = 120

// overTime draws what happened second by second.
func overTime(r *result.Result, all marks) (charts []chart) {
	seconds := make(map[string][]instant)
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, run := range r.Runs {
		for _, s := range run.Series {
			lo, hi = min(lo, math.Round(s.At)), max(hi, math.Round(s.At))
		}
	}
	if hi <= lo {
		return nil
	}
	step := math.Ceil((hi - lo + 1) / timeMost)
	targets := r.Targets()
	for _, name := range targets {
		seconds[name] = instants(r, name, lo, step)
	}
	x := xAxis{lo: lo, hi: hi, ticks: niceTicks(lo, hi), warmup: true, text: func(v float64) string {
		return strconv.FormatFloat(v, 'f', -1, 64) + " s"
	}}
	unit := "by second; median of the repeats"
	if step > 1 {
		unit = "by " + strconv.FormatFloat(step, 'f', 0, 64) + " s, the largest of each; median of the repeats"
	}
	if lo < 0 {
		unit += "; shaded: warm-up"
	}
	changes := func(value func(result.Second) float64) bool {
		for _, run := range r.Runs {
			for _, s := range run.Series {
				if value(s) != value(run.Series[0]) {
					return true
				}
			}
		}
		return false
	}
	conns := func(s result.Second) float64 { return float64(s.Conns) }
	delivered := func(s result.Second) float64 { return float64(s.Delivered) }
	for _, p := range []struct {
		title, metric string
		show          bool
		zero          bool // 0 is a value and not silence
		value         func(result.Second) float64
	}{
		{"Response p50 over time", "-ns", true, false, func(s result.Second) float64 { return float64(s.P50) }},
		{"Response p99 over time", "-ns", true, false, func(s result.Second) float64 { return float64(s.P99) }},
		{"Server CPU over time, cores", "", true, true, func(s result.Second) float64 { return s.CPU }},
		{"Server memory (RSS) over time", "-B", true, false, func(s result.Second) float64 { return float64(s.RSS) }},
		{"Deliveries a second", "", true, true, delivered},
		{"Connections", "", changes(conns), true, conns},
	} {
		if !p.show {
			continue
		}
		var curves []curve
		for _, name := range targets {
			c := curve{mark: all.of(name)}
			for _, in := range seconds[name] {
				c.points = append(c.points, point{in.at, in.median(p.value, p.zero)})
			}
			if n := len(c.points); n > 0 {
				c.shapes = []int{n / 2}
			}
			curves = append(curves, c)
		}
		if c, ok := newChart(p.title, unit, p.metric, x, curves); ok {
			charts = append(charts, c)
		}
	}
	return charts
}

// instant is a second, or a step of several, in all repeats of a target.
type instant struct {
	at   float64
	runs [][]result.Second // of each repeat
}

func instants(r *result.Result, target string, lo, step float64) (all []instant) {
	for _, run := range r.Runs {
		if run.Target != target {
			continue
		}
		seen := make(map[int]int) // index of the step's seconds in the instant
		for _, s := range run.Series {
			i := int((math.Round(s.At) - lo) / step)
			for len(all) <= i {
				all = append(all, instant{at: lo + float64(len(all))*step})
			}
			j, ok := seen[i]
			if !ok {
				j = len(all[i].runs)
				seen[i], all[i].runs = j, append(all[i].runs, nil)
			}
			all[i].runs[j] = append(all[i].runs[j], s)
		}
	}
	return all
}

// median is that of the repeats, each taken by the largest value of the step.
func (in instant) median(value func(result.Second) float64, zero bool) float64 {
	var v []float64
	for _, run := range in.runs {
		most := math.Inf(-1)
		for _, s := range run {
			most = max(most, value(s))
		}
		if most > 0 || zero && most == 0 {
			v = append(v, most)
		}
	}
	return result.Median(v)
}
