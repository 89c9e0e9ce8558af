package token

import (
	"crypto/sha512"
	"database/sql"
	"encoding/hex"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn/django"
	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// site is the database of a Django project with the tables of both packages, as their migrations make them.
type site struct {
	t     testing.TB
	db    *sql.DB
	pg    bool
	maria bool
	dsn   string
	limit time.Duration // of a query; 0 = the default
}

func onEveryDatabase(t *testing.T, id string, test func(t *testing.T, s *site)) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "db.sqlite3")
		s := &site{t: t, dsn: "sqlite://" + path}
		db, err := sql.Open("sqlite", "file://"+path+"?_busy_timeout=5000")
		if err != nil {
			t.Fatal(err)
		}
		s.create(db, strings.ReplaceAll(id, "uuid", "char(32)"))
		test(t, s)
	})
	t.Run("postgres", func(t *testing.T) { test(t, newPostgresSite(t, id)) })
	t.Run("mariadb", func(t *testing.T) { test(t, newMariaSite(t, id)) })
}

func newPostgresSite(t *testing.T, id string) *site {
	t.Helper()
	server := pgtest.Shared(t)
	s := &site{t: t, pg: true, dsn: server.URL(server.CreateDatabase(t))}
	db, err := sql.Open("pgx", s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	s.create(db, id)
	return s
}

func newMariaSite(t *testing.T, id string) *site {
	t.Helper()
	server := servertest.MariaDBShared(t)
	name := server.CreateDatabase(t)
	s := &site{t: t, maria: true, dsn: server.URL(name)}
	s.create(server.Open(t, name), id)
	return s
}

func (s *site) create(db *sql.DB, id string) {
	s.t.Helper()
	s.db = db
	s.t.Cleanup(func() { s.db.Close() })
	boolean, when := "bool", "datetime"
	switch {
	case s.pg:
		boolean, when = "boolean", "timestamp with time zone"
	case s.maria:
		when = "datetime(6)"
	}
	for _, ddl := range []string{
		`CREATE TABLE auth_user (id ` + id + ` NOT NULL PRIMARY KEY, password varchar(128) NOT NULL, is_superuser ` + boolean + ` NOT NULL, email varchar(254) NOT NULL, is_staff ` + boolean + ` NOT NULL, is_active ` + boolean + ` NOT NULL)`,
		`CREATE TABLE auth_group (id integer NOT NULL PRIMARY KEY, name varchar(150) NOT NULL UNIQUE)`,
		`CREATE TABLE auth_user_groups (id integer, user_id ` + id + ` NOT NULL, group_id integer NOT NULL)`,
		`CREATE TABLE django_content_type (id integer NOT NULL PRIMARY KEY, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL)`,
		`CREATE TABLE auth_permission (id integer NOT NULL PRIMARY KEY, content_type_id integer NOT NULL, codename varchar(100) NOT NULL, name varchar(255) NOT NULL)`,
		`CREATE TABLE auth_group_permissions (id integer, group_id integer NOT NULL, permission_id integer NOT NULL)`,
		`CREATE TABLE auth_user_user_permissions (id integer, user_id ` + id + ` NOT NULL, permission_id integer NOT NULL)`,
		`INSERT INTO auth_group VALUES (1, 'Editors')`,
		`INSERT INTO django_content_type VALUES (1, 'chat', 'room')`,
		`INSERT INTO auth_permission VALUES (1, 1, 'moderate', '')`,
		`INSERT INTO auth_group_permissions VALUES (1, 1, 1)`,
		`CREATE TABLE authtoken_token ("key" varchar(40) NOT NULL PRIMARY KEY, created ` + when + ` NOT NULL, user_id ` + id + ` NOT NULL UNIQUE)`,
		`CREATE TABLE knox_authtoken (digest varchar(128) NOT NULL PRIMARY KEY, created ` + when + ` NOT NULL, user_id ` + id + ` NOT NULL, expiry ` + when + ` NULL, token_key varchar(25) NOT NULL)`,
	} {
		s.exec(ddl)
	}
}

func (s *site) exec(query string, args ...any) {
	s.t.Helper()
	switch {
	case s.maria: // by place
		query = strings.NewReplacer("$1", "?", "$2", "?", "$3", "?", "$4", "?").Replace(query)
	case !s.pg:
		query = strings.NewReplacer("$1", "?1", "$2", "?2", "$3", "?3", "$4", "?4").Replace(query)
	}
	if _, err := s.db.Exec(query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

// addUser makes a user; flags are "inactive", "staff", "superuser", "editor".
func (s *site) addUser(id string, flags ...string) {
	s.t.Helper()
	has := func(flag string) bool {
		for _, f := range flags {
			if f == flag {
				return true
			}
		}
		return false
	}
	s.exec(`INSERT INTO auth_user VALUES ('`+id+`', 'x', $1, 'u@example.com', $2, $3)`, has("superuser"), has("staff"), !has("inactive"))
	if has("editor") {
		s.exec(`INSERT INTO auth_user_groups VALUES (1, '` + id + `', 1)`)
	}
}

func (s *site) addDRF(key, user string) {
	s.t.Helper()
	s.exec(`INSERT INTO authtoken_token VALUES ($1, $2, '`+user+`')`, key, time.Now().UTC().Format(time.DateTime))
}

// addKnox stores a token of knox 5 as its AuthTokenManager.create does; the zero time is NULL.
func (s *site) addKnox(token, user string, expiry time.Time) {
	s.t.Helper()
	sum := sha512.Sum512([]byte(token))
	s.addDigest(token[:15], hex.EncodeToString(sum[:]), user, expiry)
}

func (s *site) addDigest(key, digest, user string, expiry time.Time) {
	s.t.Helper()
	var at any
	if !expiry.IsZero() {
		at = expiry.UTC().Format("2006-01-02 15:04:05.999999")
	}
	if s.pg && at != nil {
		at = expiry
	}
	s.exec(`INSERT INTO knox_authtoken VALUES ($1, $2, '`+user+`', $3, $4)`, digest, time.Now().UTC().Format(time.DateTime), at, key)
}

func (s *site) open(t testing.TB, change ...func(*Options)) *Verifier {
	t.Helper()
	o, d := DefaultOptions(), django.DefaultOptions()
	o.Kinds = []string{KindDRF, KindKnox}
	d.Database, d.Attributes = s.dsn, []string{"email"}
	if s.limit > 0 {
		d.QueryTimeout = s.limit
	}
	for _, c := range change {
		c(&o)
	}
	v, err := Open(t.Context(), o, d, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

const (
	aliceToken = "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"
	bobToken   = "0044b09199c62bcf9418ad846dd0e4bbdfc6ee4b"
	// knoxToken and its row are from knox 5 itself.
	knoxToken  = "9d1e0a7b2c3d4e5f60718293a4b5c6d7e8f90123456789abcdef0123456789ab"
	knoxDigest = "952d6f82f013b0b511802d6ae015d84048cc9da944e950906f9c1a3f22114cdad4a3250ffce97fe584806f47dbf88cb5fffa87a928bd4e4727a489e5a4fb706f"
)
