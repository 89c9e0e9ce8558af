package wire

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantAllocs fails if f allocates more than n times a call. Under the race detector allocations are not counted.
func wantAllocs(t *testing.T, n float64, f func()) {
	t.Helper()
	f() // fill pools
	if raceEnabled {
		return
	}
	if got := testing.AllocsPerRun(200, f); got > n {
		t.Errorf("got %v allocations, want at most %v", got, n)
	}
}
