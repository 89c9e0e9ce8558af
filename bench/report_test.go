//go:build linux

package bench

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/bench/result"
)

func TestRankingKeepsItsColumns(t *testing.T) {
	run := func(target string, cost, p50 float64) *result.Run {
		r := &result.Run{Target: target, Repeat: 1}
		r.Compare("rss-slope-B/min", cost)
		if p50 > 0 {
			r.Compare("response-p50-ns", p50)
		}
		r.Compare("deliveries/s", 123)
		return r
	}
	r := &result.Result{Title: "soak", Cost: "rss-slope-B/min", Runs: []*result.Run{run("raw", -5, 100), run("other", 7, 0)}}
	r.Summarise()
	var out bytes.Buffer
	if err := writeTable(&out, r, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "soak: loops by default, ") {
		t.Errorf("it does not say that loops were the server's own:\n%s", out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	at := strings.Index(lines[len(lines)-2], "123")
	if got := strings.Index(lines[len(lines)-1], "123"); got != at || strings.Count(lines[len(lines)-1], " -") < 2 {
		t.Errorf("columns are not below each other, or gaps have no dash:\n%s", out.String())
	}
}
