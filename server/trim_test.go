package server

import "testing"

func TestAQuietNodeGivesBackWhatIsWorthIt(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name               string
		now, before, after heap
		want               bool
	}{
		{"garbage and quiet", heap{200 * mb, 10 * mb, 15 * mb}, heap{allocated: 199 * mb}, heap{}, true},
		{"garbage, but busy", heap{200 * mb, 10 * mb, 15 * mb}, heap{allocated: 100 * mb}, heap{}, false},
		{"hardly any", heap{200 * mb, 10 * mb, 11 * mb}, heap{allocated: 199 * mb}, heap{}, false},
		{"little beside what lives", heap{200 * mb, 800 * mb, 850 * mb}, heap{allocated: 199 * mb}, heap{}, false},
		{"what the last trim left", heap{200 * mb, 10 * mb, 15 * mb}, heap{allocated: 199 * mb}, heap{150 * mb, 10 * mb, 14 * mb}, false},
		{"much beyond that", heap{200 * mb, 10 * mb, 17 * mb}, heap{allocated: 199 * mb}, heap{150 * mb, 10 * mb, 14 * mb}, true},
		{"less held than lived at the last collection", heap{200 * mb, 10 * mb, 9 * mb}, heap{allocated: 199 * mb}, heap{}, false},
	} {
		if got := worthTrimming(test.now, test.before, test.after); got != test.want {
			t.Errorf("%s: worthTrimming = %v, want %v", test.name, got, test.want)
		}
	}
}
