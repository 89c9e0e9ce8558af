//go:build linux

package html

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gatecast/gatecast/bench/result"
)

// bars are one metric of all targets, from zero.
type bars struct {
	Title string
	Base  string // whose line is drawn through; "" with one target
	Line  string // percent
	Torn  bool   // a bar is longer than the space
	Rows  []bar
}

// bar is a target's. Numbers are percent of the width.
type bar struct {
	Mark      mark
	Width     string
	Low, Span string // range of the repeats; no Span if they were alike
	Torn      bool
	Value     string
	Ratio     string
}

// barMost keeps room for the whisker's end. A bar above tornFrom times the first target's is torn: it would leave nothing to see
// of the others.
const (
	barMost  = 98
	tornFrom = 12
)

// newBars are those of the cost, of memory, and of what else of the server's CPU is compared; in a closed loop also of the rate.
func newBars(r *result.Result, all marks) (out []bars) {
	metrics := []string{r.Cost}
	for _, s := range r.Summary {
		rate := strings.HasSuffix(s.Metric, "/s") && r.Options.Window > 0
		cpu := strings.HasPrefix(s.Metric, "server-ns/")
		memory := s.Metric == "rss-B/conn" || s.Metric == "rss-B"
		if (s.Compare && (rate || cpu) || memory) && !slices.Contains(metrics, s.Metric) {
			metrics = append(metrics, s.Metric)
		}
	}
	for _, m := range metrics {
		if b := barsOf(r, all, m); len(b.Rows) > 0 {
			out = append(out, b)
		}
	}
	return out
}

func barsOf(r *result.Result, all marks, metric string) (b bars) {
	b.Title = label(metric)
	most := 0.0
	for _, s := range r.Summary {
		if s.Metric == metric {
			most = max(most, s.Max)
		}
	}
	if most <= 0 {
		return b
	}
	targets := r.Targets()
	if base, ok := r.Stat(targets[0], metric); ok && base.Median > 0 && most > tornFrom*base.Median {
		most, b.Torn = tornFrom*base.Median, true
	}
	percent := func(v float64) string { return strconv.FormatFloat(min(1, max(0, v)/most)*barMost, 'f', 1, 64) }
	for i, name := range targets {
		s, ok := r.Stat(name, metric)
		if !ok {
			continue
		}
		row := bar{
			Mark: all.of(name), Width: percent(s.Median), Low: percent(s.Min),
			Value: result.Human(metric, s.Median),
		}
		switch {
		case s.Median > most:
			row.Torn, row.Width = true, "100"
		case s.Max > s.Min:
			row.Span = percent(min(s.Max, most) - s.Min)
		}
		switch base, ok := r.Stat(targets[0], metric); {
		case i == 0 && len(targets) > 1:
			b.Base, b.Line = name, row.Width
		case i > 0 && s.Ratio > 0:
			row.Ratio = times(s.Ratio)
		case i > 0 && ok && base.Median > 0: // not compared within the repeats
			row.Ratio = times(s.Median / base.Median)
		}
		b.Rows = append(b.Rows, row)
	}
	return b
}
