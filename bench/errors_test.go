//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
)

// elsewhere is an instance that this process did not start: whoever listens at the address.
type elsewhere struct{ addr netip.AddrPort }

func (e elsewhere) Addrs() []netip.AddrPort { return []netip.AddrPort{e.addr} }
func (e elsewhere) PIDs() []int             { return []int{os.Getpid()} }
func (e elsewhere) Version() string         { return "" }
func (e elsewhere) Spec() codec.Spec        { return codec.Spec{Codec: "raw", Host: e.addr.String()} }
func (e elsewhere) Stop() error             { return nil }

func TestServerThatIsNotThereIsTold(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []func() error{
		func() error { _, err := fanout(t.Context(), &site{o: quick(), in: elsewhere{addr}}); return err },
		func() error { _, err := connect(t.Context(), &site{o: quick(), in: elsewhere{addr}}); return err },
	} {
		if err := s(); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("error = %v, want a refused connection", err)
		}
	}
}

func TestRefusedLoginIsTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no such user", http.StatusUnauthorized)
	}))
	defer server.Close()
	in := elsewhere{netip.MustParseAddrPort(server.Listener.Addr().String())}
	_, err := fanout(t.Context(), &site{o: quick(), in: in})
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("error = %v, want the status", err)
	}
}

// children are the processes that a process started.
func children(pid int) (pids []string) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, path := range lists {
		b, _ := os.ReadFile(path) // none for a thread that ended
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

func TestInterruptEndsAllProcesses(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(self, "fanout", "-target", "raw", "-procs", "2", "-conns", "10", "-duration", "10m", "-max-lag", "1m")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline, tick := time.NewTimer(time.Minute), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	var started []string
	for len(started) < 3 { // two agents, then the server
		select {
		case <-tick.C:
			started = children(cmd.Process.Pid)
		case <-deadline.C:
			t.Fatalf("%d processes started, want 3\n%s", len(started), said.String())
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != exitError || !strings.Contains(said.String(), "interrupted") {
		t.Errorf("exit code %d, says %q, want 3 and that it was interrupted", code, said.String())
	}
	for _, pid := range started {
		var n int
		if _, err := fmt.Sscan(pid, &n); err != nil || syscall.Kill(n, 0) == nil {
			t.Errorf("process %s still runs, %v", pid, err)
		}
	}
}
