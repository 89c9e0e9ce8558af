//go:build unix

package servertest

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/go-sql-driver/mysql" // driver "mysql"
)

// Maria is a running MariaDB whose user root has no password.
type Maria struct {
	*Server
	n atomic.Int32
}

// MariaDB starts a server of the test's own. More arguments are its own, such as "--max-connections=10".
func MariaDB(t testing.TB, args ...string) *Maria {
	t.Helper()
	m, stop := launchMaria(t, args)
	t.Cleanup(stop)
	return m
}

// shared is the server of the package under test.
var shared struct {
	sync.Mutex
	server *Maria
	stop   func()
}

// MariaDBShared is MariaDB, but for one server that all tests of a package use. TestMain has to run [Main].
func MariaDBShared(t testing.TB) *Maria {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		shared.server, shared.stop = launchMaria(t, nil)
	}
	return shared.server
}

// Main wraps m for TestMain. It stops the shared server when the tests have run.
func Main(m interface{ Run() int }) interface{ Run() int } { return runner{m} }

type runner struct{ m interface{ Run() int } }

func (r runner) Run() int {
	code := r.m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.stop != nil {
		shared.stop()
	}
	return code
}

func launchMaria(t testing.TB, more []string) (*Maria, func()) {
	t.Helper()
	install, bin := find(t, "mariadb-install-db", "mariadb-server"), find(t, "mariadbd", "mariadb-server")
	dir, err := os.MkdirTemp("", "gatecast-mariadb-")
	if err != nil {
		t.Fatal(err)
	}
	// Native AIO has a system-wide limit that a few servers at once can reach.
	args := []string{"--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--tmpdir=" + dir, "--innodb-use-native-aio=0"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root") // it refuses to run as root by accident only
	}
	out, err := exec.Command(install, append(args, "--auth-root-authentication-method=normal", "--skip-test-db")...).CombinedOutput()
	if err != nil {
		os.RemoveAll(dir)
		t.Fatalf("servertest: mariadb-install-db: %v\n%s", err, out)
	}
	m := &Maria{}
	m.Server, err = launch(dir, func(port string) []string {
		return append(append([]string{bin}, append(args, "--bind-address=127.0.0.1", "--port="+port, "--socket="+filepath.Join(dir, "sock"), "--pid-file="+filepath.Join(dir, "pid"),
			"--skip-name-resolve", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--skip-log-bin")...), more...)
	}, func(addr string) error {
		db, err := sql.Open("mysql", "root@tcp("+addr+")/")
		if err != nil {
			return err
		}
		defer db.Close()
		return db.Ping()
	})
	if err != nil {
		os.RemoveAll(dir)
		t.Fatalf("servertest: %v", err)
	}
	return m, func() {
		m.stop()
		os.RemoveAll(dir)
	}
}

func (m *Maria) driverURL(database string) string {
	return "root@tcp(" + m.Addr + ")/" + database
}

// URL is the address of a database, for root.
func (m *Maria) URL(database string) string { return "mysql://root@" + m.Addr + "/" + database }

// CreateDatabase makes an empty database and returns its name.
func (m *Maria) CreateDatabase(t testing.TB) string {
	t.Helper()
	db, err := sql.Open("mysql", m.driverURL(""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := fmt.Sprintf("test_%d", m.n.Add(1))
	if _, err := db.Exec("CREATE DATABASE " + name + " CHARACTER SET utf8mb4"); err != nil {
		t.Fatalf("servertest: create database: %v", err)
	}
	return name
}

// Open opens a database for root, in the SQL of the standard: "quoted names" and || for text.
func (m *Maria) Open(t testing.TB, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", m.driverURL(database)+"?sql_mode='ANSI,STRICT_ALL_TABLES'&multiStatements=true")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
