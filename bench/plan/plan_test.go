package plan

import (
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryClientIsInDistinctGroupsOfEqualSize(t *testing.T) {
	for _, p := range []Plan{
		{Conns: 5000, Groups: 1000, PerConn: 4}, {Conns: 10, Groups: 1, PerConn: 1}, {Conns: 10, Groups: 10, PerConn: 1},
		{Conns: 12, Groups: 4, PerConn: 4}, {Conns: 100, Groups: 10, PerConn: 5},
	} {
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		for i := range p.Conns {
			of := slices.Sorted(slices.Values(p.Of(i)))
			if len(slices.Compact(of)) != p.PerConn {
				t.Fatalf("%+v: client %d is in %v, want %d groups", p, i, p.Of(i), p.PerConn)
			}
		}
		for g, n := range p.Sizes() {
			if want := p.Conns * p.PerConn / p.Groups; n != want {
				t.Errorf("%+v: group %d has %d members, want %d", p, g, n, want)
			}
		}
	}
}

func TestGroupsShareFewMembers(t *testing.T) {
	p := Plan{Conns: 5000, Groups: 1000, PerConn: 4}
	shared := make(map[uint32]int) // with group 0
	for i := range p.Conns {
		if of := p.Of(i); slices.Contains(of, 0) {
			for _, g := range of {
				shared[g]++
			}
		}
	}
	for g, n := range shared {
		if g != 0 && n > 5 {
			t.Errorf("groups 0 and %d share %d of 20 members, want 5 at most", g, n)
		}
	}
}

func TestSharedGroups(t *testing.T) {
	p := Plan{Conns: 250}.Share(100)
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	if got, want := p.Sizes(), []int{250, 100, 100, 50}; !slices.Equal(got, want) {
		t.Errorf("groups of %v members, want %v", got, want)
	}
	for _, i := range []int{0, 99, 100, 249} {
		if got, want := p.Of(i), []uint32{0, uint32(1 + i/100)}; !slices.Equal(got, want) {
			t.Errorf("client %d is in %v, want %v", i, got, want)
		}
	}
}

func TestPickerFollowsItsExponent(t *testing.T) {
	const draws = 100000
	p := Plan{Conns: 10, Groups: 10, PerConn: 1}
	for name, tt := range map[string]struct {
		zipf     float64
		min, max float64 // share of group 0
	}{"in turn": {0, 0.1, 0.1}, "zipf 1": {1, 0.33, 0.35}, "zipf 2": {2, 0.63, 0.66}} {
		p.Zipf = tt.zipf
		pick, again := p.Picker(1), p.Picker(1)
		var counts [10]int
		for range draws {
			g := pick()
			if g != again() {
				t.Fatalf("%s: two pickers of one seed differ", name)
			}
			counts[g]++
		}
		if share := float64(counts[0]) / draws; share < tt.min || share > tt.max {
			t.Errorf("%s: group 0 has %.3f of the publications, want %v to %v", name, share, tt.min, tt.max)
		}
	}
}

func TestCheckRefusesWhatCannotBe(t *testing.T) {
	for name, p := range map[string]Plan{
		"nobody":                {Groups: 1, PerConn: 1},
		"no groups":             {Conns: 1, PerConn: 1},
		"more than there are":   {Conns: 5, Groups: 2, PerConn: 3},
		"empty groups":          {Conns: 5, Groups: 6, PerConn: 1},
		"personal but shared":   {Conns: 4, Groups: 2, PerConn: 1, Personal: true},
		"shared, and laid out":  {Conns: 4, Groups: 2, PerConn: 1, Shared: 2},
		"shared by less than 1": {Conns: 4, Groups: 2, PerConn: 1, Shared: -1},
		"a negative popularity": {Conns: 4, Groups: 2, PerConn: 1, Zipf: -1},
	} {
		if p.Check() == nil {
			t.Errorf("%s: Check(%+v) is content", name, p)
		}
	}
}
