package django

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// vectorOptions work but for the database, which is not there.
func vectorOptions() Options {
	o, k := DefaultOptions(), DeriveKeys(vectorSecret)
	o.SessionKey, o.CookieKey, o.HashKey, o.TicketKey = k.SessionKey, k.CookieKey, k.HashKey, k.TicketKey
	o.Database = "sqlite:///nowhere/db.sqlite3"
	return o
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Options)
		want   []string // parts of the text; none = valid
	}{
		{"the vectors", func(o *Options) {}, nil},
		{"signed_cookies needs no session_key", func(o *Options) { o.Engine, o.SessionKey = EngineSignedCookies, "" }, nil},
		{"no hash_key without verify_hash", func(o *Options) { o.HashKey, o.VerifyHash = "", false }, nil},
		{"fallbacks", func(o *Options) { o.Fallbacks = []Keys{DeriveKeys(vectorOld)} }, nil},
		{"a schema", func(o *Options) { o.UserTable = "site.auth_user" }, nil},
		{"the defaults lack keys and database", func(o *Options) { *o = DefaultOptions() }, []string{"authn.django.session_key is missing", "authn.django.hash_key is missing", "manage.py gatecast_keys", "authn.django.database is missing"}},
		{"signed_cookies lacks its key", func(o *Options) { o.Engine, o.CookieKey = EngineSignedCookies, "" }, []string{"authn.django.cookie_key is missing"}},
		{"SECRET_KEY itself", func(o *Options) { o.SessionKey = vectorSecret }, []string{"session_key has 60 characters", "not SECRET_KEY itself", "manage.py gatecast_keys"}},
		{"not hex", func(o *Options) { o.HashKey = strings.Repeat("xy", 32) }, []string{"hash_key is not hex"}},
		{"a placeholder of zeros", func(o *Options) { o.HashKey = strings.Repeat("0", 64) }, []string{"hash_key is a placeholder"}},
		{"a placeholder pattern", func(o *Options) { o.HashKey = strings.Repeat("0123456789abcdef", 4) }, []string{"hash_key is a placeholder"}},
		{"one key twice", func(o *Options) { o.HashKey = strings.ToUpper(o.SessionKey) }, []string{"hash_key equals session_key"}},
		{"a bad fallback", func(o *Options) { o.Fallbacks = []Keys{DeriveKeys(vectorOld), {HashKey: "short"}} }, []string{"authn.django.fallbacks[1].hash_key has 5 characters"}},
		{"an empty fallback", func(o *Options) { o.Fallbacks = []Keys{{}} }, []string{"fallbacks[0]: no key"}},
		{"cached_db", func(o *Options) { o.Engine, o.Cache = EngineCachedDB, "redis://h/0" }, nil},
		{"cached_db in a table", func(o *Options) { o.Engine, o.Cache = EngineCachedDB, "db://cache_table" }, nil},
		{"cached_db without a cache", func(o *Options) { o.Engine = EngineCachedDB }, []string{"cache is missing", "redis://"}},
		{"cache needs no session_key", func(o *Options) { o.Engine, o.Cache, o.SessionKey = EngineCache, "file:///tmp/c", "" }, nil},
		{"cached_db needs session_key", func(o *Options) { o.Engine, o.Cache, o.SessionKey = EngineCachedDB, "file:///tmp/c", "" }, []string{"session_key is missing, engine cached_db"}},
		{"a cache that is none", func(o *Options) { o.Engine, o.Cache = EngineCache, "redis://:hunter2@h/x" }, []string{"authn.django.cache: ", "is a number"}},
		{"a cache table with a quote", func(o *Options) { o.Engine, o.Cache = EngineCache, `db://x"y` }, []string{"after db://"}},
		{"cache_conns", func(o *Options) { o.CacheConns = 0 }, []string{"cache_conns"}},
		{"cache_timeout", func(o *Options) { o.CacheTimeout = -1 }, []string{"cache_timeout"}},
		{"a cache key without a key", func(o *Options) { o.CacheKeyFormat = "{prefix}" }, []string{"want {key} in it"}},
		{"a prefix with a newline in the cache", func(o *Options) { o.CacheKeyPrefix = "a\n" }, []string{"cache_key_prefix"}},
		{"file", func(o *Options) { o.Engine, o.SessionFilePath = EngineFile, "/tmp" }, nil},
		{"file without a folder", func(o *Options) { o.Engine = EngineFile }, []string{"session_file_path", "SESSION_FILE_PATH"}},
		{"pickle", func(o *Options) { o.Serializer = SerializerPickle }, nil},
		{"another serializer", func(o *Options) { o.Serializer = "yaml" }, []string{`serializer is "yaml"`}},
		{"a legacy key", func(o *Options) { o.LegacyHashKey = strings.Repeat("abcde12345", 4) }, nil},
		{"a legacy key of another length", func(o *Options) { o.LegacyHashKey = o.HashKey }, []string{"legacy_hash_key has 64 characters", "40 hex"}},
		{"a session key with a quote", func(o *Options) { o.RequireSessionKeys = []string{`a"b`} }, []string{"require_session_keys"}},
		{"an empty method", func(o *Options) { o.RequireAuthMethods = []string{""} }, []string{"require_auth_methods"}},
		{"a session column with a quote", func(o *Options) { o.SessionDataColumn = `a"b` }, []string{"session_data_column"}},
		{"no groups", func(o *Options) { o.UserGroupsTable, o.UserPermissionsTable = NoTable, NoTable }, nil},
		{"a dotted engine", func(o *Options) { o.Engine = "django.contrib.sessions.backends.db" }, []string{`write its last word, "db"`}},
		{"an unknown engine", func(o *Options) { o.Engine = "redis" }, []string{`engine "redis" is unknown`, "work"}},
		{"mysql", func(o *Options) { o.Database = "mysql://root:hunter2@db/site" }, nil},
		{"mysql without a name", func(o *Options) { o.Database = "mysql://root:hunter2@db" }, []string{"no database name"}},
		{"conns", func(o *Options) { o.DatabaseConns = 0 }, []string{"database_conns"}},
		{"a negative timeout", func(o *Options) { o.QueryTimeout = -time.Second }, []string{"query_timeout"}},
		{"a cookie name with a space", func(o *Options) { o.CookieName = "session id" }, []string{"cookie_name"}},
		{"a cookie without age", func(o *Options) { o.CookieAge = 0 }, []string{"cookie_age"}},
		{"no backends", func(o *Options) { o.Backends = nil }, []string{"backends is empty"}},
		{"a zone that is none", func(o *Options) { o.UseTZ, o.TimeZone = false, "Mars/Olympus" }, []string{"time_zone"}},
		{"no zone", func(o *Options) { o.UseTZ, o.TimeZone = false, "" }, []string{"time_zone"}},
		{"a zone that is none and not used", func(o *Options) { o.TimeZone = "Mars/Olympus" }, nil},
		{"a zone", func(o *Options) { o.UseTZ, o.TimeZone = false, "Europe/Berlin" }, nil},
		{"a quote in a table", func(o *Options) { o.UserTable = `auth_user"; DROP TABLE x; --` }, []string{"user_table"}},
		{"two dots in a table", func(o *Options) { o.SessionTable = "a.b.c" }, []string{"session_table"}},
		{"a quote in a column", func(o *Options) { o.UserIDColumn = `id"` }, []string{"user_id_column"}},
		{"a dotted column", func(o *Options) { o.Attributes = []string{"u.email"} }, []string{"attributes"}},
		{"the password as attribute", func(o *Options) { o.Attributes = []string{"password"} }, []string{"take it out"}},
		{"a prefix with a newline", func(o *Options) { o.UserPrefix = "a\n" }, []string{"user_prefix"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := vectorOptions()
			test.change(&o)
			err := o.Validate()
			if len(test.want) == 0 {
				if err != nil {
					t.Fatalf("Validate() = %v, want nil", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("Validate() = nil, want an error with %q", test.want)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("Validate() = %q, want it to hold %q", err, part)
				}
			}
			for _, secret := range []string{"hunter2", vectorSecret, o.SessionKey} {
				if secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("Validate() = %q, which holds the secret %q", err, secret)
				}
			}
		})
	}
}

// Every field has a key, and what is secret says so.
func TestOptionsTags(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Options](), reflect.TypeFor[Keys]()} {
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := f.Tag.Get("toml")
			if key == "" {
				t.Errorf("%s.%s has no toml key", typ, f.Name)
			}
			secret := strings.HasSuffix(key, "_key") && key != "user_foreign_key" || key == "database" || key == "cache"
			if (f.Tag.Get("secret") == "true") != secret {
				t.Errorf("%s.%s: secret = %q, want %v", typ, f.Name, f.Tag.Get("secret"), secret)
			}
		}
	}
}

func TestParseDSN(t *testing.T) {
	for _, test := range []struct {
		address, base string
		want          dsn
		problem       string // part of the error
	}{
		{"sqlite:///srv/db.sqlite3", "/etc/gatecast", dsn{path: "/srv/db.sqlite3"}, ""},
		{"sqlite://db.sqlite3", "/etc/gatecast", dsn{path: "/etc/gatecast/db.sqlite3"}, ""},
		{"sqlite://../site/db.sqlite3", "/etc/gatecast", dsn{path: "/etc/site/db.sqlite3"}, ""},
		{"sqlite://db.sqlite3", "", dsn{path: "db.sqlite3"}, ""},
		{"sqlite:///srv/100%/what?/#1/a b.sqlite3", "", dsn{path: "/srv/100%/what?/#1/a b.sqlite3"}, ""},
		{"postgres://u:p@h:5432/n?sslmode=require", "", dsn{postgres: "postgres://u:p@h:5432/n?sslmode=require"}, ""},
		{"postgresql://h/n", "", dsn{postgres: "postgres://h/n"}, ""},
		{"POSTGRES://u:p@h/n", "", dsn{postgres: "postgres://u:p@h/n"}, ""},
		{"PostgreSQL://u:p@h/n", "", dsn{postgres: "postgres://u:p@h/n"}, ""},
		{"SQLite:///srv/DB", "", dsn{path: "/srv/DB"}, ""},
		{"postgres://u@h/a%40b?options=-c%20search_path%3Dsite", "", dsn{postgres: "postgres://u@h/a%40b?options=-c%20search_path%3Dsite"}, ""},
		{"postgres:///n?host=/run/postgresql", "", dsn{postgres: "postgres:///n?host=/run/postgresql"}, ""},
		{"", "", dsn{}, "want postgres://"},
		{"db.sqlite3", "", dsn{}, "want postgres://"},
		{"sqlite://", "", dsn{}, "no file"},
		{"sqlite:///srv/", "", dsn{}, "no file"},
		{"sqlite://:memory:", "", dsn{}, "memory"},
		{"sqlite://a\x00b", "", dsn{}, "NUL"},
		{"mysql://h/n", "", dsn{mysql: "mysql://h/n"}, ""},
		{"mariadb://u:p@h:1/n?tls=true", "", dsn{mysql: "mysql://u:p@h:1/n?tls=true"}, ""},
		{"mysql://u:p@/n?socket=/run/m.sock&ca=/x", "", dsn{mysql: "mysql://u:p@/n?socket=/run/m.sock&ca=/x"}, ""},
		{"mysql://u:hunter2@h", "", dsn{}, "no database name"},
		{"mysql://u:hunter2@h/n?charset=x", "", dsn{}, "not known"},
		{"mysql://u:hunter2@h/n?tls=maybe", "", dsn{}, "skip-verify"},
		{"mysql://u:hunter2@x@h:a/n", "", dsn{}, "percent-encoded"},
		{"mysql://u:12/hunter2@h/n", "", dsn{}, "percent-encoded"},
		{"mysql://u:12/n?hunter2@h/n", "", dsn{}, "percent-encoded"},
		{"mysql://u:PASSWORD@h/n", "", dsn{}, "PASSWORD is a placeholder"},
		{"oracle://h/n", "", dsn{}, "oracle:// is not known"},
		{"postgres://h", "", dsn{}, "no database name"},
		{"postgres://u:hunter2@x@h:a/n", "", dsn{}, "percent-encoded"},
		{"postgres://u:hunter2%zz@h/n", "", dsn{}, "percent-encoded"},
		{"postgres://u:hunter2[@h/n", "", dsn{}, "percent-encoded"},
		{"postgres://u:[hunter2/x@h/n", "", dsn{}, "percent-encoded"},
		{"postgres://u:12/hunter2@h/n", "", dsn{}, "percent-encoded"},
		{"postgres://u:12/34#hunter2@h/n", "", dsn{}, "percent-encoded"},
		{"postgres://u:PASSWORD@h/n", "", dsn{}, "PASSWORD is a placeholder"},
		{"hunter2@h://x", "", dsn{}, "want postgres://"},
	} {
		got, err := parseDSN(test.address, test.base)
		if got != test.want || (err == nil) != (test.problem == "") {
			t.Errorf("parseDSN(%q, %q) = %+v, %v, want %+v, error %q", test.address, test.base, got, err, test.want, test.problem)
		}
		if err != nil && (!strings.Contains(err.Error(), test.problem) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("parseDSN(%q) = %q, want it to hold %q and no password", test.address, err, test.problem)
		}
	}
}
