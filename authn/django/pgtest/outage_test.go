//go:build linux

package pgtest

import (
	"context"
	"database/sql"
	"testing"
	"time"
)

func TestAServerIsPausedResumedKilledAndRestarted(t *testing.T) {
	s := Start(t, "log_connections=on")
	db, err := sql.Open("pgx", s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ask := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		var one int
		return db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
	}
	wants := func(what string, limit time.Duration, ok bool) {
		t.Helper()
		if err := ask(limit); (err == nil) != ok {
			t.Fatalf("%s: %v, want ok = %v", what, err, ok)
		}
	}
	wants("at first", 10*time.Second, true)
	s.Pause(t)
	wants("paused, on a connection that is open", 200*time.Millisecond, false)
	wants("paused, on a new one", 200*time.Millisecond, false)
	s.Resume(t)
	wants("resumed", 10*time.Second, true)
	s.Kill(t)
	wants("killed", 10*time.Second, false)
	s.Restart(t)
	wants("restarted", 10*time.Second, true)
}
