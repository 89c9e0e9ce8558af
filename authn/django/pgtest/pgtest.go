//go:build unix

package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
)

// Server is a running PostgreSQL with the superuser "postgres" and no passwords.
type Server struct {
	Port int
	n    atomic.Int32

	// static
	bin, dir string
	attr     *syscall.SysProcAttr
	settings []string // of the command line

	stop func() // owned by the test's goroutine: ends the process that runs, nil while none does
}

// NoSkip is the environment variable that forbids skipping: with "1" a missing PostgreSQL fails the test.
const NoSkip = "GATECAST_TEST_NO_SKIP"

// Start starts a server of the test's own and stops it when the test ends. Settings are PostgreSQL's, such as "log_connections=on". Without PostgreSQL it skips
// the test, or fails it where skipping is forbidden.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, stop := launch(t, settings, nil)
	t.Cleanup(stop)
	return s
}

// StartTLS is Start for a server with a certificate, to which everybody but the superuser has to come by TLS.
func StartTLS(t testing.TB, cert, key string) *Server {
	t.Helper()
	s, stop := launch(t, nil, func(s *Server) error {
		const rules = "hostnossl all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 trust\n"
		for name, from := range map[string]string{"ssl_cert_file": cert, "ssl_key_file": key, "hba_file": ""} {
			text, path := []byte(rules), filepath.Join(s.dir, name)
			if from != "" {
				var err error
				if text, err = os.ReadFile(from); err != nil {
					return err
				}
			}
			if err := errors.Join(os.WriteFile(path, text, 0o600), s.give(path)); err != nil {
				return err
			}
			s.settings = append(s.settings, name+"="+path)
		}
		s.settings = append(s.settings, "ssl=on")
		return nil
	})
	t.Cleanup(stop)
	return s
}

// shared is the server of the package under test.
var shared struct {
	sync.Mutex
	server *Server
	stop   func()
}

// Shared is Start, but for one server that all tests of a package use. TestMain has to run [Main].
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		shared.server, shared.stop = launch(t, nil, nil)
	}
	return shared.server
}

// Main wraps m for TestMain: goleak.VerifyTestMain(pgtest.Main(m)). It stops the shared server when the tests have run.
func Main(m *testing.M) interface{ Run() int } { return runner{m} }

type runner struct{ m *testing.M }

func (r runner) Run() int {
	code := r.m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.stop != nil {
		shared.stop()
	}
	return code
}

// launch starts a server. prepare, if it is not nil, may put files into its folder.
func launch(t testing.TB, settings []string, prepare func(*Server) error) (*Server, func()) {
	t.Helper()
	bin := binaries()
	if bin == "" {
		const missing = "PostgreSQL is not installed (no initdb in /usr/lib/postgresql/*/bin or PATH): apt-get install postgresql"
		if os.Getenv(NoSkip) == "1" {
			t.Fatal(missing)
		}
		t.Skip("SKIPPED, NOT TESTED: " + missing)
	}
	attr, err := unprivileged()
	if err != nil {
		t.Fatalf("pgtest: PostgreSQL refuses to run as root, and there is nobody else to run it: %v", err)
	}
	// Not t.TempDir: only its owner may enter it, and PostgreSQL is somebody else.
	dir, err := os.MkdirTemp("", "gatecast-pg-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{bin: bin, dir: dir, attr: attr, settings: settings}
	if prepare != nil {
		err = prepare(s)
	}
	if err == nil {
		err = s.serve()
	}
	if err != nil {
		os.RemoveAll(dir)
		t.Fatalf("pgtest: %v", err)
	}
	return s, func() {
		if s.stop != nil {
			s.stop()
		}
		os.RemoveAll(dir)
	}
}

// serve makes the cluster and starts a server on it.
func (s *Server) serve() error {
	if err := s.give(s.dir); err != nil {
		return err
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = s.attr, s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	var err error
	for range 5 { // another process may take the port between our look and PostgreSQL's
		if s.Port, err = freePort(); err != nil {
			return err
		}
		if err = s.start(); err == nil {
			break
		}
	}
	return err
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// give makes a file PostgreSQL's own.
func (s *Server) give(path string) error {
	if s.attr.Credential == nil {
		return nil
	}
	return os.Chown(path, int(s.attr.Credential.Uid), int(s.attr.Credential.Gid))
}

func binaries() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(found[len(found)-1])
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	return ""
}

func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

// unprivileged gives root's rights away.
func unprivileged() (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	var u *user.User
	var err error
	for _, name := range []string{"postgres", "nobody"} {
		if u, err = user.Lookup(name); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// start runs the server under a shell that stops it when its input ends: at the end of the test, or of its process.
func (s *Server) start() error {
	args := []string{"-c", `exec 3<&0; "$@" 3<&- & pid=$!; (cat <&3; kill -INT $pid) >/dev/null 2>&1 & wait $pid`, "sh",
		filepath.Join(s.bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.Port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.dir, "-c", "fsync=off", "-c", "synchronous_commit=off",
		"-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	server := exec.Command("/bin/sh", args...)
	server.SysProcAttr, server.Dir = s.attr, s.dir
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	input, err := server.StdinPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }() // ends with the server, which stop waits for
	stop := func() {
		input.Close()
		<-ended
	}
	if err := s.wait(ended); err != nil {
		stop()
		return fmt.Errorf("the server does not come up: %w\n%s", err, &log)
	}
	s.stop = stop
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) wait(ended chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case e := <-ended:
			ended <- e
			return fmt.Errorf("it ended: %v", e)
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// URL is the address of a database, for anybody and any password.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// CreateDatabase makes an empty database and returns its name.
func (s *Server) CreateDatabase(t testing.TB) string {
	t.Helper()
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("test_%d", s.n.Add(1))
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatalf("pgtest: create database: %v", err)
	}
	return name
}
