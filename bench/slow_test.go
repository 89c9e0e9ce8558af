//go:build linux

package bench

import (
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/benchtest"
	"github.com/gatecast/gatecast/bench/result"
)

// sluggish is a run in which two receivers of 10 do not read for a while. It is little to do, so that others keep up on a machine busy
// with other tests: there is room for a second of messages. But it is 800 KB/s each, so that who does not read has none left before the
// phase ends. If the others did not keep up it is made again, as always.
func sluggish(t *testing.T, f benchtest.Faults) *result.Run {
	t.Helper()
	o := quick()
	o.Conns, o.Groups, o.Slow, o.Rate, o.Size, o.Duration, o.Patience = 10, 1, 0.2, 25, 32000, 6*time.Second, forLosses
	for range o.Retries {
		run := misbehaveIn(t, "slow", o, f)
		if len(run.Faults) > 0 {
			t.Fatalf("faults = %q, want none: slow receivers may lose and be closed", run.Faults)
		}
		if len(run.Harness) == 0 {
			return run
		}
		t.Log(run.Harness)
	}
	t.Fatal("the receivers never kept up")
	return nil
}

func value(t *testing.T, run *result.Run, metric string) float64 {
	t.Helper()
	v, ok := run.Value(metric)
	if !ok {
		t.Fatalf("no metric %s", metric)
	}
	return v
}

func TestSlowReceiversAreToldFromOthers(t *testing.T) {
	t.Parallel()
	const short = 24 // messages a server keeps for who does not read
	for _, tt := range []struct {
		name   string
		faults benchtest.Faults
		loses  bool
		closed float64
		during time.Duration // p99 of the others, at least
	}{
		{"nothing is lost with room for all", benchtest.Faults{}, false, 0, 0},
		{"messages are left out", benchtest.Faults{Queue: short}, true, 0, 0},
		{"slow ones are closed", benchtest.Faults{Queue: short, CloseSlow: true}, true, 2, 0},
		{"slow ones hold up everybody", benchtest.Faults{Queue: short, WaitForSlow: true}, false, 0, 100 * time.Millisecond},
		{"one victim is disturbed", benchtest.Faults{DisturbFirst: true}, false, 0, 50 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for range common.Retries { // on a machine that holds the server up, too little may come while slow ones do not read
				run := sluggish(t, tt.faults)
				lost, closed, p99 := value(t, run, "slow-lost"), value(t, run, "slow-closed"), time.Duration(value(t, run, "during-p99-ns"))
				t.Logf("%v messages lost by slow receivers, %v closed, p99 of the others is %v while they do not read", lost, closed, p99)
				if lost > 0 && !tt.loses || closed > tt.closed {
					t.Fatalf("want some lost: %v, and %v closed", tt.loses, tt.closed)
				}
				if (lost > 0) == tt.loses && closed == tt.closed && p99 >= tt.during {
					return
				}
			}
			t.Errorf("want some lost: %v, %v closed, and %v at least", tt.loses, tt.closed, tt.during)
		})
	}
}

func TestSlowNeedsSlowOnesAndOthers(t *testing.T) {
	words := lenient(t, "slow", "-target", "raw", "-conns", "5", "-slow", "0.1")
	if code, _, stderr := command(t, words...); code != exitError {
		t.Errorf("exit code %d, want 3\n%s", code, stderr)
	}
}
