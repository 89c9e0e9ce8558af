package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// sample is what /metrics said at one moment: the points of each metric.
type sample map[string][]point

type point struct {
	labels map[string]string
	value  float64 // of a counter, gauge or untyped metric
}

// metrics reads /metrics.
func (n *node) metrics() sample {
	n.t.Helper()
	s, err := n.tryMetrics()
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *node) tryMetrics() (sample, error) {
	status, body, err := n.get("/metrics")
	if err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, fmt.Errorf("/metrics answered %d %s", status, body)
	}
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	s := sample{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			pt := point{labels: map[string]string{}}
			for _, l := range m.GetLabel() {
				pt.labels[l.GetName()] = l.GetValue()
			}
			pt.value = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
			s[name] = append(s[name], pt)
		}
	}
	return s, nil
}

// sum adds all values of a metric whose labels include those given as "name=value".
func (s sample) sum(name string, labels ...string) float64 {
	total := 0.0
points:
	for _, p := range s[name] {
		for _, want := range labels {
			k, v, _ := strings.Cut(want, "=")
			if p.labels[k] != v {
				continue points
			}
		}
		total += p.value
	}
	return total
}

// conns is the number of open sockets.
func (s sample) conns() int { return int(s.sum("gatecast_conns")) }

// waitGrew waits until name{labels} is greater than it was before.
func (n *node) waitGrew(t testing.TB, before sample, name string, labels ...string) {
	t.Helper()
	var now sample
	eventually(t, patience, func() string {
		return fmt.Sprintf("%s%v stayed %v; the family is now %v", name, labels, before.sum(name, labels...), now[name])
	}, func() bool {
		now = n.metrics()
		return now.sum(name, labels...) > before.sum(name, labels...)
	})
}

// waitConns waits until the node has exactly want sockets.
func (n *node) waitConns(t testing.TB, want int) {
	t.Helper()
	got := -1
	eventually(t, 15*time.Second, func() string {
		return fmt.Sprintf("node %s has %d conns, want %d", n.name, got, want)
	}, func() bool {
		got = n.metrics().conns()
		return got == want
	})
}
