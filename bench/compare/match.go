//go:build linux

package compare

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/bench/result"
)

// find is the result of that title.
func find(d *result.Document, title string) *result.Result {
	for _, r := range d.Results {
		if r.Title == title {
			return r
		}
	}
	return nil
}

// unlike names the options in which two loads differ, by their names in JSON. How often and how patiently was measured is no load.
func unlike(a, b result.Options) (names []string) {
	free := []string{"targets", "repeat", "retries", "patience_ns", "max_lag_ns", "p99_ns"}
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		name, _, _ := strings.Cut(x.Type().Field(i).Tag.Get("json"), ",")
		if !slices.Contains(free, name) && !reflect.DeepEqual(x.Field(i).Interface(), y.Field(i).Interface()) {
			names = append(names, fmt.Sprintf("%s %v and %v", name, x.Field(i).Interface(), y.Field(i).Interface()))
		}
	}
	return names
}

// base is the target that a result's ratios are to.
func base(r *result.Result) string {
	if t := r.Targets(); len(t) > 0 {
		return t[0]
	}
	return ""
}

// values are a metric's in all runs of a target.
func values(r *result.Result, metric, target string) (v []float64) {
	for _, run := range r.Runs {
		if x, ok := run.Value(metric); ok && run.Target == target {
			v = append(v, x)
		}
	}
	return v
}

// metrics are those of a target, in their order; only those that are compared, unless all are wanted.
func metrics(r *result.Result, target string, all bool) (names []string) {
	for _, run := range r.Runs {
		for _, m := range run.Metrics {
			if run.Target == target && (all || m.Compare) && !slices.Contains(names, m.Name) {
				names = append(names, m.Name)
			}
		}
	}
	return names
}

// moreIsBetter says which way a metric is meant: rates up, costs and times down.
func moreIsBetter(metric string) bool {
	return strings.HasSuffix(metric, "/s") && !strings.Contains(metric, "-ns") && !strings.Contains(metric, "-B")
}
