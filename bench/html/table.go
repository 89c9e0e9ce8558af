//go:build linux

package html

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/result"
)

// table has a row a target (headline) or a row a metric (all metrics).
type table struct {
	Columns []column
	Rows    []tableRow
}

type column struct {
	Mark  *mark // of a target's column
	Label string
	Name  string // of the metric in result.json
}

type tableRow struct {
	Mark  *mark // of a target's row
	Name  string
	About string // version
	Cells []cell
}

// cell is a number and the range it was in.
type cell struct{ Value, Range string }

// headlineMost is how many metrics the headline table has; the others are below it.
const headlineMost = 8

// headlineFirst are metrics that people look for, if a scenario has them. What is compared comes after them.
var headlineFirst = []string{
	"response-p50-ns", "response-p99-ns", "last-p50-ns", "last-p99-ns", "deliveries/s", "handshakes/s", "rss-B/conn", "rss-B",
}

// headline is the table of a result: its cost, that as a ratio, and what else people ask for.
func headline(r *result.Result, all marks) (t table) {
	metrics := []string{r.Cost}
	add := func(name string) {
		_, has := find(r, name)
		if has && len(metrics) < headlineMost && !slices.Contains(metrics, name) {
			metrics = append(metrics, name)
		}
	}
	for _, name := range headlineFirst {
		add(name)
	}
	for _, s := range r.Summary {
		if s.Compare {
			add(s.Metric)
		}
	}
	targets := r.Targets()
	for i, m := range metrics {
		t.Columns = append(t.Columns, column{Label: label(m), Name: m})
		if i == 0 && len(targets) > 1 {
			t.Columns = append(t.Columns, column{Label: "ratio to " + targets[0]})
		}
	}
	for _, name := range targets {
		m := all.of(name)
		line := tableRow{Mark: &m, Name: name, About: version(r, name)}
		for i, metric := range metrics {
			s, ok := r.Stat(name, metric)
			line.Cells = append(line.Cells, cellOf(s, ok, i == 0))
			if i == 0 && len(targets) > 1 {
				line.Cells = append(line.Cells, ratioOf(s, name == targets[0]))
			}
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

// allMetrics has every metric of every target.
func allMetrics(r *result.Result, all marks) (t table) {
	targets := r.Targets()
	for _, name := range targets {
		m := all.of(name)
		t.Columns = append(t.Columns, column{Mark: &m, Label: name})
	}
	var metrics []string
	for _, s := range r.Summary {
		if !slices.Contains(metrics, s.Metric) {
			metrics = append(metrics, s.Metric)
		}
	}
	for _, metric := range metrics {
		line := tableRow{Name: metric}
		for _, name := range targets {
			s, ok := r.Stat(name, metric)
			line.Cells = append(line.Cells, cellOf(s, ok, true))
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

func cellOf(s result.Stat, ok, ranged bool) cell {
	if !ok {
		return cell{Value: "–"}
	}
	c := cell{Value: result.Human(s.Metric, s.Median)}
	if ranged && s.Min != s.Max {
		c.Range = span(result.Human(s.Metric, s.Min), result.Human(s.Metric, s.Max))
	}
	return c
}

func ratioOf(s result.Stat, base bool) cell {
	switch {
	case base:
		return cell{Value: "1×"}
	case s.Ratio == 0:
		return cell{Value: "–"}
	}
	return cell{times(s.Ratio), span(times(s.RatioMin), times(s.RatioMax))}
}

// times prints a ratio, to the hundredth where it is small.
func times(ratio float64) string {
	const small = 10
	if ratio < small {
		return strconv.FormatFloat(ratio, 'f', 2, 64) + "×"
	}
	return result.Human("", ratio) + "×"
}

// span is "1.2–1.4 ms": a unit that both share is said once.
func span(lo, hi string) string {
	if lo == hi {
		return ""
	}
	a, unit, ok := strings.Cut(lo, " ")
	if _, other, _ := strings.Cut(hi, " "); ok && unit == other {
		lo = a
	}
	return lo + "–" + hi
}

// find is any target's summary of a metric.
func find(r *result.Result, metric string) (result.Stat, bool) {
	for _, s := range r.Summary {
		if s.Metric == metric {
			return s, true
		}
	}
	return result.Stat{}, false
}

func version(r *result.Result, target string) string {
	for _, run := range r.Runs {
		if run.Target == target && run.Version != "" {
			return run.Version
		}
	}
	return ""
}

// labels are words for metrics that people meet first. Others go by their names.
var labels = map[string]string{
	"server-ns/delivery":     "server CPU per delivery",
	"server-ns/handshake":    "server CPU per handshake",
	"server-ns/message":      "server CPU per message",
	"server-ns/join+leave":   "server CPU per join and leave",
	"server-ns/reconnection": "server CPU per reconnection",
	"back-p99-ns":            "back again p99",
	"server-ns/conn/s":       "server CPU per idle connection and second",
	"during/before":          "p99 during / before",
	"max-rate":               "largest rate that was kept",
	"max-conns":              "most connections that were kept",
	"rss-B/conn":             "server memory per connection",
	"rss-B":                  "server memory (RSS)",
	"response-p50-ns":        "response p50",
	"response-p99-ns":        "response p99",
	"last-p50-ns":            "last receiver p50",
	"last-p99-ns":            "last receiver p99",
}

func label(metric string) string {
	if l := labels[metric]; l != "" {
		return l
	}
	return result.BareName(metric)
}

// ledgerRow is the balance of a target over all its runs.
type ledgerRow struct {
	Mark  mark
	Runs  int
	Cells []ledgerCell
}

type ledgerCell struct {
	Class string
	Value string
}

func newLedger(r *result.Result, all marks) (rows []ledgerRow, silent bool) {
	silent = true
	for _, name := range r.Targets() {
		var sum ledger.Counts
		line := ledgerRow{Mark: all.of(name)}
		has, faulty := false, false
		for _, run := range r.Runs {
			if run.Target != name {
				continue
			}
			line.Runs++
			faulty = faulty || len(run.Faults) > 0
			if run.Ledger != nil {
				sum, has, silent = sum.Plus(*run.Ledger), true, false
			}
		}
		for i, n := range []int64{sum.Expected, sum.Delivered, sum.Lost, sum.Duplicated, sum.Reordered, sum.WrongGroup, sum.Foreign} {
			c := ledgerCell{Value: result.Human("", float64(n))}
			const counts = 2 // the first two are no faults
			switch {
			case !has:
				c.Value = "–"
			case i >= counts && n > 0 && faulty:
				c.Class = "bad"
			case i >= counts && n > 0:
				c.Class = "warn"
			}
			line.Cells = append(line.Cells, c)
		}
		rows = append(rows, line)
	}
	return rows, silent
}

// overview is the contents of a document of several results, with each one's cost as a ratio.
type overview struct {
	Entries   []entry
	Budgets   []budget // of all results
	Rows      []tableRow
	Direction string // which way the ratios are meant
}

type entry struct {
	ID, Number, Title, Cost, Base string
	State                         string // "", invalid, partial, threshold missed
	Class                         string
}

func newOverview(d *result.Document, all marks) *overview {
	if len(d.Results) < 2 {
		return nil
	}
	o := &overview{}
	var more []string // results whose cost is what a server can do
	for i, r := range d.Results {
		if result.MoreIsBetter(r.Cost) {
			more = append(more, result.Human("", float64(i+1)))
		}
		e := entry{ID: newSectionID(i), Number: result.Human("", float64(i+1)), Title: r.Title, Cost: label(r.Cost)}
		if t := r.Targets(); len(t) > 0 {
			e.Base = t[0]
		}
		switch {
		case !ranks(r):
			e.State, e.Class = "invalid", "bad"
		case r.Partial:
			e.State, e.Class = "partial", "warn"
		case len(r.Missed) > 0:
			e.State, e.Class = "threshold missed", "warn"
		}
		o.Entries = append(o.Entries, e)
		for _, b := range budgetsOf(r) {
			b.ID, b.Number = e.ID, e.Number
			o.Budgets = append(o.Budgets, b)
		}
	}
	o.Direction = "Less is better."
	if len(more) > 0 {
		o.Direction = "Less is better; in " + strings.Join(more, ", ") + " more is better."
	}
	for _, m := range all {
		line := tableRow{Mark: &m, Name: m.Name}
		for i, r := range d.Results {
			s, ok := r.Stat(m.Name, r.Cost)
			c := cell{Value: "–"}
			switch {
			case o.Entries[i].State == "invalid":
				c.Value = "invalid"
			case ok:
				c = ratioOf(s, m.Name == o.Entries[i].Base)
			}
			line.Cells = append(line.Cells, cell{Value: c.Value})
		}
		o.Rows = append(o.Rows, line)
	}
	return o
}
