//go:build linux

package compare

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/result"
)

// cost is what sample measures.
const cost = "server-ns/delivery"

// sample is a valid document of one result: raw costs 1000 and a bit, gatecast so many times that.
func sample(ratios ...float64) *result.Document {
	r := &result.Result{Scenario: "fanout", Title: "fanout, 500 connections", Cost: cost, Options: result.Options{
		Conns: 500, Rate: 20, Duration: time.Second, Repeat: len(ratios),
	}}
	for i, ratio := range ratios {
		raw := 1000 + float64(i)
		for _, run := range []*result.Run{
			{Target: "raw", Repeat: i + 1, Metrics: []result.Metric{{Name: cost, Value: raw, Compare: true}}},
			{Target: "gatecast", Repeat: i + 1, Metrics: []result.Metric{{Name: cost, Value: raw * ratio, Compare: true}}},
		} {
			run.Compare("deliveries/s", 20_000/ratio+float64(i))
			run.Add("fds", 512)
			r.Runs = append(r.Runs, run)
		}
	}
	r.Summarise()
	d := &result.Document{Schema: result.Schema, Results: []*result.Result{r}}
	d.Conclude()
	return d
}

// around are n ratios close to one.
func around(ratio float64, n int) (ratios []float64) {
	for i := range n {
		ratios = append(ratios, ratio*(1+0.004*float64(i%5-2)+0.0001*float64(i)))
	}
	return ratios
}

// save writes a document to a file.
func save(t testing.TB, d *result.Document) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "result.json")
	raw, err := json.Marshal(d)
	if err == nil {
		err = os.WriteFile(path, raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
