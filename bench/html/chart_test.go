//go:build linux

package html

import (
	"math"
	"slices"
	"testing"
)

func TestLabelsKeepTheirDistance(t *testing.T) {
	for _, at := range [][]float64{
		{100}, {100, 100, 100}, {plotBottom, plotBottom, plotBottom}, {plotTop, plotTop, plotTop + 1}, {30, 200, 31, 199, 32},
		{50, 50, 50, 50, 50, 50, 260, 260, 260, 260, 260, 260},
	} {
		got := spread(at)
		sorted := slices.Sorted(slices.Values(got))
		for i, y := range sorted {
			if y < plotTop || y > plotBottom || i > 0 && y-sorted[i-1] < labelGap-0.01 {
				t.Errorf("spread(%v) = %v", at, got)
				break
			}
		}
	}
}

func TestScales(t *testing.T) {
	curves := func(v ...float64) []curve {
		var c curve
		for i, y := range v {
			c.points = append(c.points, point{float64(i), y})
		}
		return []curve{c}
	}
	for _, c := range []struct {
		name, metric string
		values       []float64
		log          bool
		lo, hi       float64
	}{
		{"times close together begin at zero", "-ns", []float64{700, 900}, false, 0, 1000},
		{"times far apart are logarithmic", "-ns", []float64{300, 1e6}, true, 200, 1e6},
		{"a whole decade is kept", "-ns", []float64{1000, 10_000}, true, 1000, 10_000},
		{"bytes have steps in their own units", "-B", []float64{100 << 20}, false, 0, 100 << 20},
		{"cores", "", []float64{0.03, 1.42}, false, 0, 1.5},
	} {
		s, ok := newScale(c.metric, curves(c.values...))
		if !ok || s.log != c.log || math.Abs(s.lo-c.lo) > 1e-6 || math.Abs(s.hi-c.hi) > 1e-6*c.hi {
			t.Errorf("%s: %+v, want from %v to %v", c.name, s, c.lo, c.hi)
		}
		for i := 1; i < len(s.ticks); i++ {
			if gap := (s.share(s.ticks[i]) - s.share(s.ticks[i-1])) * (plotBottom - plotTop); gap < tickGapY-1 {
				t.Errorf("%s: ticks %v are %v apart", c.name, s.ticks, gap)
			}
		}
	}
	for _, v := range [][]float64{nil, {math.NaN()}, {0, 0}} {
		if _, ok := newScale("-ns", curves(v...)); ok {
			t.Errorf("a scale for %v", v)
		}
	}
}

func TestPathHasGapsAndNoNeedlessPoints(t *testing.T) {
	same := func(v float64) float64 { return v }
	nan := math.NaN()
	for _, c := range []struct {
		points []point
		want   string
	}{
		{[]point{{0, 0}, {10, 10}, {20, 20}}, "M0 0l20 20"},
		{[]point{{0, 0}, {10, 30}, {20, 20}}, "M0 0l10 30l10-10"},
		{[]point{{0, 5}, {10, nan}, {20, 7}, {30, 7}}, "M0 5h0M20 7l10 0"},
		{[]point{{0, nan}}, ""},
	} {
		if got, _ := path(c.points, same, same); got != c.want {
			t.Errorf("path(%v) = %q, want %q", c.points, got, c.want)
		}
	}
}
