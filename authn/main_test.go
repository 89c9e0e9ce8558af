package authn

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantAllocs checks that f allocates at most so often, but not under the race detector, which adds its own.
func wantAllocs(t *testing.T, most float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, f); got > most && !raceEnabled {
		t.Errorf("%v allocations, want at most %v", got, most)
	}
}
