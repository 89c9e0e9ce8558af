package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// logs collects a process's output line by line. Concurrent use is fine.
type logs struct {
	mu    sync.Mutex
	part  []byte   // the line not yet ended
	lines []string // all that ended
	grown chan struct{}
}

func newLogs() *logs { return &logs{grown: make(chan struct{})} }

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, b...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			break
		}
		l.lines = append(l.lines, string(l.part[:i]))
		l.part = l.part[i+1:]
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return len(b), nil
}

// since returns the lines from number n on and a channel closed when more arrive.
func (l *logs) since(n int) ([]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[min(n, len(l.lines)):], l.grown
}

func (l *logs) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n") + string(l.part)
}

// tail returns the last n lines.
func (l *logs) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}

// record is one line of a JSON log.
type record map[string]any

func (r record) has(key, want string) bool { return fmt.Sprint(r[key]) == want }

// waitLine waits for a line from number n on that contains every one of parts.
func (l *logs) waitLine(t testing.TB, n int, parts ...string) string {
	t.Helper()
	deadline := time.After(patience)
	for {
		lines, grown := l.since(n)
		for _, line := range lines {
			if containsAll(line, parts) {
				return line
			}
		}
		select {
		case <-grown:
		case <-deadline:
			t.Fatalf("no log line with %q; the log since then:\n%s", parts, strings.Join(lines, "\n"))
		}
	}
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

func parseRecord(line string) record {
	var r record
	if json.Unmarshal([]byte(line), &r) != nil {
		return nil
	}
	return r
}
