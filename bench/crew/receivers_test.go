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
	times := Merge(r.members, r.report([]uint32{publications})).Times
	for _, tt := range []struct {
		name string
		got  int64
		want int64
	}{
		{"first", times.First.ValueAtQuantile(99), 50e6},
		{"median", times.Median.ValueAtQuantile(99), 54e6},
		{"last", times.Last.ValueAtQuantile(1), 59e6},
		{"response, shortest", times.Response.Min(), 50e6},
		{"response, p50", times.Response.ValueAtQuantile(50), 54e6},
		{"response, p99.9", times.Response.ValueAtQuantile(99.9), 59e6},
		{"service, p50", times.Service.ValueAtQuantile(50), 52e6},
	} {
		if off := float64(tt.got-tt.want) / float64(tt.want); off < -0.001 || off > 0.001 {
			t.Errorf("%s = %d ns, want %d within 0.1 %%", tt.name, tt.got, tt.want)
		}
	}
	if got := r.completed.Load(); got != publications {
		t.Errorf("%d publications completed, want %d", got, publications)
	}
}

// TestMergeIsExactOverParts splits receivers into parts and merges them again.
func TestMergeIsExactOverParts(t *testing.T) {
	const members, publications = 10, 50
	p := plan.Plan{Conns: members, Groups: 1, PerConn: 1}
	parts := []*receivers{newReceivers(Options{Run: 1, Plan: p, Count: 3}), newReceivers(Options{Run: 1, Plan: p, First: 3, Count: 7, Clock: 5e6})}
	whole := newReceivers(Options{Run: 1, Plan: p, Count: members})
	for _, r := range append(parts, whole) {
		r.begin(10e6, nil)
	}
	for k := range publications {
		s := ledger.Stamp{Run: 1, Seq: uint32(k), Due: int64(k) * 1e6, Sent: int64(k) * 1e6}
		for m := range members {
			at := s.Due + 50e6 + int64(m)*1e6
			whole.Receive(m, s, at)
			if m < 3 {
				parts[0].Receive(m, s, at)
			} else {
				parts[1].Receive(m-3, s, at-5e6) // its clock is behind
			}
		}
	}
	sent := []uint32{publications}
	got := Merge([]int{members}, parts[0].report(sent), parts[1].report(sent))
	want := Merge([]int{members}, whole.report(sent))
	if got.Counts != want.Counts || got.Counts.Expected != members*publications || len(got.Counts.Faults()) > 0 {
		t.Errorf("counts = %+v, want %+v", got.Counts, want.Counts)
	}
	if !got.Times.First.Equals(want.Times.First) || !got.Times.Last.Equals(want.Times.Last) || !got.Times.Response.Equals(want.Times.Response) {
		t.Error("first, last or response differ from those of the whole")
	}
	if n := got.Times.Last.TotalCount(); n != publications-10 {
		t.Errorf("%d publications timed, want %d: the rest were warm-up", n, publications-10)
	}
	if m := got.Times.Median.Max(); m < 52e6 || m > 57e6 {
		t.Errorf("median = %d, want one of the receivers' in the middle", m)
	}
	if len(got.Seconds) != len(want.Seconds) || !got.Seconds[0].Response.Equals(want.Seconds[0].Response) {
		t.Errorf("%d seconds, want %d and alike", len(got.Seconds), len(want.Seconds))
	}
}
