//go:build linux

package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Outages. They belong to the goroutine of the test, one at a time.

// Pause stops every process of the server where it is (SIGSTOP): connections stay, and nothing is answered. The end of the test resumes it.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	t.Cleanup(func() { s.signal(syscall.SIGCONT) })
	if err := s.signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("pgtest: pause: %v", err)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	if err := s.signal(syscall.SIGCONT); err != nil {
		t.Fatalf("pgtest: resume: %v", err)
	}
}

// Kill ends every process of the server at once, as a machine that fails does. Restart brings it back.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.signal(syscall.SIGKILL); err != nil {
		t.Fatalf("pgtest: kill: %v", err)
	}
	s.stop()
	s.stop = nil
}

// Restart starts a killed server again, on the same data and port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); { // what was killed may hold its shared memory for a moment
		if err = s.start(); err == nil {
			return
		}
	}
	t.Fatalf("pgtest: restart: %v", err)
}

// signal reaches all processes of the server. The postmaster is stopped first, so that there are no more than it finds.
func (s *Server) signal(sig syscall.Signal) error {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	postmaster, err := strconv.Atoi(line)
	if err != nil {
		return fmt.Errorf("postmaster.pid begins with %q", line)
	}
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil {
		return err
	}
	for _, pid := range append(children(postmaster), postmaster) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// children are the processes whose parent is pid, proc(5).
func children(pid int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // the name before it may hold anything
		var state string
		var parent int
		if _, err := fmt.Sscan(rest, &state, &parent); err == nil && parent == pid {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, child)
		}
	}
	return pids
}
