//go:build linux

package bench

import (
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
