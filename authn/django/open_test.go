package django

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
)

func TestOpenSaysWhatToDo(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		for _, test := range []struct {
			name   string
			change func(*Options)
			want   string
		}{
			{"no session table", func(o *Options) { o.SessionTable = "nope" }, "there is no table nope: run manage.py migrate"},
			{"a session table that is none", func(o *Options) { o.SessionTable = "auth_group" }, "has no column session_key"},
			{"no user table", func(o *Options) { o.UserTable = "accounts_member" }, "set user_table to the table of AUTH_USER_MODEL"},
			{"no id column", func(o *Options) { o.UserIDColumn = "uuid" }, "its columns are email, id, is_active"},
			{"no password", func(o *Options) { o.UserTable = "auth_group" }, "verify_hash = false"},
			{"no attribute", func(o *Options) { o.Attributes = []string{"nickname"} }, "no column nickname"},
			{"no named table", func(o *Options) { o.UserGroupsTable = "nope" }, "which user_groups_table names"},
			{"a named table that is none", func(o *Options) { o.UserGroupsTable = "auth_group" }, "set user_foreign_key"},
			{"no keys", func(o *Options) { o.SessionKey = "" }, "manage.py gatecast_keys"},
		} {
			o := s.options()
			test.change(&o)
			v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
			if err == nil {
				v.Close()
				t.Errorf("%s: Open succeeded, want %q", test.name, test.want)
			} else if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: Open = %q, want it to hold %q", test.name, err, test.want)
			}
		}
	})
}

func TestOpenSQLiteFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"sqlite://nope.sqlite3": filepath.Join(dir, "nope.sqlite3"),
		"sqlite://" + dir:       "is not a file",
		"sqlite://text":         "not a sound SQLite database",
	} {
		o := vectorOptions()
		o.Database, o.BaseDir = address, dir
		if _, err := Open(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s) = %v, want it to hold %q", address, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "nope.sqlite3")); err == nil {
		t.Error("Open made the file")
	}
}

// The writer's commits are seen at once, in both journal modes, and the reader changes nothing.
// A connection to a file takes memory of ours, and more of them than cores read it no faster.
func TestSQLiteConnectionsAreFew(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "delete")
	for conns, want := range map[int]int{1: 1, 100: max(2, runtime.GOMAXPROCS(0))} {
		v := s.open(func(o *Options) { o.DatabaseConns = conns })
		if got := v.db.db.Stats().MaxOpenConnections; got != want {
			t.Errorf("database_conns = %d: at most %d connections, want %d", conns, got, want)
		}
	}
}

func TestCommitsAreSeen(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.addUser(account{id: "42"})
		v := s.open()
		for range 20 {
			if _, err := v.Verify(t.Context(), cookie(aliceKey)); err == nil {
				t.Fatal("a session that is not there yet was accepted")
			}
			s.login(aliceKey, "42")
			if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
				t.Fatalf("after login: %v", err)
			}
			s.exec(`DELETE FROM django_session`)
		}
		if _, err := v.db.db.Exec(`DELETE FROM auth_user`); !s.pg && !s.maria && err == nil {
			t.Error("the verifier's connection can write")
		}
	})
}

// WAL files appear and go as Django's processes come and go.
func TestSQLiteWALWithoutAWriter(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "wal")
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	if err := s.db.Close(); err != nil { // the last connection removes -wal and -shm
		t.Fatal(err)
	}
	v := s.open()
	if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
		t.Fatal(err)
	}
}

// waitFor asks until done says yes.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("not within 10 s")
		}
	}
}

func TestDatabaseDownAtStartComesUp(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	db := newSwitch(t, s.dsn)
	o := s.options()
	o.Database = db.dsn
	v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Open with a database that is down: %v", err)
	}
	defer v.Close()
	unavailable := func(what string, err error) {
		t.Helper()
		var refused *authn.Refused
		if err == nil || errors.As(err, &refused) || errors.Is(err, authn.ErrNotMine) || errors.Is(err, authn.ErrNoLogin) {
			t.Errorf("%s = %v, want an error that says unavailable", what, err)
		}
	}
	good := []*authn.Identity{{ID: "42", Kind: authn.KindUser, Ref: aliceKey}}
	for range 2 { // down, up, down again
		_, err = v.Verify(t.Context(), cookie(aliceKey))
		unavailable("Verify", err)
		unavailable("Ping", v.Ping(t.Context()))
		unavailable("Revalidate", v.Revalidate(t.Context(), good)[0].Err)

		db.set(true)
		waitFor(t, func() bool { return v.Ping(t.Context()) == nil })
		if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
			t.Errorf("Verify once the database is up: %v", err)
		}
		db.set(false)
	}
}

// A role that may read only what it needs, column by column.
func TestPostgresLeastPrivilege(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42", groups: []int{1}})
	s.login(aliceKey, "42")
	s.exec(`CREATE ROLE reader LOGIN`)
	o := s.options()
	o.Database = strings.Replace(o.Database, "postgres@", "reader:hunter2@", 1)
	_, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "GRANT SELECT ON") || strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("Open without rights = %v, want advice to GRANT SELECT", err)
	}
	elsewhere := o
	elsewhere.Database = strings.Replace(o.Database, "/test_", "/nope_", 1)
	_, err = Open(t.Context(), elsewhere, slog.New(slog.DiscardHandler))
	if err == nil || strings.Count(err.Error(), "name at the end of the address") != 1 || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open of another database = %v, want advice, once and in one line", err)
	}
	for _, grant := range documentedGrants(t, 0) {
		s.exec(grant)
	}
	v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
		t.Error(err)
	}
}

// documentedGrants are the statements of the n-th SQL block of the documentation, for a user named reader.
func documentedGrants(t *testing.T, n int) (grants []string) {
	t.Helper()
	text, err := os.ReadFile("../../server/docs/django.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```sql\n")
	if len(blocks) != 6 { // sessions in PostgreSQL, in MySQL; a table of a cache; tokens in PostgreSQL, in MySQL
		t.Fatalf("%d SQL blocks in django.md, want 5", len(blocks)-1)
	}
	block, _, _ := strings.Cut(blocks[n+1], "```")
	for grant := range strings.SplitSeq(strings.TrimSpace(block), ";") {
		if grant = strings.TrimSpace(grant); grant != "" {
			grants = append(grants, strings.Replace(grant, " TO gatecast", " TO reader", 1))
		}
	}
	return grants
}

// A lock on the site's table holds a login for query_timeout, no longer, and the connection is good again afterwards.
func TestPostgresQueryTimeout(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	v := s.open(func(o *Options) { o.QueryTimeout = time.Second; o.DatabaseConns = 1 })
	tx, err := s.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`LOCK TABLE django_session IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), cookie(aliceKey)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Verify of a locked table = %v, want a deadline", err)
	}
	tx.Rollback()
	if _, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil {
		t.Errorf("Verify after the lock = %v", err)
	}
}

func TestUserTableInASchema(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42", groups: []int{1}, permissions: []int{1}})
	s.login(aliceKey, "42")
	s.exec(`CREATE SCHEMA site`)
	for _, table := range []string{"django_session", "auth_user", "auth_user_groups", "auth_user_user_permissions", "auth_group", "auth_permission", "auth_group_permissions", "django_content_type"} {
		s.exec(`ALTER TABLE ` + table + ` SET SCHEMA site`)
	}
	v := s.open(func(o *Options) { o.SessionTable, o.UserTable = "site.django_session", "site.auth_user" })
	id, err := v.Verify(t.Context(), cookie(aliceKey))
	if err != nil || len(id.Groups) != 1 || len(id.Perms) != 2 {
		t.Errorf("Verify = %#v, %v", id, err)
	}
}

func TestOneLine(t *testing.T) {
	refused := "127.0.0.1:1 (db): dial error: connection refused"
	for text, want := range map[string]string{
		"failed to connect:\n\t" + refused + "\n\t" + refused: "failed to connect: " + refused,
		"failed to connect:\n\ttls error\n\tFATAL: no":        "failed to connect: tls error; FATAL: no",
	} {
		if got := (&oneLine{errors.New(text)}).Error(); got != want {
			t.Errorf("oneLine of %q = %q, want %q", text, got, want)
		}
	}
}
