//go:build linux

package compare

import (
	"math"
	"testing"
)

// TestMannWhitney: the probabilities are counts of the ways to choose ranks, by the number of all ways.
func TestMannWhitney(t *testing.T) {
	for _, c := range []struct {
		name      string
		a, b      []float64
		p, larger float64
	}{
		{"apart, 3 and 3", []float64{1, 2, 3}, []float64{4, 5, 6}, 0.1, 1},
		{"apart, 4 and 4", []float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, 2.0 / 70, 1},
		{"apart, 5 and 5, the other way", []float64{6, 7, 8, 9, 10}, []float64{1, 2, 3, 4, 5}, 2.0 / 252, 0},
		{"apart, 7 and 7", []float64{1, 2, 3, 4, 5, 6, 7}, []float64{8, 9, 10, 11, 12, 13, 14}, 2.0 / 3432, 1},
		{"mixed", []float64{1, 3, 5, 7}, []float64{2, 4, 6, 8}, 48.0 / 70, 0.625},
		{"all alike", []float64{1, 1, 1, 1}, []float64{1, 1, 1, 1}, 1, 0.5},
		{"ties between the samples", []float64{1, 2, 2}, []float64{2, 3, 3}, 0.3, 8.0 / 9},
		{"nothing", nil, []float64{1}, 1, 0.5},
	} {
		p, larger := mannWhitney(c.a, c.b)
		if math.Abs(p-c.p) > 1e-9 || math.Abs(larger-c.larger) > 1e-9 {
			t.Errorf("%s: p = %v, larger = %v; want %v, %v", c.name, p, larger, c.p, c.larger)
		}
	}
}

func TestExactAndNormalMeet(t *testing.T) {
	var a, b []float64
	for i := range 30 {
		a, b = append(a, float64(i)), append(b, float64(i)+4.5)
	}
	exact, larger := mannWhitney(a, b)
	if near := normal(30, 30, 0, larger); math.Abs(exact-near) > 0.003 {
		t.Errorf("exact %v, normal %v", exact, near)
	}
	more, _ := mannWhitney(append(a, 30), append(b, 34.5))
	if math.Abs(more-exact) > 0.01 {
		t.Errorf("30 values each: %v, 31: %v", exact, more)
	}
}

func TestRepeatsNeeded(t *testing.T) {
	if n := leastRepeats(); n != 4 {
		t.Errorf("least repeats = %d, want 4", n)
	}
	for _, c := range []struct {
		larger float64
		want   int
	}{{1, 6}, {0, 6}, {0.7, 33}, {0.5, 0}, {0.51, 0}} {
		if got := neededRepeats(c.larger); got != c.want {
			t.Errorf("neededRepeats(%v) = %d, want %d", c.larger, got, c.want)
		}
	}
}
