package result

import (
	"math"
	"testing"
)

func TestHuman(t *testing.T) {
	for _, c := range []struct {
		metric string
		v      float64
		want   string
	}{
		{"response-p99-ns", 0, "0 ns"},
		{"response-p99-ns", 0.25, "0.25 ns"},
		{"server-ns/delivery", 812.4, "812 ns"},
		{"server-ns/delivery", 1234, "1.23 µs"},
		{"response-p99-ns", 12_340, "12.3 µs"},
		{"response-p99-ns", 1_234_000, "1.23 ms"},
		{"response-p99-ns", 999_960, "1,000 µs"},
		{"response-max-ns", 61.5e9, "61.5 s"},
		{"response-max-ns", 6150e9, "6,150 s"},
		{"rss-B/conn", 3812, "3,812 B"},
		{"rss-B/conn", 10_239, "10,239 B"},
		{"rss-B/conn", 10_240, "10 KiB"},
		{"rss-B", 85.5 * (1 << 20), "85.5 MiB"},
		{"rss-B", 3 << 30, "3 GiB"},
		{"rss-B/conn", -512, "-512 B"},
		{"deliveries/s", 1_234_567.8, "1,234,568"},
		{"deliveries/s", 99.96, "100"},
		{"switches/delivery", 0.01234, "0.0123"},
		{"switches/delivery", 1.5, "1.50"},
		{"fds", 12, "12"},
		{"fds", 0, "0"},
		{"broken", math.NaN(), "none"},
		{"broken-ns", math.Inf(1), "none"},
	} {
		if got := Human(c.metric, c.v); got != c.want {
			t.Errorf("Human(%q, %v) = %q, want %q", c.metric, c.v, got, c.want)
		}
	}
}

func TestBareName(t *testing.T) {
	for metric, want := range map[string]string{
		"response-p99-ns":    "response-p99",
		"server-ns/delivery": "server/delivery",
		"server-ns/conn/s":   "server/conn/s",
		"rss-B":              "rss",
		"rss-B/conn":         "rss/conn",
		"deliveries/s":       "deliveries/s",
		"fds":                "fds",
	} {
		if got := BareName(metric); got != want {
			t.Errorf("BareName(%q) = %q, want %q", metric, got, want)
		}
	}
}

func TestMoreIsBetter(t *testing.T) {
	for metric, want := range map[string]bool{
		"deliveries/s": true, "handshakes/s": true, "handshakes/s-peak": true, "max-rate": true, "max-conns": true,
		"server-ns/delivery": false, "server-ns/conn/s": false, "rss-B/conn": false, "rss-slope-B/min": false, "gc/s": false,
		"gc-pause-ns/s": false, "response-max-ns": false, "lost/conn": false, "fds": false,
	} {
		if got := MoreIsBetter(metric); got != want {
			t.Errorf("MoreIsBetter(%q) = %v, want %v", metric, got, want)
		}
	}
}
