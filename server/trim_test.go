package server

import "testing"

func TestAQuietNodeGivesBackWhatIsWorthIt(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name        string
		now, before heap
		scattered   uint64
		want        bool
	}{
		{"garbage and quiet", heap{200 * mb, 10 * mb, 15 * mb}, heap{allocated: 199 * mb}, 0, true},
		{"garbage, but busy", heap{200 * mb, 10 * mb, 15 * mb}, heap{allocated: 100 * mb}, 0, false},
		{"hardly any", heap{200 * mb, 10 * mb, 11 * mb}, heap{allocated: 199 * mb}, 0, false},
		{"little beside what lives", heap{200 * mb, 800 * mb, 850 * mb}, heap{allocated: 199 * mb}, 0, false},
		{"what a trim left", heap{200 * mb, 10 * mb, 15 * mb}, heap{allocated: 199 * mb}, 4 * mb, false},
		{"much beyond that", heap{200 * mb, 10 * mb, 17 * mb}, heap{allocated: 199 * mb}, 4 * mb, true},
		{"less held than lived at the last collection", heap{200 * mb, 10 * mb, 9 * mb}, heap{allocated: 199 * mb}, 0, false},
	} {
		if got := worthTrimming(test.now, test.before, test.scattered); got != test.want {
			t.Errorf("%s: worthTrimming = %v, want %v", test.name, got, test.want)
		}
	}
}

func TestATrimThatReturnedLittleIsNotRepeated(t *testing.T) {
	const mb = 1 << 20
	before := heap{live: 10 * mb, held: 19 * mb}
	if got := leftBy(before, heap{live: 10 * mb, held: 18 * mb}); got != 8*mb {
		t.Errorf("after a trim of 1 MB %d bytes count as scattered, want all 8 MB that are left", got)
	}
	if got := leftBy(before, heap{live: 10 * mb, held: 15 * mb}); got != 0 {
		t.Errorf("after a trim of 4 MB %d bytes count as scattered, want none", got)
	}
}
