//go:build linux

package bench

import (
	"strings"
	"testing"
)

func TestYardstickIsJudgedByTheMedian(t *testing.T) {
	for _, tt := range []struct {
		name   string
		ratios []float64
		code   int
		says   string
	}{
		{"like the bare loop", []float64{0.99, 1.00, 1.01, 1.02, 1.00, 0.98, 1.01}, exitOK, "within 5 %"},
		{"one pair was disturbed", []float64{0.99, 1.00, 1.01, 3.00, 1.00, 0.98, 1.01}, exitOK, "within 5 %"},
		{"more expensive", []float64{1.11, 1.12, 1.10, 1.13, 1.12, 1.11, 1.12}, exitMissed, "more than 5 % off"},
		{"cheaper", []float64{0.91, 0.92, 0.90}, exitMissed, "more than 5 % off"},
		{"too noisy", []float64{0.80, 1.00, 1.20, 0.85, 1.15, 1.00, 1.00}, exitInvalid, "too far apart"},
		{"one pair", []float64{1.02}, exitOK, "1 pairs"},
	} {
		code, verdict := judgeYardstick(tt.ratios)
		if code != tt.code || !strings.Contains(verdict, tt.says) {
			t.Errorf("%s: code %d, %q, want %d and %q", tt.name, code, verdict, tt.code, tt.says)
		}
	}
}

// TestSelfcheckMeasuresBoth: what it finds depends on how busy the machine is.
func TestSelfcheckMeasuresBoth(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := command(t, "selfcheck", "-conns", "50", "-rounds", "10", "-rate", "50", "-pairs", "2")
	if code == exitError || !strings.Contains(stdout, "median of 2 pairs") || strings.Count(stderr, "ns/sendto, bare") != 2 {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestSelfcheckRefusesWhatItCannotMeasure(t *testing.T) {
	for line, want := range map[string]string{
		"-conns 0": "must be above 0", "-size 1": "-size must be at least 64", "now": `unexpected argument "now"`, "-rates 3": "not defined",
	} {
		code, _, stderr := command(t, append([]string{"selfcheck"}, strings.Fields(line)...)...)
		if code != exitError || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit code %d, says %q, want 3 and %q", line, code, stderr, want)
		}
	}
}
