package admin

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Type is the Prometheus type of a metric.
type Type uint8

const (
	Counter Type = iota // only grows; its name ends in _total
	Gauge               // goes up and down
)

func (t Type) String() string {
	if t == Counter {
		return "counter"
	}
	return "gauge"
}

// Metric is one row of a node's metric table. /metrics and the generated documentation are both made from it.
type Metric struct {
	Name   string // with prefix gatecast_ and a base unit: gatecast_conns, gatecast_messages_in_total
	Help   string // one sentence
	Type   Type
	Labels []string

	// Collect emits the current values, each with as many label values as there are Labels, in their order. It is called at every
	// scrape, concurrently, and must not block.
	Collect func(emit func(value float64, labels ...string))
}

var metricName = regexp.MustCompile(`^gatecast(_[a-z0-9]+)+$`)

// newRegistry makes the node's own registry: the table plus Go's and the process's collectors, nothing global.
func newRegistry(table []Metric) (*prometheus.Registry, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	t := make(tableCollector, len(table))
	seen := make(map[string]bool, len(table))
	var errs []error
	for i, m := range table {
		switch {
		case !metricName.MatchString(m.Name):
			errs = append(errs, fmt.Errorf("metric %q: names look like gatecast_conns", m.Name))
		case seen[m.Name]:
			errs = append(errs, fmt.Errorf("metric %q is in the table twice", m.Name))
		case (m.Type == Counter) != strings.HasSuffix(m.Name, "_total"):
			errs = append(errs, fmt.Errorf("metric %q: counters, and only they, end in _total", m.Name))
		case m.Help == "" || m.Collect == nil:
			errs = append(errs, fmt.Errorf("metric %q needs Help and Collect", m.Name))
		}
		seen[m.Name] = true
		kind := prometheus.CounterValue
		if m.Type == Gauge {
			kind = prometheus.GaugeValue
		}
		t[i] = tableRow{Metric: m, desc: prometheus.NewDesc(m.Name, m.Help, m.Labels, nil), kind: kind}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return reg, reg.Register(t)
}

// tableCollector shows a metric table to Prometheus. It is read-only after newRegistry.
type tableCollector []tableRow

type tableRow struct {
	Metric
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func (t tableCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range t {
		ch <- r.desc
	}
}

func (t tableCollector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range t {
		r.Metric.Collect(func(value float64, labels ...string) {
			m, err := prometheus.NewConstMetric(r.desc, r.kind, value, labels...)
			if err != nil { // wrong number of labels: the scrape reports it instead of a wrong value
				m = prometheus.NewInvalidMetric(r.desc, err)
			}
			ch <- m
		})
	}
}
