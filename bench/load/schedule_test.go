//go:build linux

package load

import "testing"

func TestPassedAndDueAgree(t *testing.T) {
	for _, rate := range []float64{0.1, 1, 3, 7, 20, 333, 1e3, 1e6 / 3, 1e6} {
		s := Schedule{Start: 1e9, Rate: rate}
		if got := s.Passed(s.Start - 1); got != 0 {
			t.Errorf("rate %v: %d due before the start, want 0", rate, got)
		}
		for _, k := range []int{0, 1, 2, 99, 1000, 123456} {
			due := s.Due(k)
			if got := s.Passed(due); got != k+1 {
				t.Errorf("rate %v: %d due when publication %d is, want %d", rate, got, k, k+1)
			}
			if got := s.Passed(due - 1); got != k {
				t.Errorf("rate %v: %d due just before publication %d is, want %d", rate, got, k, k)
			}
		}
	}
}

func TestRecordKeepsWhatIsOutOfRange(t *testing.T) {
	h := NewHistogram()
	Record(h, -5)
	Record(h, 1e18)
	if n := h.TotalCount(); n != 2 {
		t.Errorf("%d values recorded, want 2", n)
	}
}
