package loop

import (
	"slices"
	"testing"
)

func TestSocketsAreGivenToLoops(t *testing.T) {
	for _, test := range []struct {
		name     string
		together int
		dials    int
		want     []int // by loop
	}{
		{"few share a loop", 4, 4, []int{4, 0, 0}},
		{"the next loop gets what the first has no room for", 4, 6, []int{4, 2, 0}},
		{"many are spread evenly", 4, 15, []int{5, 5, 5}},
		{"all are spread evenly", 0, 6, []int{2, 2, 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				r := newRig(t, m, func(o *Options) { o.Loops, o.Together = 3, test.together }, nil)
				got := make([]int, 3)
				for range test.dials {
					r.dial()
					got[await(t, r.opened, "Open").Loop()]++
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("%d sockets are %v by loop, want %v", test.dials, got, test.want)
				}
			})
		})
	}
}

func TestALoopThatLostSocketsIsFilledAgain(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, m, func(o *Options) { o.Loops, o.Together = 2, 2 }, nil)
		first := r.dial()
		await(t, r.opened, "Open")
		for range 2 {
			r.dial()
			await(t, r.opened, "Open")
		}
		first.Close()
		until(t, "room on the first loop", func() bool { return r.engine.loops[0].conns.Load() == 1 })
		r.dial()
		if got := await(t, r.opened, "Open").Loop(); got != 0 {
			t.Errorf("the socket went to loop %d, want the first, which has one", got)
		}
	})
}
