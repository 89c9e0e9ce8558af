//go:build linux

package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/benchtest"
)

func TestChurnHoldsTheTargetToItsConfirmations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		faults benchtest.Faults
		want   string // the only fault; "" = valid
	}{
		{"a good server is valid", benchtest.Faults{}, ""},
		{"a message after leaving", benchtest.Faults{GhostEvery: 5}, "delivered after leaving"},
		{"lost after a join", benchtest.Faults{DeafEvery: 5}, "lost"},
		{"drops one in 1,000", benchtest.Faults{DropEvery: 1000}, "lost"},
		{"duplicates", benchtest.Faults{DuplicateEvery: 1000}, "duplicated"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := quick()
			o.Churn, o.Duration = 50, 2*time.Second
			if tt.want == "lost" {
				o.Patience = forLosses
			}
			run := misbehaveIn(t, "churn", o, tt.faults)
			for try := 1; len(run.Harness) > 0 && try < o.Retries; try++ { // as always
				t.Log(run.Harness)
				run = misbehaveIn(t, "churn", o, tt.faults)
			}
			if got := strings.Join(run.Faults, "; "); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) || len(run.Faults) > 1 {
				t.Errorf("faults = %q, want %q only", got, tt.want)
			}
			if joins := value(t, run, "joins"); joins < 5 {
				t.Errorf("%v joins, want about 50", joins)
			}
		})
	}
}
