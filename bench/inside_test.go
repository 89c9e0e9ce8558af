//go:build linux

package bench

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/bench/result"
)

func TestScrapeReadsGoRuntimes(t *testing.T) {
	const text = `# TYPE go_goroutines gauge
go_goroutines 12
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="1"} 0.002
go_gc_duration_seconds_sum 0.004
go_gc_duration_seconds_count 7
# TYPE go_memstats_alloc_bytes_total counter
go_memstats_alloc_bytes_total 5000
# TYPE go_memstats_mallocs_total counter
go_memstats_mallocs_total 40
# TYPE several gauge
several{a="1"} 1
several{a="2"} 1
`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	defer server.Close()
	got, err := scrape(t.Context(), server.URL, "secret")
	if err != nil {
		t.Fatal(err)
	}
	run := &result.Run{}
	now := &inside{at: 2e9, runtime: got}
	now.enter(run, &inside{runtime: map[string]float64{
		goGoroutines: 3, goGCs: 5, goPauses: 0.002, goBytes: 1000, goObjects: 20,
	}}, "delivery", 100)
	for name, want := range map[string]float64{"goroutines": 12, "gc/s": 1, "gc-pause-ns/s": 1e6, "alloc-B/delivery": 40, "allocs/delivery": 0.2} {
		if v, ok := run.Value(name); !ok || v != want {
			t.Errorf("%s = %v, %v, want %v", name, v, ok, want)
		}
	}
	if _, err := scrape(t.Context(), server.URL, ""); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without the token: %v", err)
	}
}

func TestTargetThatTellsNothingHasNoRuntimeMetrics(t *testing.T) {
	run := &result.Run{}
	(&inside{notes: []string{"a note"}}).enter(run, &inside{}, "delivery", 1)
	if len(run.Metrics) > 0 || len(run.Notes) != 1 {
		t.Errorf("metrics %v, notes %q", run.Metrics, run.Notes)
	}
}
