//go:build unix

package servertest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// NoSkip is the environment variable that forbids skipping: with "1" a missing server fails the test.
const NoSkip = "GATECAST_TEST_NO_SKIP"

// Server is a running server.
type Server struct {
	Addr string

	// static
	dir     string
	command []string
	ready   func() error

	stop func() // owned by the test's goroutine
}

// Redis starts a Redis server and returns its address. More arguments are its own, such as "--requirepass", "secret".
func Redis(t testing.TB, args ...string) (addr string) {
	t.Helper()
	return StartRedis(t, args...).Addr
}

// StartRedis is Redis for a test that takes the server away.
func StartRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	return startRedis(t, func(port string) []string { return append([]string{"--port", port}, args...) })
}

func startRedis(t testing.TB, args func(port string) []string) *Server {
	t.Helper()
	bin := find(t, "redis-server", "redis-server")
	dir := folder(t, "redis")
	return start(t, dir, func(port string) []string {
		return append([]string{bin, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir}, args(port)...)
	}, answers)
}

// Memcached starts a memcached server and returns its address.
func Memcached(t testing.TB) (addr string) {
	t.Helper()
	return StartMemcached(t).Addr
}

// StartMemcached is Memcached for a test that takes the server away.
func StartMemcached(t testing.TB) *Server {
	t.Helper()
	bin := find(t, "memcached", "memcached")
	return start(t, folder(t, "memcached"), func(port string) []string {
		return []string{bin, "-u", "nobody", "-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "16", "-t", "1"}
	}, answers)
}

// Kill ends the server at once, with all that it has in memory.
func (s *Server) Kill() { s.stop() }

// Restart starts a killed server again, on the same port and files.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); { // connections of the one before may hold the port for a moment
		if s.stop, err = run(s.dir, s.command, s.ready); err == nil {
			return
		}
	}
	s.stop = func() {}
	t.Fatalf("servertest: restart: %v", err)
}

// answers is enough for servers that listen when they are ready.
func answers(addr string) error {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// find gives the path of a program of Debian, also of those that only root has in PATH.
func find(t testing.TB, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path, err = exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	missing := program + " is not installed: apt-get install " + pkg
	if os.Getenv(NoSkip) == "1" {
		t.Fatal(missing)
	}
	t.Skip("SKIPPED, NOT TESTED: " + missing)
	return ""
}

// folder makes a folder for a server. Not t.TempDir: only its owner may enter it, and a server may run as somebody else.
func folder(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gatecast-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func start(t testing.TB, dir string, command func(port string) []string, ready func(addr string) error) *Server {
	t.Helper()
	s, err := launch(dir, command, ready)
	if err != nil {
		t.Fatalf("servertest: %v", err)
	}
	t.Cleanup(func() { s.stop() })
	return s
}

// launch runs a server on a free port. Another process may take the port between our look and the server's: then it tries again.
func launch(dir string, command func(port string) []string, ready func(addr string) error) (s *Server, err error) {
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			return nil, err
		}
		addr := "127.0.0.1:" + strconv.Itoa(port)
		s = &Server{Addr: addr, dir: dir, command: command(strconv.Itoa(port)), ready: func() error { return ready(addr) }}
		if s.stop, err = run(dir, s.command, s.ready); err == nil {
			return s, nil
		}
	}
	return nil, err
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// output collects what a server says.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// run starts a server under a shell that stops it when its input ends: at the end of the test, or of its process.
func run(dir string, command []string, ready func() error) (stop func(), err error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", `exec 3<&0; "$@" 3<&- & pid=$!; (cat <&3; kill -KILL $pid) >/dev/null 2>&1 & wait $pid`, "sh"}, command...)...)
	cmd.Dir = dir
	var log output
	cmd.Stdout, cmd.Stderr = &log, &log
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the server, which stop waits for
	stop = sync.OnceFunc(func() {
		io.Closer(input).Close()
		<-ended
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for {
		if err = ready(); err == nil {
			return stop, nil
		}
		select {
		case e := <-ended:
			ended <- e
			stop()
			return nil, fmt.Errorf("%s ended: %v\n%s", filepath.Base(command[0]), e, log.String())
		case <-deadline:
			stop()
			return nil, fmt.Errorf("%s does not come up: %w\n%s", filepath.Base(command[0]), err, log.String())
		case <-tick.C:
		}
	}
}
