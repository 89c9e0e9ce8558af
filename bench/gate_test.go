//go:build linux

package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/bench/result"
)

func TestGateMeasuresTheBaselineAgain(t *testing.T) {
	t.Parallel()
	old, again := t.TempDir(), t.TempDir()
	words := lenient(t, "connect", "-target", "raw,raw-batch", "-conns", "20", "-repeat", "4", "-out", old)
	if code, stdout, stderr := command(t, words...); code != exitOK {
		t.Fatalf("exit code %d, want 0\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr := command(t, "gate", "-baseline", old, "-tolerance", "9900%", "-out", again)
	if code != exitOK || !strings.Contains(stdout, "4 and 7 pairs") {
		t.Errorf("exit code %d, want 0 and 7 pairs\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(filepath.Join(again, "result.json")); err != nil {
		t.Error(err)
	}
}

func TestGateRefusesWhatItCannotMeasureAlike(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(o *result.Options)
	}{
		{"several processes of receivers", func(o *result.Options) { o.Procs = 2 }},
		{"agents elsewhere", func(o *result.Options) { o.Procs, o.Agents = 0, 1 }},
	} {
		s, err := findScenario("fanout")
		if err != nil {
			t.Fatal(err)
		}
		o := s.defaults
		tt.change(&o)
		baseline := &result.Document{Results: []*result.Result{{Scenario: s.name, Options: o}}}
		_, err = new(settings).repeat(t.Context(), baseline, nil, new(bytes.Buffer))
		if err == nil || !strings.Contains(err.Error(), "gate measures with one process of receivers") {
			t.Errorf("%s: error = %v, want a refusal", tt.name, err)
		}
	}
}
