package django

import (
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// site is a Django project's database with Django's own tables (DDL as sqlmigrate of 5.2 prints it), written to as Django writes.
type site struct {
	t     testing.TB
	db    *sql.DB
	pg    bool
	maria bool
	dsn   string
	keys  Keys
	user  string // table
	model string // lower-case name of the user model
	idSQL string
	zone  *time.Location // of SQLite times
}

type siteKind struct{ name, user, model, idSQLite, idPostgres string }

var plainSite = siteKind{"auth_user", "auth_user", "user", "integer", "integer"}

// onEveryDatabase runs a test on SQLite in both journal modes, on PostgreSQL and on MariaDB.
func onEveryDatabase(t *testing.T, kind siteKind, test func(t *testing.T, s *site)) {
	t.Run("sqlite", func(t *testing.T) { test(t, newSQLiteSite(t, kind, "delete")) })
	t.Run("sqlite wal", func(t *testing.T) { test(t, newSQLiteSite(t, kind, "wal")) })
	t.Run("postgres", func(t *testing.T) { test(t, newPostgresSite(t, pgtest.Shared(t), kind)) })
	t.Run("mariadb", func(t *testing.T) { test(t, newMariaSite(t, servertest.MariaDBShared(t), kind)) })
}

func newMariaSite(t testing.TB, server *servertest.Maria, kind siteKind) *site {
	t.Helper()
	name := server.CreateDatabase(t)
	s := &site{t: t, db: server.Open(t, name), maria: true, dsn: server.URL(name), idSQL: kind.idSQLite, zone: time.UTC}
	s.create(kind)
	return s
}

func newSQLiteSite(t testing.TB, kind siteKind, journal string) *site {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db %41?.sqlite3") // nothing in a path is an escape or a query
	name := "file://" + strings.NewReplacer("%", "%25", "?", "%3f").Replace(path) + "?_journal_mode=" + journal + "&_busy_timeout=5000"
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, db: db, dsn: "sqlite://" + path, idSQL: kind.idSQLite, zone: time.UTC}
	s.create(kind)
	return s
}

func newPostgresSite(t testing.TB, server *pgtest.Server, kind siteKind) *site {
	t.Helper()
	dsn := server.URL(server.CreateDatabase(t))
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, db: db, pg: true, dsn: dsn, idSQL: kind.idPostgres, zone: time.UTC}
	s.create(kind)
	return s
}

func (s *site) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.Exec(query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

func (s *site) create(kind siteKind) {
	s.t.Helper()
	s.t.Cleanup(func() { s.db.Close() })
	s.keys, s.user, s.model = DeriveKeys(vectorSecret), kind.user, kind.model
	boolean, when := "bool", "datetime"
	switch {
	case s.pg:
		boolean, when = "boolean", "timestamp with time zone"
	case s.maria:
		when = "datetime(6)"
	}
	fk := s.model + "_id"
	for _, ddl := range []string{
		`CREATE TABLE django_session (session_key varchar(40) NOT NULL PRIMARY KEY, session_data text NOT NULL, expire_date ` + when + ` NOT NULL)`,
		`CREATE TABLE ` + s.user + ` (id ` + s.idSQL + ` NOT NULL PRIMARY KEY, password varchar(128) NOT NULL, last_login ` + when + ` NULL, is_superuser ` + boolean + ` NOT NULL, username varchar(150) NOT NULL UNIQUE, email varchar(254) NULL, is_staff ` + boolean + ` NOT NULL, is_active ` + boolean + ` NOT NULL)`,
		`CREATE TABLE auth_group (id integer NOT NULL PRIMARY KEY, name varchar(150) NOT NULL UNIQUE)`,
		`CREATE TABLE ` + s.user + `_groups (id integer, ` + fk + ` ` + s.idSQL + ` NOT NULL, group_id integer NOT NULL)`,
		`CREATE TABLE django_content_type (id integer NOT NULL PRIMARY KEY, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL)`,
		`CREATE TABLE auth_permission (id integer NOT NULL PRIMARY KEY, content_type_id integer NOT NULL, codename varchar(100) NOT NULL, name varchar(255) NOT NULL)`,
		`CREATE TABLE auth_group_permissions (id integer, group_id integer NOT NULL, permission_id integer NOT NULL)`,
		`CREATE TABLE ` + s.user + `_user_permissions (id integer, ` + fk + ` ` + s.idSQL + ` NOT NULL, permission_id integer NOT NULL)`,
		`CREATE UNIQUE INDEX a ON ` + s.user + `_groups (` + fk + `, group_id)`,
		`CREATE UNIQUE INDEX b ON ` + s.user + `_user_permissions (` + fk + `, permission_id)`,
		`CREATE UNIQUE INDEX c ON auth_group_permissions (group_id, permission_id)`,
		`INSERT INTO auth_group VALUES (1, 'Editors'), (2, 'Zoë''s "friends", all')`,
		`INSERT INTO django_content_type VALUES (1, 'chat', 'room')`,
		`INSERT INTO auth_permission VALUES (1, 1, 'moderate', ''), (2, 1, 'view_room', ''), (3, 1, 'unused', '')`,
		`INSERT INTO auth_group_permissions VALUES (1, 1, 2), (2, 2, 2)`,
	} {
		s.exec(ddl)
	}
}

type account struct {
	id, password               string
	inactive, staff, superuser bool
	groups, permissions        []int
}

func (s *site) bind(query string) string {
	for i := 1; i < 12 && !s.pg; i++ {
		mark := fmt.Sprintf("?%d", i)
		if s.maria { // by place
			mark = "?"
		}
		query = strings.ReplaceAll(query, fmt.Sprintf("$%d", i), mark)
	}
	return query
}

// stored is an id as Django stores it.
func (s *site) stored(id string) string {
	if s.idSQL == "char(32)" {
		return strings.ReplaceAll(id, "-", "")
	}
	return id
}

func (s *site) addUser(a account) {
	s.t.Helper()
	if a.password == "" {
		a.password = vectorPassword
	}
	id := s.stored(a.id)
	cast := ""
	if s.pg {
		cast = "::text::" + s.idSQL
	}
	s.exec(s.bind(`INSERT INTO `+s.user+` (id, password, is_superuser, username, email, is_staff, is_active) VALUES ($1`+cast+`, $2, $3, $4, NULL, $5, $6)`),
		id, a.password, a.superuser, "name of "+a.id, a.staff, !a.inactive)
	for _, g := range a.groups {
		s.exec(s.bind(`INSERT INTO `+s.user+`_groups VALUES (1, $1`+cast+`, $2)`), id, g)
	}
	for _, p := range a.permissions {
		s.exec(s.bind(`INSERT INTO `+s.user+`_user_permissions VALUES (1, $1`+cast+`, $2)`), id, p)
	}
}

// authHash is AbstractBaseUser.get_session_auth_hash.
func authHash(hashKey, password string) string {
	key, _ := hex.DecodeString(hashKey)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(password))
	return hex.EncodeToString(mac.Sum(nil))
}

// payload is a session of a login by the plain backend.
func (s *site) payload(user string, more ...string) string {
	m := map[string]any{"_auth_user_id": user, "_auth_user_backend": modelBackend, "_auth_user_hash": authHash(s.keys.HashKey, vectorPassword)}
	for i := 0; i+1 < len(more); i += 2 {
		if more[i+1] == "" {
			delete(m, more[i])
		} else {
			m[more[i]] = more[i+1]
		}
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func rawKey(key string) []byte {
	b, _ := hex.DecodeString(key)
	return b
}

// addSession stores signed session data as SessionStore.save does.
func (s *site) addSession(key, data string, expires time.Time) {
	s.t.Helper()
	var at any = expires
	if !s.pg {
		at = expires.In(s.zone).Format("2006-01-02 15:04:05.999999")
	}
	s.exec(s.bind(`INSERT INTO django_session VALUES ($1, $2, $3)`), key, data, at)
}

func (s *site) login(key, user string) {
	s.t.Helper()
	s.addSession(key, sign(rawKey(s.keys.SessionKey), s.payload(user), time.Now()), time.Now().Add(time.Hour))
}

func (s *site) options() Options {
	o := vectorOptions()
	o.Database, o.UserTable = s.dsn, s.user
	return o
}

func (s *site) open(change ...func(*Options)) *Verifier {
	s.t.Helper()
	return s.openFor(s.t, change...)
}

// openFor is open for a part of the test.
func (s *site) openFor(t testing.TB, change ...func(*Options)) *Verifier {
	t.Helper()
	o := s.options()
	for _, c := range change {
		c(&o)
	}
	v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func cookie(value string) authn.Credential {
	return authn.Credential{Carrier: authn.CarrierCookie, Cookies: func(name string) (string, bool) {
		return value, name == "sessionid"
	}}
}

func bearer(value string) authn.Credential {
	return authn.Credential{Carrier: authn.CarrierHeader, Scheme: "bearer", Value: value}
}

const (
	aliceKey = "alicealicealicealicealicealice00"
	bobKey   = "bobbobbobbobbobbobbobbobbobbob00"
)
