//go:build linux

package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/benchtest"
	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// quick is a load that machines busy with other tests keep up with: latencies of the harness itself are not judged, and a server that
// loses nothing may take its time.
func quick() result.Options {
	return with(func(o *result.Options) {
		o.Conns, o.Groups, o.Rate, o.Loops, o.Repeat = 20, 2, 200, 1, 1
		o.Warmup, o.Duration, o.Patience, o.MaxLag = 100*time.Millisecond, time.Second, time.Minute, time.Minute
	})
}

// forLosses is the patience with a server that does lose messages: every such run lasts for that much longer.
const forLosses = 2 * time.Second

// misbehave runs a fanout against a server with faults.
func misbehave(t *testing.T, o result.Options, f benchtest.Faults) *result.Run {
	t.Helper()
	return misbehaveIn(t, "fanout", o, f)
}

// misbehaveIn runs a scenario against a server with faults.
func misbehaveIn(t *testing.T, name string, o result.Options, f benchtest.Faults) *result.Run {
	t.Helper()
	s, err := findScenario(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(&o); err != nil {
		t.Fatal(err)
	}
	var wants target.Options
	if s.wants != nil {
		s.wants(&wants)
	}
	spec := codec.Spec{Codec: "raw", Speaks: wants.Speaks}
	if wants.Moves {
		spec.Codec = "gatecast"
	}
	server, err := benchtest.Start(f, spec)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	run, err := s.run(t.Context(), &site{o: o, in: server, personal: s.personal})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// TestEveryFaultIsCaughtAndNamed makes about 2,200 deliveries in each scenario.
func TestEveryFaultIsCaughtAndNamed(t *testing.T) {
	t.Parallel()
	for _, load := range []struct {
		scenario string
		change   func(o *result.Options)
	}{
		{"fanout", func(*result.Options) {}},
		{"groups", func(o *result.Options) { o.Groups, o.PerConn = 4, 2 }},
		{"notify", func(o *result.Options) { o.Rate = 2000 }},
		{"echo", func(o *result.Options) { o.Rate, o.Batch = 2000, 4 }},
	} {
		for _, tt := range []struct {
			name   string
			faults benchtest.Faults
			want   string // the only fault; "" = valid
			note   string
		}{
			{"a good server is valid", benchtest.Faults{}, "", ""},
			{"drops one in 1,000", benchtest.Faults{DropEvery: 1000}, "2 of 2200 messages lost", ""},
			{"duplicates", benchtest.Faults{DuplicateEvery: 1000}, "2 of 2200 messages duplicated", ""},
			{"reorders", benchtest.Faults{ReorderEvery: 750}, "2 of 2200 messages reordered", ""}, // with hundreds to come, for a message held back comes with the next
			{"delivers to the wrong group", benchtest.Faults{WrongGroupEvery: 1000}, "of 2200 messages delivered to the wrong group", ""},
			{"stalls for a while", benchtest.Faults{StallAfter: 50, StallFor: 2 * time.Second}, "", "stalled: nothing arrived for"},
		} {
			t.Run(load.scenario+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				o := quick()
				load.change(&o)
				if tt.faults.DropEvery > 0 {
					o.Patience = forLosses
				}
				run := misbehaveIn(t, load.scenario, o, tt.faults)
				if got := strings.Join(run.Faults, "; "); (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) || len(run.Faults) > 1 {
					t.Errorf("faults = %q, want %q only", got, tt.want)
				}
				if got := strings.Join(run.Notes, "; "); !strings.Contains(got, tt.note) {
					t.Errorf("notes = %q, want %q in them", got, tt.note)
				}
				r := &result.Result{Runs: []*result.Run{run}}
				if r.Summarise(); r.Valid != (tt.want == "" && len(run.Harness) == 0) || r.Valid != (len(r.Summary) > 0) {
					t.Errorf("valid = %v with %d lines of summary; an invalid result has none", r.Valid, len(r.Summary))
				}
			})
		}
	}
}

func TestServerThatStallsForGoodIsNamed(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Patience = forLosses
	run := misbehave(t, o, benchtest.Faults{StallAfter: 50, StallFor: time.Hour})
	got := strings.Join(run.Faults, "; ")
	if !strings.Contains(got, "messages lost") || !strings.Contains(got, "stalled: nothing arrived in the last") {
		t.Errorf("faults = %q, want lost messages and a stall", got)
	}
}

func TestDelayShowsInEveryPercentile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"fanout", "groups", "notify", "echo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			delayed(t, name)
		})
	}
}

func delayed(t *testing.T, scenario string) {
	t.Helper()
	o, delay := quick(), 50*time.Millisecond
	run := misbehaveIn(t, scenario, o, benchtest.Faults{Delay: delay})
	if len(run.Faults) > 0 {
		t.Fatalf("faults = %q, want none", run.Faults)
	}
	for _, h := range run.Histograms {
		if least := time.Duration(h.H.Min()); least < delay-delay/1000 {
			t.Errorf("%s: the shortest is %v, want %v at least", h.Name, least, delay)
		}
		t.Logf("%s: p50 is %v of a delay of %v", h.Name, time.Duration(h.H.ValueAtQuantile(50)), delay)
	}
	run.Harness = nil // nor is what a busy machine did to the harness
	o.P99 = 20 * time.Millisecond
	r := &result.Result{Options: o, Runs: []*result.Run{run}}
	if r.Summarise(); len(r.Missed) != 1 || !strings.Contains(r.Missed[0], "the threshold 20ms") {
		t.Errorf("missed = %q, want the p99", r.Missed)
	}
}

// TestLatencyIsFromTheDueTime: a server that needs 10 ms a message cannot keep 200 a second. Publication k waits for the k before
// it, 5 ms more each: half of them wait longer than 0.5 s. A load that waited for its server would see 10 ms each.
func TestLatencyIsFromTheDueTime(t *testing.T) {
	t.Parallel()
	for _, scenario := range []string{"fanout", "groups", "notify", "echo"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			o := quick()
			o.Warmup = time.Millisecond
			run := misbehaveIn(t, scenario, o, benchtest.Faults{Work: 10 * time.Millisecond})
			if len(run.Faults) > 0 {
				t.Fatalf("faults = %q, want none", run.Faults)
			}
			for metric, least := range map[string]time.Duration{
				"response-p50-ns": 490 * time.Millisecond, "response-p99-ns": 970 * time.Millisecond, "last-p50-ns": 490 * time.Millisecond,
			} {
				if v, ok := run.Value(metric); ok && time.Duration(v) < least {
					t.Errorf("%s = %v, want %v at least", metric, time.Duration(v), least)
				}
			}
		})
	}
}

func TestWindowKeepsNoMoreInFlight(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Rate, o.Window = 0, 4
	run := misbehave(t, o, benchtest.Faults{Delay: 20 * time.Millisecond})
	if len(run.Faults) > 0 {
		t.Fatalf("faults = %q, want none", run.Faults)
	}
	// 4 in flight, each 20 ms at least: 200 a second at most, for 1.1 s.
	if n := run.Ledger.Expected / 10; n < 4 || n > 4*(1100/20+1) {
		t.Errorf("%d publications in 1.1 s, want 220 at most", n)
	}
}

func TestWindowedEcho(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Rate, o.Window, o.Batch = 0, 8, 2
	run := misbehaveIn(t, "echo", o, benchtest.Faults{Delay: 20 * time.Millisecond})
	if len(run.Faults) > 0 {
		t.Fatalf("faults = %q, want none", run.Faults)
	}
	// 8 in flight, each 20 ms at least: 400 a second at most, for 1.1 s.
	if n := run.Ledger.Expected; n < 8 || n > 8*(1100/20+1) {
		t.Errorf("%d messages in 1.1 s, want 440 at most", n)
	}
}
