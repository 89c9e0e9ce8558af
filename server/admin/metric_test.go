package admin

import (
	"strings"
	"testing"
)

func TestMetricsShowTheTableAndGo(t *testing.T) {
	table := []Metric{
		{Name: "gatecast_conns", Help: "Open conns.", Type: Gauge, Collect: func(emit func(float64, ...string)) { emit(3) }},
		{Name: "gatecast_closes_total", Help: "Closed conns by code.", Type: Counter, Labels: []string{"code"}, Collect: func(emit func(float64, ...string)) {
			emit(1, "4200")
			emit(2, "4401")
		}},
	}
	s := newTestServer(t, &fakeNode{}, withoutKeys, func(_ *Options, d *Deps) { d.Metrics = table })
	for range 2 {
		w := do(s, "GET /metrics", "", "")
		for _, line := range []string{
			"# HELP gatecast_conns Open conns.", "# TYPE gatecast_conns gauge", "gatecast_conns 3",
			"# TYPE gatecast_closes_total counter", `gatecast_closes_total{code="4200"} 1`, `gatecast_closes_total{code="4401"} 2`,
			"# TYPE go_goroutines gauge", "# TYPE process_open_fds gauge",
		} {
			if !strings.Contains(w.Body.String(), line+"\n") {
				t.Errorf("/metrics (%d) has no line %q", w.Code, line)
			}
		}
	}
}

func TestMetricTableIsChecked(t *testing.T) {
	one := func(emit func(float64, ...string)) { emit(1) }
	good := Metric{Name: "gatecast_conns", Help: "x", Type: Gauge, Collect: one}
	for name, table := range map[string][]Metric{
		"a name without the prefix":      {{Name: "conns", Help: "x", Type: Gauge, Collect: one}},
		"a name twice":                   {good, good},
		"a counter without _total":       {{Name: "gatecast_conns", Help: "x", Type: Counter, Collect: one}},
		"a gauge with _total":            {{Name: "gatecast_conns_total", Help: "x", Type: Gauge, Collect: one}},
		"a metric without help":          {{Name: "gatecast_conns", Type: Gauge, Collect: one}},
		"a metric that collects nothing": {{Name: "gatecast_conns", Help: "x", Type: Gauge}},
	} {
		if _, err := New(DefaultOptions(), Deps{Node: &fakeNode{}, Metrics: table}); err == nil {
			t.Errorf("New accepts %s", name)
		}
	}
}

func TestWrongLabelsFailTheScrape(t *testing.T) {
	table := []Metric{{Name: "gatecast_conns", Help: "x", Type: Gauge, Labels: []string{"loop"}, Collect: func(emit func(float64, ...string)) { emit(1) }}}
	s := newTestServer(t, &fakeNode{}, func(_ *Options, d *Deps) { d.Metrics = table })
	if w := do(s, "GET /metrics", "", ""); w.Code != 500 {
		t.Errorf("status %d, want 500", w.Code)
	}
}
