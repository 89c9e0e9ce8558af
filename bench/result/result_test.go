//go:build linux

package result

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// paired is a result of raw and a server in turns: each pair is what both cost.
func paired(pairs ...[2]float64) *Result {
	r := &Result{Title: "a title", Cost: "server-ns/delivery"}
	for i, p := range pairs {
		for k, name := range []string{"raw", "server"} {
			run := &Run{Target: name, Repeat: i + 1, P99: time.Duration(p[k])}
			run.Compare(r.Cost, p[k])
			run.Add("fds", 7)
			r.Runs = append(r.Runs, run)
		}
	}
	return r
}

func TestARatioIsTheMedianOfThePairs(t *testing.T) {
	r := paired([2]float64{10, 20}, [2]float64{100, 110}, [2]float64{50, 75})
	r.Summarise()
	got, _ := r.Stat("server", r.Cost)
	// The medians' ratio would be 75/50 too, but the spread is that of the pairs.
	want := Stat{
		Target: "server", Metric: r.Cost, Compare: true, N: 3, Median: 75, Min: 20, Max: 110, Ratio: 1.5, RatioMin: 1.1, RatioMax: 2,
	}
	if got != want {
		t.Errorf("Stat = %+v, want %+v", got, want)
	}
	if fds, ok := r.Stat("server", "fds"); !ok || fds.Ratio != 0 {
		t.Errorf("what is not compared has the ratio %v, %v", fds.Ratio, ok)
	}
}

func TestARepeatWithoutItsPairHasNoRatio(t *testing.T) {
	r := paired([2]float64{10, 20}, [2]float64{10, 90})
	r.Runs = append(r.Runs[:2], r.Runs[3]) // the second raw was not made
	r.Summarise()
	if got := r.Ratios(r.Cost, "server", "raw"); !reflect.DeepEqual(got, []float64{2}) {
		t.Errorf("Ratios = %v, want those of the first repeat", got)
	}
}

func TestOneFaultLeavesNoSummary(t *testing.T) {
	for name, spoil := range map[string]func(*Run){
		"of the target":  func(run *Run) { run.Faults = []string{"lost"} },
		"of the harness": func(run *Run) { run.Harness = []string{"late"} },
	} {
		r := paired([2]float64{10, 20}, [2]float64{10, 20})
		spoil(r.Runs[2])
		r.Summarise()
		if r.Valid || len(r.Summary) > 0 || len(r.Missed) > 0 {
			t.Errorf("a fault %s: valid %v, %d stats", name, r.Valid, len(r.Summary))
		}
	}
}

func TestAThresholdIsHeldAgainstTheMedian(t *testing.T) {
	r := paired([2]float64{10, 20}, [2]float64{10, 30}, [2]float64{500, 40})
	r.Options.P99 = 25
	r.Summarise()
	d := &Document{Results: []*Result{r}}
	d.Conclude()
	want := []string{"a title: server: p99 of the response is 30ns, the threshold 25ns"}
	if !d.Valid || !reflect.DeepEqual(d.Missed, want) {
		t.Errorf("valid %v, missed %q, want %q", d.Valid, d.Missed, want)
	}
}

func TestBudgetsAreHeldAgainstTheMedians(t *testing.T) {
	for _, c := range []struct {
		budget Budget
		missed string // "" = kept
	}{
		{Budget{Target: "server", Metric: "server-ns/delivery", Ratio: 2}, ""},
		{Budget{Target: "server", Metric: "server-ns/delivery", Ratio: 1.99}, "a title: server-ns/delivery of server at most 1.99 of the first target's; it is 2.00"},
		{Budget{Target: "server", Metric: "server-ns/delivery", Value: 30}, ""},
		{Budget{Target: "server", Metric: "server-ns/delivery", Value: 29}, "a title: server-ns/delivery of server at most 29 ns; it is 30 ns"},
		{Budget{Target: "server", Metric: "other", Value: 1}, "a title: other of server at most 1; it is not measured"},
	} {
		r := paired([2]float64{10, 20}, [2]float64{10, 30}, [2]float64{500, 900})
		r.Budgets = []Budget{c.budget}
		r.Summarise()
		want := []string{}
		if c.missed != "" {
			want = append(want, c.missed)
		}
		if !reflect.DeepEqual(r.Missed, want) {
			t.Errorf("%v: missed %q, want %q", c.budget, r.Missed, want)
		}
	}
}

func TestListsAreNeverNullInJSON(t *testing.T) {
	empty := &Result{}
	r := paired([2]float64{10, 20})
	r.Discarded = []*Run{{Target: "raw"}}
	for _, r := range []*Result{r, empty} {
		r.Summarise()
		r.Options.Targets = []string{"raw"}
	}
	for _, d := range []*Document{{}, {Results: []*Result{r, empty}, Command: []string{"gatecast"}}} {
		d.Conclude()
		d.Command = []string{"gatecast"}
		b, err := json.Marshal(d)
		if err != nil || strings.Contains(string(b), "null") {
			t.Errorf("%s, %v holds null", b, err)
		}
	}
}

func TestASpectrumReachesAsFarAsThereAreValues(t *testing.T) {
	h := hdrhistogram.New(1, 1000, 3)
	for v := range int64(100) {
		_ = h.RecordValue(v + 1)
	}
	var run Run
	run.Latency("response", h, true)
	points := run.Spectra[0].Points
	if last := points[len(points)-1]; last != (Point{100, 100}) {
		t.Errorf("it ends at %+v", last)
	}
	if deepest := points[len(points)-2].Percentile; deepest >= 100 || deepest < 98 {
		t.Errorf("the deepest percentile of 100 values is %v", deepest)
	}
	if p50, _ := run.Value("response-p50-ns"); p50 != 50 {
		t.Errorf("p50 = %v", p50)
	}
}
