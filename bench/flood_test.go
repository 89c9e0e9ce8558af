//go:build linux

package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/benchtest"
)

func TestAFloodIsToldFromTheReceivers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		faults      benchtest.Faults
		limit       int
		refused     bool
		fault, note string // "" = none
	}{
		{"a server without a limit", benchtest.Faults{}, 100, false, "", "the target has no limit"},
		{"a server that refuses", benchtest.Faults{Admit: 30, Otherwise: benchtest.Refuse}, 100, true, "", ""},
		{"a server that takes more than it should", benchtest.Faults{Admit: 250, Otherwise: benchtest.Refuse}, 20, true, "should have been", ""},
		{"a server that hangs up", benchtest.Faults{Admit: 30, Otherwise: benchtest.HangUp}, 100, false, "got no answer", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := quick()
			o.Conns, o.Flood, o.Limit, o.Duration = 20, 300, tt.limit, 3*time.Second
			run := misbehaveIn(t, "flood", o, tt.faults)
			if got := strings.Join(run.Faults, "; "); (tt.fault == "") != (got == "") || !strings.Contains(got, tt.fault) {
				t.Errorf("faults = %q, want %q", got, tt.fault)
			}
			if got := strings.Join(run.Notes, "; "); !strings.Contains(got, tt.note) {
				t.Errorf("notes = %q, want %q in them", got, tt.note)
			}
			due, accepted, refused := value(t, run, "flood-due"), value(t, run, "flood-accepted"), value(t, run, "flood-refused")
			if due != 300 || accepted == 0 || (refused > 0) != tt.refused || accepted+refused > due {
				t.Errorf("%v handshakes due, %v accepted, %v refused", due, accepted, refused)
			}
			if run.Ledger.Lost > 0 || value(t, run, "during/before") <= 0 {
				t.Errorf("%d messages lost, ratio %v", run.Ledger.Lost, value(t, run, "during/before"))
			}
		})
	}
}
