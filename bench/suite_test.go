//go:build linux

package bench

import (
	"io"
	"runtime"
	"slices"
	"testing"
)

func TestEverySuiteCanRun(t *testing.T) {
	for _, s := range suites() {
		jobs, err := s.jobs(settings{binaries: map[string]string{}})
		if err != nil || len(jobs) != len(s.parts) {
			t.Errorf("%s: %d jobs of %d parts, %v", s.name, len(jobs), len(s.parts), err)
		}
		titles := map[string]bool{}
		for _, j := range jobs {
			title := j.scenario.title(j.settings.Options)
			if titles[title] {
				t.Errorf("%s has two parts named %q", s.name, title)
			}
			titles[title] = true
			for _, b := range j.settings.budgets {
				if b.Ratio == 0 && b.Value == 0 || !slices.Contains(j.settings.Targets, b.Target) {
					t.Errorf("%s, %s: a budget that bounds nothing: %+v", s.name, title, b)
				}
			}
		}
	}
}

func TestAPolicyThatIsNoneIsRefused(t *testing.T) {
	code, _, stderr := command(t, "slow", "-policy", "drop_all")
	if code != exitError || stderr == "" {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

// TestLoopsAreTheServersOwnUnlessTold: a scenario measures what users get who set nothing. A suite holds targets against raw with as many
// loops, as the results in the repository do.
func TestLoopsAreTheServersOwnUnlessTold(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want int
	}{{[]string{"short"}, runtime.NumCPU()}, {[]string{"short", "-loops", "0"}, 0}, {[]string{"short", "-loops", "3"}, 3}} {
		s, o, err := parseSuite(tt.args, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := s.jobs(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if got := j.scenario.targetOptions(j.settings).Loops; got != tt.want {
				t.Errorf("suite %v, %s: %d loops, want %d", tt.args, j.scenario.name, got, tt.want)
			}
		}
	}
	for _, s := range scenarios() {
		if s.defaults.Loops != 0 {
			t.Errorf("%s: %d loops by default", s.name, s.defaults.Loops)
		}
	}
}
