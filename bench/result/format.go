package result

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// BareName is a metric's name without its unit, when the unit is a time or bytes: those [Human] prints with the value.
func BareName(metric string) string {
	for _, unit := range []string{"-ns", "-B"} {
		if name, ok := strings.CutSuffix(metric, unit); ok {
			return name
		}
		if strings.Contains(metric, unit+"/") {
			return strings.Replace(metric, unit+"/", "/", 1)
		}
	}
	return metric
}

// MoreIsBetter says which way a metric is meant: what a server did in a second and the largest load it keeps up, costs, times and
// counts of what went wrong down. How often it collected garbage is a cost.
func MoreIsBetter(metric string) bool {
	if strings.HasPrefix(metric, "max-") {
		return true
	}
	work, ok := strings.CutSuffix(strings.TrimSuffix(metric, "-peak"), "/s")
	return ok && !strings.Contains(work, "-ns") && !strings.Contains(work, "-B") && work != "gc"
}

// Human prints a value of the metric with its unit and three digits that count. Bytes are exact up to 10 KiB, for there every one
// of them is a connection's.
func Human(metric string, v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "none"
	case v < 0:
		return "-" + Human(metric, -v)
	case strings.HasSuffix(metric, "-ns") || strings.Contains(metric, "-ns/"):
		return scaled(v, 1000, 1, []string{"ns", "µs", "ms", "s"})
	case strings.HasSuffix(metric, "-B") || strings.Contains(metric, "-B/"):
		return scaled(v, 1024, 10, []string{"B", "KiB", "MiB", "GiB", "TiB"})
	}
	return digits(v)
}

// scaled prints v in the largest unit of which there is at least one; of the first unit up to least steps are kept.
func scaled(v, step, least float64, units []string) string {
	i := 0
	if v >= step*least {
		for v >= step && i < len(units)-1 {
			v, i = v/step, i+1
		}
	}
	if i == 0 && v >= 1 {
		return grouped(math.Round(v)) + " " + units[i]
	}
	return digits(v) + " " + units[i]
}

// digits prints three digits that count, and all those before the point.
func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 99.95 || v == math.Trunc(v):
		return grouped(math.Round(v))
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 0.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return fmt.Sprintf("%.3g", v)
}

// grouped prints a whole number with commas between its thousands.
func grouped(v float64) string {
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
