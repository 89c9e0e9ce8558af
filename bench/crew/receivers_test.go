//go:build linux

package crew

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestReceiversTimeExactly gives arrivals by hand, so that only the histogram's precision is between what was injected and what
// is told.
func TestReceiversTimeExactly(t *testing.T) {
	const members, publications = 10, 100
	r := newReceivers(Options{Run: 1, Plan: plan.Plan{Conns: members, Groups: 1, PerConn: 1}, Count: members})
	r.begin(0, nil)
	for k := range publications {
		s := ledger.Stamp{Run: 1, Seq: uint32(k), Due: int64(k) * 1e6, Sent: int64(k)*1e6 + 2e6}
		for m := range members {
			r.Receive(m, s, s.Due+50e6+int64(m)*1e6)
		}
	}
	for _, tt := range []struct {
		name string
		got  int64
		want int64
	}{
		{"first", r.times.First.ValueAtQuantile(99), 50e6},
		{"median", r.times.Median.ValueAtQuantile(99), 54e6},
		{"last", r.times.Last.ValueAtQuantile(1), 59e6},
		{"response, shortest", r.times.Response.Min(), 50e6},
		{"response, p50", r.times.Response.ValueAtQuantile(50), 54e6},
		{"response, p99.9", r.times.Response.ValueAtQuantile(99.9), 59e6},
		{"service, p50", r.times.Service.ValueAtQuantile(50), 52e6},
	} {
		if off := float64(tt.got-tt.want) / float64(tt.want); off < -0.001 || off > 0.001 {
			t.Errorf("%s = %d ns, want %d within 0.1 %%", tt.name, tt.got, tt.want)
		}
	}
	if got := r.completed.Load(); got != publications {
		t.Errorf("%d publications completed, want %d", got, publications)
	}
}
