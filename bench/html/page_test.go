//go:build linux

package html

import (
	"bytes"
	"encoding/xml"
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/result"
)

func write(t testing.TB, d *result.Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// most is how large a report of a whole suite may be.
const most = 300 << 10

func TestReportOfASuiteIsSmall(t *testing.T) {
	if n := len(write(t, sample(6, 10, 3))); n > most {
		t.Errorf("6 results of 10 targets: %d bytes, want at most %d", n, most)
	}
}

func TestReportNeedsNothingElse(t *testing.T) {
	page := write(t, sample(2, 4, 3))
	for _, no := range []string{"<script", "<link", "<img", "<iframe", "http:", "https:", "url(", "@import", "javascript:"} {
		if strings.Contains(page, no) {
			t.Errorf("the page has %q", no)
		}
	}
}

// TestDrawingsAreWellFormed: what has no closing tags left out must be XML.
func TestDrawingsAreWellFormed(t *testing.T) {
	drawings := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(write(t, sample(3, 12, 2)), -1)
	if len(drawings) == 0 {
		t.Fatal("no drawings")
	}
	for _, svg := range drawings {
		if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
			t.Errorf("%v in %.200s", err, svg)
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("not a number in %.300s", svg)
		}
	}
}

func TestReportSaysWhatWasMeasured(t *testing.T) {
	page := write(t, sample(1, 4, 3))
	for _, want := range []string{
		"VALID", "gatecast-http", "v0.9.2-14-gfb288d2", "server CPU per delivery", "ratio to raw", "response p99",
		"last receiver p99", "server memory (RSS)",
		"Response by percentile", "Last receiver by percentile", "Response p50 over time", "Response p99 over time",
		"Server CPU over time", "Server memory (RSS) over time", "1,200,000", "dashed line: raw", "switches/delivery", "AMD EPYC 7B13",
		`-note &#39;it&#39;\&#39;&#39;s a sample&#39;`, "open loop at 20/s",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

func TestInvalidResultIsNotRanked(t *testing.T) {
	d := sample(1, 3, 2)
	run := d.Results[0].Runs[1]
	run.Ledger = &ledger.Counts{Expected: 1000, Delivered: 998, Lost: 2}
	run.Faults = run.Ledger.Faults()
	d.Results[0].Summarise()
	d.Conclude()
	page := write(t, d)
	for _, want := range []string{
		"<title>INVALID", "INVALID: no ranking", "2 of 1000 messages lost", "raw-batch", `<td class="bad">2</td>`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, no := range []string{"All metrics", "class=\"chart\"", "class=\"bars\"", "ratio to raw", "server CPU per delivery"} {
		if strings.Contains(page, no) {
			t.Errorf("the page of an invalid result has %q", no)
		}
	}
}

func TestVerdict(t *testing.T) {
	partial := sample(2, 2, 2)
	partial.Results[1].Partial = true
	partial.Conclude()
	missed := sample(1, 2, 2)
	missed.Results[0].Missed = []string{"too slow"}
	missed.Conclude()
	met := sample(1, 2, 2)
	met.Results[0].Options.P99 = time.Second
	empty := &result.Document{Partial: true}
	for _, c := range []struct {
		name  string
		d     *result.Document
		class string
		want  []string
	}{
		{"all is well", sample(1, 2, 2), "good", []string{"VALID", "Every run is valid.", "none set"}},
		{"a threshold is met", met, "good", []string{"VALID", "met"}},
		{"a threshold is missed", missed, "warn", []string{"THRESHOLD MISSED", "too slow", "1 missed"}},
		{"interrupted", partial, "warn", []string{"PARTIAL", "Ended before all runs were made"}},
		{"invalid and interrupted", spoil(sample(3, 3, 2)), "bad", []string{
			"INVALID and PARTIAL", "12 of 400000 messages lost", "the harness: the generator fell behind",
		}},
		{"interrupted at once", empty, "bad", []string{"NOTHING MEASURED and PARTIAL", "No run was finished"}},
	} {
		page := write(t, c.d)
		_, box, _ := strings.Cut(page, `<div class="verdict `)
		box, _, _ = strings.Cut(box, "</div>")
		if !strings.HasPrefix(box, c.class+`"`) {
			t.Errorf("%s: the verdict is of class %.10s, want %s", c.name, box, c.class)
		}
		for _, want := range c.want {
			if !strings.Contains(box, want) {
				t.Errorf("%s: the verdict has no %q:\n%s", c.name, want, box)
			}
		}
	}
}

func TestBudgetsKeptAndMissed(t *testing.T) {
	d := sample(3, 3, 3)
	allow(d)
	page := write(t, d)
	is := func(metric string) string {
		s, _ := d.Results[0].Stat("gatecast", metric)
		return times(s.Ratio)
	}
	const kept, missed = `</th><td class="good">kept</td><td>`, `</th><td class="bad">missed</td><td>`
	for _, want := range []string{
		"server CPU per delivery of gatecast" + kept + is("server-ns/delivery") + "<i>", "</i></td><td>1.25× of raw</td>",
		"last receiver p99 of gatecast" + missed + is("last-p99-ns") + "<i>", "</i></td><td>1.05× of raw</td>",
		"p99 during / before of gatecast" + missed + "not measured</td><td>1.20× of raw</td>",
		"server memory per connection of gatecast" + kept, "<td>10,000 B</td>",
	} {
		if n := strings.Count(page, want); n < 2 {
			t.Errorf("the page has %q %d times, want it among all budgets and in its section", want, n)
		}
	}
	spoiled := spoil(d)
	page = write(t, spoiled)
	_, section, _ := strings.Cut(page, `<section id="r2"`)
	section, _, _ = strings.Cut(section, "</section>")
	if !strings.Contains(section, `<td class="none">not judged</td><td>–</td><td>10,000 B</td>`) {
		t.Error("the budget of an invalid result is judged")
	}
	d = sample(1, 2, 2)
	d.Results[0].Budgets = []result.Budget{{Target: "raw-batch", Metric: "server-ns/delivery", Ratio: 100}}
	d.Results[0].Summarise()
	d.Conclude()
	if page := write(t, d); !strings.Contains(page, `<li class="good"><b>met</b><span>thresholds</span>`) {
		t.Error("the verdict does not say that the budgets are met")
	}
}

// TestLossThatAScenarioAllowsIsNoFault: receivers that stop reading lose messages, and the count is shown all the same.
func TestLossThatAScenarioAllowsIsNoFault(t *testing.T) {
	d := sample(1, 2, 1)
	d.Results[0].Runs[1].Ledger.Lost = 77
	page := write(t, d)
	if !strings.Contains(page, `<td class="warn">77</td>`) || !strings.Contains(page, `<li class="warn"><b>77</b><span>lost</span>`) {
		t.Error("allowed loss is not shown as such")
	}
}

func TestNamesAreEscaped(t *testing.T) {
	d := sample(1, 2, 2)
	const evil = `<script>alert("x")</script>`
	for _, run := range d.Results[0].Runs {
		run.Version = evil
		run.Notes = []string{evil}
		if run.Target == "raw-batch" {
			run.Target = evil
		}
	}
	d.Results[0].Title, d.Results[0].Scenario, d.Command = evil, evil, []string{evil}
	d.Results[0].Summarise()
	if page := write(t, d); strings.Contains(page, "<script") || !strings.Contains(page, "&lt;script&gt;") {
		t.Error("a name gets into the page as it is")
	}
}

// TestOddDocuments: nothing that a run can leave behind may break the page.
func TestOddDocuments(t *testing.T) {
	alone := sample(1, 1, 1)
	many := sample(1, 2, 1)
	for i := range 40 {
		run := *many.Results[0].Runs[1]
		run.Target = strings.Repeat("x", i)
		many.Results[0].Runs = append(many.Results[0].Runs, &run)
	}
	many.Results[0].Summarise()
	broken := sample(1, 2, 2)
	for _, run := range broken.Results[0].Runs {
		run.Metrics[0].Value = math.NaN()
		run.Series = run.Series[:1]
		run.Spectra[0].Points = run.Spectra[0].Points[:1]
		run.Ledger = nil
	}
	broken.Results[0].Summarise()
	uneven := sample(1, 3, 3) // a metric that one target has not
	uneven.Results[0].Runs[1].Metrics = uneven.Results[0].Runs[1].Metrics[5:]
	uneven.Results[0].Summarise()
	for name, d := range map[string]*result.Document{
		"one target once": alone, "more targets than colours": many, "no numbers": broken, "uneven": uneven,
		"nothing": {}, "a result without runs": {Results: []*result.Result{{Title: "fanout"}}},
	} {
		page := write(t, d)
		if !strings.HasSuffix(page, "</html>\n") || regexp.MustCompile(`d="[^"]*(NaN|Inf|-9223)`).MatchString(page) {
			t.Errorf("%s: the page is broken", name)
		}
	}
}

func TestWriteReportsErrors(t *testing.T) {
	want := errors.New("disk full")
	if err := Write(failing{want}, sample(1, 1, 1)); !errors.Is(err, want) {
		t.Errorf("Write = %v, want %v", err, want)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestLongRunsAreDrawnInSteps(t *testing.T) {
	d := sample(1, 2, 1)
	for _, run := range d.Results[0].Runs {
		run.Series = nil
		for s := range 3600 {
			run.Series = append(run.Series, result.Second{At: float64(s), P50: 1e6, P99: int64(s+1) * 1000, RSS: 1 << 20, Conns: s / 100})
		}
	}
	page := write(t, d)
	if !strings.Contains(page, "by 30 s") || !strings.Contains(page, "Connections") || len(page) > 100<<10 {
		t.Errorf("an hour is not drawn in steps; %d bytes", len(page))
	}
}

// TestWhatIsMeantToBeLargeSaysSo: the cost of a search is what a server can do.
func TestWhatIsMeantToBeLargeSaysSo(t *testing.T) {
	d := sample(2, 2, 2)
	if page := write(t, d); strings.Contains(page, "more is better") || !strings.Contains(page, "Less is better.") {
		t.Error("a page of costs does not say that less is better, or says more")
	}
	r := d.Results[1]
	r.Cost = "max-rate"
	for _, run := range r.Runs {
		run.Metrics[0].Name = r.Cost
	}
	r.Summarise()
	page := write(t, d)
	for _, want := range []string{"Less is better; in 2 more is better.", "<b>largest rate that was kept</b><span>more is better; median"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not hold %q", want)
		}
	}
}
