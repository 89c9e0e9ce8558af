//go:build unix

package pgtest

import (
	"database/sql"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStartGivesAServerWithDatabases(t *testing.T) {
	s := Start(t)
	a, b := s.CreateDatabase(t), s.CreateDatabase(t)
	if a == b {
		t.Fatalf("CreateDatabase gave %q twice", a)
	}
	db, err := sql.Open("pgx", s.URL(a))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got string
	if err := db.QueryRow("SELECT current_database()").Scan(&got); err != nil || got != a {
		t.Fatalf("current_database() = %q, %v, want %q", got, err, a)
	}
}
