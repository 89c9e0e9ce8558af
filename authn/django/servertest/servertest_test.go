//go:build unix

package servertest

import (
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(Main(m)) }

func TestServersOfATestsOwnEndWithIt(t *testing.T) {
	var addrs []string
	t.Run("while it runs", func(t *testing.T) {
		addrs = []string{Redis(t), Redis(t), Memcached(t)}
		for _, addr := range addrs {
			if err := answers(addr); err != nil {
				t.Error(err)
			}
		}
	})
	for _, addr := range addrs {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			t.Errorf("%s still answers", addr)
		}
	}
}

func TestMariaDBGivesDatabases(t *testing.T) {
	m := MariaDBShared(t)
	a, b := m.CreateDatabase(t), m.CreateDatabase(t)
	if a == b {
		t.Fatalf("CreateDatabase gave %q twice", a)
	}
	var got string
	if err := m.Open(t, a).QueryRow("SELECT DATABASE()").Scan(&got); err != nil || got != a {
		t.Fatalf("DATABASE() = %q, %v, want %q", got, err, a)
	}
}
