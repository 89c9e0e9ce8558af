//go:build linux

package proc

import (
	"os"
	"testing"
	"time"
)

func TestParseSchedstat(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want time.Duration
		bad  bool
	}{
		{"123456789 42 7\n", 123456789, false},
		{"0 0 0\n", 0, false},
		{"", 0, true},
		{"1 2\n", 0, true},
		{"x 2 3\n", 0, true},
		{"-1 2 3\n", 0, true},
	} {
		if got, err := parseSchedstat([]byte(tt.in)); got != tt.want || (err != nil) != tt.bad {
			t.Errorf("parseSchedstat(%q) = %v, %v, want %v, error %v", tt.in, got, err, tt.want, tt.bad)
		}
	}
}

func TestParseStat(t *testing.T) {
	const in = "42 (a ) b (c) R 1 42 42 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 8 0 100 1 2 3"
	user, system, err := parseStat([]byte(in))
	if user != 1500*time.Millisecond || system != 250*time.Millisecond || err != nil {
		t.Errorf("parseStat(%q) = %v, %v, %v, want 1.5s, 250ms", in, user, system, err)
	}
	for _, bad := range []string{"", "42 (a", "42 (a) R 1 2", "42 (a) R 1 2 3 4 5 6 7 8 9 10 x y"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("parseStat(%q) gives no error", bad)
		}
	}
}

func TestReadSeesWhatThisProcessUses(t *testing.T) {
	before, err := Read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.RSS < 1<<20 || before.Anon <= 0 || before.Threads < 1 || before.Files < 3 {
		t.Errorf("usage = %+v, want some memory, threads and files", before)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for deadline := time.Now().Add(10 * time.Second); ; { // time passes only by what this thread does
		now, err := Read(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if d := now.Since(before); d.CPU > 30*time.Millisecond && d.User+d.System == d.CPU {
			if d.Files < 2 {
				t.Errorf("a pipe adds %d files, want 2", d.Files)
			}
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("after 10 s of work the usage is %+v", d)
		}
	}
}

func TestReadOfNoProcessIsAnError(t *testing.T) {
	if _, err := Read(1 << 30); err == nil {
		t.Error("no error")
	}
}

func TestSinceKeepsWhatEndedThreadsUsed(t *testing.T) {
	d := Usage{CPU: 10 * time.Millisecond, User: 3 * time.Second, System: time.Second}.Since(Usage{})
	if d.CPU != 4*time.Second || d.User != 3*time.Second || d.System != time.Second {
		t.Errorf("usage = %+v, want the ticks' 3s + 1s", d)
	}
}
