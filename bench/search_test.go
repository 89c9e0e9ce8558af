//go:build linux

package bench

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/benchtest"
	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/result"
)

// TestSearchFindsWhatAServerKeeps: a server that needs 10 ms a message keeps 100 a second, and is a second late after a second of 200.
func TestSearchFindsWhatAServerKeeps(t *testing.T) {
	t.Parallel()
	server, err := benchtest.Start(benchtest.Faults{Work: 10 * time.Millisecond}, codec.Spec{Codec: "raw"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	o := quick()
	o.Search, o.Rate, o.Most, o.P99, o.Duration, o.Conns, o.Groups = "rate", 400, 1000, time.Second, time.Second, 4, 1
	run, err := probe(t.Context(), &site{o: o, in: server})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := run.Value("max-rate"); got <= 0 || got > 250 {
		t.Errorf("max-rate = %v, want below 250\n%s", got, strings.Join(run.Notes, "\n"))
	}
	if last := run.Notes[len(run.Notes)-1]; !strings.Contains(last, "the limit: ") {
		t.Errorf("the last note is %q, want the limit", last)
	}
}

func TestSearchEndsAtMost(t *testing.T) {
	t.Parallel()
	server, err := benchtest.Start(benchtest.Faults{}, codec.Spec{Codec: "raw"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	o := quick()
	o.Search, o.Rate, o.Most, o.P99, o.Duration, o.Conns, o.Groups = "conns", 20, 12, time.Minute, 300*time.Millisecond, 4, 1
	run, err := probe(t.Context(), &site{o: o, in: server})
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := run.Value("max-conns"); got != 12 {
		t.Errorf("max-conns = %v, want 12\n%s", got, strings.Join(run.Notes, "\n"))
	}
}

func TestProbeFailsForItsReason(t *testing.T) {
	o := result.Options{P99: time.Millisecond}
	f := &searched{site: &site{o: o}}
	for _, tt := range []struct {
		name string
		run  result.Run
		want string
	}{
		{"kept", result.Run{Metrics: []result.Metric{{Name: "last-p99-ns", Value: 1e6}}}, ""},
		{"too late", result.Run{Metrics: []result.Metric{{Name: "last-p99-ns", Value: 1e6 + 1}}}, "p99 of the last receiver"},
		{"lost", result.Run{Faults: []string{"2 messages lost"}}, "2 messages lost"},
		{"the harness", result.Run{Harness: []string{"fell behind"}}, "the harness itself: fell behind"},
	} {
		if got := f.judge(&tt.run); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestSlopeIsThatOfTheLine(t *testing.T) {
	var line []reading
	for i := range 10 {
		line = append(line, reading{at: int64(i) * int64(time.Minute), server: proc.Usage{RSS: int64(1000 + 50*i)}})
	}
	if got := slope(line); math.Abs(got-50) > 1e-6 {
		t.Errorf("slope = %v, want 50", got)
	}
	if got := slope(line[:1]); !math.IsNaN(got) {
		t.Errorf("slope of a point = %v", got)
	}
}
