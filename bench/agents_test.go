//go:build linux

package bench

import (
	"strings"
	"testing"
)

func TestReceiversInSeveralProcesses(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"fanout -target raw -procs 3 -conns 50",
		"fanout -target raw -procs 3 -conns 50 -window 8",
		"notify -target raw -procs 2 -conns 20 -rate 100",
		"idle -target raw -procs 2 -conns 20",
	} {
		words := strings.Fields(line)
		code, stdout, stderr := command(t, lenient(t, append(words, "-repeat", "1")...)...)
		if code != exitOK {
			t.Errorf("%s: exit code %d, want 0\n%s%s", line, code, stdout, stderr)
		}
		if words[0] != "idle" && !strings.Contains(stdout, "none lost") {
			t.Errorf("%s: no ledger\n%s", line, stdout)
		}
	}
}

func TestMistakesWithAgentsAreToldClearly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ line, want string }{
		{"agent", "give -join"},
		{"agent 7", `unexpected argument "7"`},
		{"agent -join nats://guess@127.0.0.1:1", "join nats://guess@127.0.0.1:1"},
		{"fanout -procs 0", "-procs must be at least 1, or 0 with -agents"},
		{"fanout -procs 30 -conns 20", "20 connections are too few for 30 processes"},
		{"fanout -agents 1 -listen nowhere", "invalid value"},
		{"fanout -target raw -agents 1 -listen 203.0.113.1:0", "listen for agents"},
	} {
		code, _, stderr := command(t, strings.Fields(tt.line)...)
		if code != exitError || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: exit code %d, says %q, want 3 and %q", tt.line, code, stderr, tt.want)
		}
	}
}
