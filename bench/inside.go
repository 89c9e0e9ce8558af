//go:build linux

package bench

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// inside is what can be seen only from inside the target or the kernel, at one moment. What cannot be seen here is a note.
type inside struct {
	at      int64              // by ledger.Now
	sockets *proc.Sockets      // of the whole machine; nil = unreadable
	runtime map[string]float64 // of a Go server, by the name of the metric; nil = it tells nothing
	hidden  error              // why sockets is nil
	notes   []string
}

// The metrics that Prometheus' Go client exports of every Go program.
const (
	goGoroutines = "go_goroutines"
	goGCs        = "go_gc_duration_seconds"     // a summary: its count
	goPauses     = "go_gc_duration_seconds_sum" // and its sum
	goBytes      = "go_memstats_alloc_bytes_total"
	goObjects    = "go_memstats_mallocs_total"
)

// look takes no part in what is measured: it is called before and after.
func (s *site) look(ctx context.Context) *inside {
	i := &inside{at: ledger.Now()}
	if sockets, err := proc.ReadSockets(); err == nil {
		i.sockets = &sockets
	} else {
		i.hidden = err
	}
	m, measured := s.in.(target.Measured)
	if !measured || len(s.in.Addrs()) > 1 { // a cluster's first node alone would mislead
		return i
	}
	url, token := m.Metrics()
	if url == "" {
		return i
	}
	var err error
	if i.runtime, err = scrape(ctx, url, token); err != nil {
		i.notes = append(i.notes, "the target's metrics: "+err.Error())
	}
	i.at = ledger.Now()
	return i
}

// scrapeTimeout bounds a look at a target that is busy.
const scrapeTimeout = 10 * time.Second

// scrape reads the runtime's metrics.
func scrape(ctx context.Context, url, token string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, res.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", url, err)
	}
	values := make(map[string]float64)
	for name, f := range families {
		if len(f.Metric) != 1 {
			continue
		}
		switch m := f.Metric[0]; {
		case m.Gauge != nil:
			values[name] = m.Gauge.GetValue()
		case m.Counter != nil:
			values[name] = m.Counter.GetValue()
		case m.Untyped != nil:
			values[name] = m.Untyped.GetValue()
		case m.Summary != nil:
			values[name], values[name+"_sum"] = float64(m.Summary.GetSampleCount()), m.Summary.GetSampleSum()
		}
	}
	return values, nil
}

// enter adds what a Go server's runtime did between two looks, n times of what each names: "delivery", "handshake". An empty each
// leaves allocations out.
func (i *inside) enter(run *result.Run, before *inside, each string, n int64) {
	run.Notes = append(run.Notes, i.notes...)
	if i.runtime == nil || before.runtime == nil {
		return
	}
	change := func(name string) (float64, bool) {
		now, ok1 := i.runtime[name]
		then, ok2 := before.runtime[name]
		return now - then, ok1 && ok2
	}
	if v, ok := i.runtime[goGoroutines]; ok {
		run.Add("goroutines", v)
	}
	seconds := time.Duration(i.at - before.at).Seconds()
	if v, ok := change(goGCs); ok && seconds > 0 {
		run.Add("gc/s", v/seconds)
	}
	if v, ok := change(goPauses); ok && seconds > 0 {
		run.Add("gc-pause-ns/s", v*1e9/seconds)
	}
	if each == "" || n <= 0 {
		return
	}
	if v, ok := change(goBytes); ok {
		run.Add("alloc-B/"+each, v/float64(n))
	}
	if v, ok := change(goObjects); ok {
		run.Add("allocs/"+each, v/float64(n))
	}
}
