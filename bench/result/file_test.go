//go:build linux

package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/ledger"
)

// measured is a document as large as a suite's: results of two targets in pairs, with the metrics that a fanout has.
func measured(t testing.TB, results, pairs int) *Document {
	t.Helper()
	source := rand.New(rand.NewPCG(1, 2))
	d := &Document{Schema: Schema, Command: []string{"gatecast", "bench", `a "suite", {so to say}\`}, Began: time.Unix(1780000000, 0).UTC()}
	for i := range results {
		r := &Result{Scenario: "fanout", Title: fmt.Sprintf("fanout, %d connections", i), Cost: "server-ns/delivery"}
		for pair := range pairs {
			for _, target := range []string{"raw", "gatecast"} {
				run := &Run{Target: target, Version: "v0.9.2-14-gfb288d2", Repeat: pair + 1, Ledger: &ledger.Counts{Expected: 635000, Delivered: 635000}}
				run.Compare("server-ns/delivery", 6000+source.Float64()*1000)
				run.Add("harness-ns/delivery", 6000+source.Float64()*1000)
				for _, name := range []string{"response", "service", "first", "median", "last"} {
					h := hdrhistogram.New(1, 60e9, 3)
					for range 5000 {
						_ = h.RecordValue(int64(1e6 * (1 + source.ExpFloat64())))
					}
					run.Latency(name, h, name == "response")
				}
				for k := range 8 {
					run.Add(fmt.Sprintf("switches-of-kind-%d/delivery", k), source.Float64())
				}
				for s := range 4 {
					run.Series = append(run.Series, Second{
						At: float64(s) + source.Float64(), Delivered: source.Int64N(1e6), P50: source.Int64N(1e8), P99: source.Int64N(1e8),
						Max: source.Int64N(1e8), CPU: source.Float64(), RSS: source.Int64N(1e8), Conns: 1000,
					})
				}
				r.Runs = append(r.Runs, run)
			}
		}
		r.Budgets = []Budget{{Target: "gatecast", Metric: r.Cost, Ratio: 1.1}}
		r.Summarise()
		d.Results = append(d.Results, r)
	}
	d.Conclude()
	return d
}

func encode(t testing.TB, d *Document) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestAFileOfASuiteIsSmall: it is kept in the repository with every release.
func TestAFileOfASuiteIsSmall(t *testing.T) {
	const most = 300 << 10
	raw := encode(t, measured(t, 10, 5))
	if len(raw) > most {
		t.Errorf("10 results of 5 pairs: %d bytes, want at most %d", len(raw), most)
	}
	if n := bytes.Count(raw, []byte("\n    {\"target\":\"raw\",\"version\"")); n != 50 {
		t.Errorf("%d runs of raw begin a line, want 50", n)
	}
}

// near tells whether two values agree in the digits that a file keeps.
func near(a, b float64) bool { return a == b || math.Abs(a-b) <= 6e-4*math.Abs(a) }

func TestAFileSaysWhatWasMeasured(t *testing.T) {
	d := measured(t, 2, 3)
	back, err := Decode(encode(t, d))
	if err != nil {
		t.Fatal(err)
	}
	if !back.Valid || !back.Began.Equal(d.Began) || !reflect.DeepEqual(back.Command, d.Command) || len(back.Results) != len(d.Results) {
		t.Fatalf("read %+v, want %+v", back, d)
	}
	for i, r := range d.Results {
		again := back.Results[i]
		if again.Title != r.Title || !reflect.DeepEqual(again.Budgets, r.Budgets) || len(again.Summary) != len(r.Summary) {
			t.Errorf("result %+v, want %+v", again, r)
		}
		for _, s := range r.Summary {
			got, ok := again.Stat(s.Target, s.Metric)
			if !ok || got.Compare != s.Compare || got.N != s.N || !near(got.Median, s.Median) || !near(got.Max, s.Max) || !near(got.Ratio, s.Ratio) {
				t.Errorf("summary %+v, want %+v", got, s)
			}
		}
		for k, run := range r.Runs {
			got := again.Runs[k]
			if got.Target != run.Target || got.Repeat != run.Repeat || *got.Ledger != *run.Ledger || len(got.Spectra) != 2 {
				t.Errorf("run %+v, want %+v", got, run)
			}
			for _, m := range run.Metrics {
				if v, ok := got.Value(m.Name); !ok || !near(v, m.Value) {
					t.Errorf("%s is %v, want %v", m.Name, v, m.Value)
				}
			}
			for j, s := range run.Spectra {
				for l, p := range s.Points {
					if q := got.Spectra[j].Points[l]; q.Percentile != p.Percentile || !near(float64(q.NS), float64(p.NS)) {
						t.Errorf("%s: %+v, want %+v", s.Name, q, p)
					}
				}
			}
			for j, s := range run.Series {
				if q := got.Series[j]; q.Delivered != s.Delivered || !near(q.At, s.At) || !near(float64(q.P99), float64(s.P99)) {
					t.Errorf("%+v, want %+v", q, s)
				}
			}
		}
	}
}

// TestFilesOfSchema2AreRead: a baseline may be older than the program.
func TestFilesOfSchema2AreRead(t *testing.T) {
	const old = `{
 "schema": "gatecast-bench/2", "command": ["gatecast"], "valid": true, "missed": [],
 "results": [{
  "scenario": "fanout", "title": "fanout", "cost": "server-ns/delivery", "options": {"targets": ["raw"], "warmup_ns": 1000}, "valid": true,
  "runs": [{
   "target": "raw", "repeat": 1, "faults": [], "harness": [], "notes": [],
   "metrics": [{"name": "server-ns/delivery", "value": 6128.5778338868295, "compare": true}, {"name": "fds", "value": 12, "compare": false}],
   "spectra": [{"name": "response", "points": [{"p": 0, "ns": 7}, {"p": 15.91035847462855, "ns": 8}, {"p": 100, "ns": 9}]}]
  }],
  "summary": [{"target": "raw", "metric": "server-ns/delivery", "compare": true, "n": 1, "median": 6128.5778338868295, "min": 1, "max": 1}]
 }]
}`
	d, err := Decode([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	r := d.Results[0]
	run := r.Runs[0]
	if s, ok := r.Stat("raw", "fds"); !ok || s.Median != 12 {
		t.Errorf("fds are %+v", s)
	}
	want := []Metric{{"server-ns/delivery", 6128.5778338868295, true}, {"fds", 12, false}}
	if !reflect.DeepEqual(run.Metrics, want) || r.Options.Warmup != 1000 {
		t.Errorf("metrics %+v, want %+v; options %+v", run.Metrics, want, r.Options)
	}
	if points := run.Spectra[0].Points; len(points) != 3 || points[1] != (Point{15.91035847462855, 8}) {
		t.Errorf("points %+v", points)
	}
	again, err := Decode(encode(t, d))
	if err != nil || again.Schema != Schema {
		t.Fatalf("written anew it reads %+v, %v", again, err)
	}
	for i, p := range again.Results[0].Runs[0].Spectra[0].Points {
		if want := run.Spectra[0].Points[i]; p.NS != want.NS || math.Abs(p.Percentile-want.Percentile) > 1e-9 {
			t.Errorf("written anew point %d is %+v, want %+v", i, p, want)
		}
	}
}

// TestASpectrumOfOtherPointsIsSpelt: nothing but its place says what percentile a short one's point is of.
func TestASpectrumOfOtherPointsIsSpelt(t *testing.T) {
	s := Spectrum{"response", []Point{{50, 7}, {99, 123456}}}
	raw, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(raw), `"p":99`) {
		t.Fatalf("%s, %v", raw, err)
	}
	var again Spectrum
	if err := json.Unmarshal(raw, &again); err != nil || !reflect.DeepEqual(s, again) {
		t.Errorf("%+v, %v; want %+v", again, err, s)
	}
}

func TestWhatIsNoNumberIsNotWritten(t *testing.T) {
	d := &Document{Results: []*Result{{Runs: []*Run{{Metrics: []Metric{{Name: "broken", Value: math.NaN()}}}}}}}
	if err := Encode(new(bytes.Buffer), d); err == nil || !strings.Contains(err.Error(), "metric broken") {
		t.Errorf("Encode = %v, want an error that names the metric", err)
	}
}
