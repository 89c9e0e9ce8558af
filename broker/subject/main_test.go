package subject

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantAllocs checks the allocations of f, but not under the race detector, which adds its own.
func wantAllocs(t *testing.T, want float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, f); got != want && !raceEnabled {
		t.Errorf("%v allocations, want %v", got, want)
	}
}
