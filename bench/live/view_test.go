//go:build linux

package live

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// screen is a terminal: it keeps what is written as a person would see it, scrolled lines included.
type screen struct {
	t testing.TB

	mu     sync.Mutex
	width  int
	rows   [][]rune
	x, y   int
	hidden bool
	noWrap bool
	writes int
}

func (s *screen) Columns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.width
}

// Write obeys what package live sends, and fails the test for anything else.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	for text := string(p); text != ""; {
		if rest, ok := strings.CutPrefix(text, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			if end < 0 {
				s.t.Fatalf("unfinished sequence %q", text)
			}
			s.obey(rest[:end], rest[end])
			text = rest[end+1:]
			continue
		}
		r := []rune(text)[0]
		text = text[len(string(r)):]
		switch {
		case r == '\n':
			s.x, s.y = 0, s.y+1
		case r == '\r':
			s.x = 0
		case r < ' ':
			s.t.Errorf("control character %q", r)
		default:
			s.put(r)
		}
	}
	return len(p), nil
}

func (s *screen) obey(args string, what byte) {
	switch args + string(what) {
	case "?25l":
		s.hidden = true
	case "?25h":
		s.hidden = false
	case "?7l":
		s.noWrap = true
	case "?7h":
		s.noWrap = false
	case "2K":
		if s.y < len(s.rows) {
			s.rows[s.y] = nil
		}
	case "K":
		if s.y < len(s.rows) {
			s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
		}
	case "J":
		if s.x == 0 && s.y == 0 {
			s.t.Error("cleared the whole screen")
		}
		if s.y < len(s.rows) {
			s.rows = s.rows[:s.y+1]
			s.rows[s.y] = s.rows[s.y][:min(s.x, len(s.rows[s.y]))]
		}
	default:
		var n int
		if _, err := fmt.Sscanf(args, "%d", &n); err != nil || what != 'A' || n < 1 {
			s.t.Errorf("unknown sequence %q", args+string(what))
		}
		if s.y -= n; s.y < 0 {
			s.t.Errorf("cursor above the first line")
			s.y = 0
		}
	}
}

func (s *screen) put(r rune) {
	if s.x == s.width {
		if s.noWrap {
			s.x--
		} else {
			s.x, s.y = 0, s.y+1
		}
	}
	for len(s.rows) <= s.y {
		s.rows = append(s.rows, nil)
	}
	for len(s.rows[s.y]) <= s.x {
		s.rows[s.y] = append(s.rows[s.y], ' ')
	}
	s.rows[s.y][s.x] = r
	s.x++
}

// narrow makes the window narrower, as terminals do that break lines anew; the cursor stays with its letter.
func (s *screen) narrow(width int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows [][]rune
	x, y := s.x, s.y
	for i, row := range s.rows {
		if i == s.y {
			x, y = s.x%width, len(rows)+s.x/width
		}
		for len(row) > width {
			rows, row = append(rows, row[:width]), row[width:]
		}
		rows = append(rows, row)
	}
	s.rows, s.width, s.x, s.y = rows, width, x, y
}

func (s *screen) lines() (lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range s.rows {
		lines = append(lines, strings.TrimRight(string(row), " "))
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func (s *screen) want(when string, want ...string) {
	s.t.Helper()
	if got := s.lines(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Errorf("%s:\n%s\nwant:\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// pass lets time go by in a bubble of synctest.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		v := New(s, true)
		v.Begin(4)
		v.Run("fanout, 500 connections", "raw", 1, 2)
		v.Phase("connect")
		pass(time.Second)
		s.want("connecting",
			"fanout, 500 connections",
			"raw, repeat 1 of 2: connect",
			"[░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░] 0 of 4 runs, 0:01")
		if !s.hidden {
			t.Error("the cursor is not hidden")
		}
		v.Phase("measure")
		v.Progress(Progress{
			Connected: 500, Conns: 500, Delivered: 12_345, Expected: 50_000, P99: 1234 * time.Microsecond, CPU: 0.42,
			RSS: 20 << 20, Elapsed: 3 * time.Second, Of: 6 * time.Second,
		})
		pass(time.Second)
		s.want("measuring",
			"fanout, 500 connections",
			"raw, repeat 1 of 2: measure, 0:03 of 0:06",
			"connected 500 of 500  delivered 12,345 of 50,000  p99 1.23 ms  CPU 0.42  RSS 20…",
			"[███░░░░░░░░░░░░░░░░░░░░░░░░░░░] 0 of 4 runs, 0:02")
		pass(8 * time.Second)
		v.Done("1/2 raw  server/delivery 1.45 µs")
		v.Run("fanout, 500 connections", "gatecast", 1, 2)
		v.Note("gatecast: the harness was at fault; once more")
		pass(2 * time.Second)
		s.want("the second run",
			"1/2 raw  server/delivery 1.45 µs",
			"gatecast: the harness was at fault; once more",
			"fanout, 500 connections",
			"gatecast, repeat 1 of 2",
			"[███████░░░░░░░░░░░░░░░░░░░░░░░] 1 of 4 runs, 0:12, about 0:28 left")
		v.End()
		s.want("at the end", "1/2 raw  server/delivery 1.45 µs", "gatecast: the harness was at fault; once more")
		if s.hidden || s.noWrap {
			t.Errorf("the terminal is not as before: cursor hidden %v, lines cut %v", s.hidden, s.noWrap)
		}
		v.End()
		v.Done("said after the end")
		s.want("after the end", "1/2 raw  server/delivery 1.45 µs", "gatecast: the harness was at fault; once more", "said after the end")
	})
}

func TestTerminalIsDrawnTwiceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		v := New(s, true)
		v.Begin(1)
		defer v.End()
		v.Run("idle", "raw", 1, 1)
		for i := range 1000 {
			v.Progress(Progress{Connected: i, Conns: 1000})
			pass(10 * time.Millisecond)
		}
		if s.writes < 18 || s.writes > 24 {
			t.Errorf("%d writes in 10 s", s.writes)
		}
	})
}

func TestWindowGetsNarrower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 120}
		v := New(s, true)
		v.Begin(2)
		v.Done("a first line")
		v.Run("a title that is rather long, so that a narrow window has to break it into two", "raw", 2, 2)
		pass(time.Second)
		s.narrow(40)
		pass(time.Second)
		s.want("narrow",
			"a first line",
			"a title that is rather long, so that a …",
			"raw, repeat 2 of 2",
			"[███████████████░░░░░░░░░░░░░░░] 1 of 2…")
		v.End()
		s.want("at the end", "a first line")
	})
}

func TestNamesAreNoCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &screen{t: t, width: 80}
		v := New(s, true)
		v.Begin(1)
		v.Run("evil\x1b[2J", "raw\r\n", 1, 1)
		pass(time.Second)
		v.Done("line\x1b]0;title\x07")
		v.End()
		s.want("at the end", "line?]0;title?")
	})
}

func TestNoTerminal(t *testing.T) {
	var b bytes.Buffer
	v := New(&b, IsTerminal(&b))
	v.Begin(2)
	v.Run("fanout", "raw", 1, 1)
	v.Phase("measure")
	v.Progress(Progress{Connected: 1})
	v.Done("1/1 raw")
	v.Note("a note")
	v.Run("fanout", "gatecast", 1, 1)
	v.Done("1/1 gatecast")
	v.End()
	if got, want := b.String(), "1/1 raw\na note\n1/1 gatecast\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestManyCallers(t *testing.T) {
	v := New(&screen{t: t, width: 80}, true)
	v.Begin(100)
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			for range 10 {
				v.Run("fanout", "raw", i, 10)
				v.Phase("measure")
				v.Progress(Progress{Delivered: 3})
				v.Done("done")
			}
		})
	}
	all.Wait()
	v.End()
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if IsTerminal(f) || IsTerminal(new(bytes.Buffer)) {
		t.Error("a file is a terminal")
	}
	if n := columns(f); n != usualColumns {
		t.Errorf("a file has %d columns", n)
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0:00", 1499 * time.Millisecond: "0:01", 75 * time.Second: "1:15", 3*time.Hour + 62*time.Second: "3:01:02",
	} {
		if got := clock(d); got != want {
			t.Errorf("clock(%v) = %q, want %q", d, got, want)
		}
	}
}
