package django

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Engines of [Options.Engine]: the last word of the site's SESSION_ENGINE.
const (
	EngineDB            = "db"
	EngineSignedCookies = "signed_cookies"
)

// Options are the section [authn.django]. manage.py gatecast_keys prints it for a project.
type Options struct {
	// Engine is the last word of the site's SESSION_ENGINE: "db" or "signed_cookies". Sites with cached_db use "db": the rows are there too.
	Engine string `toml:"engine"`
	// SessionKey verifies session data (64 hex characters, from manage.py gatecast_keys). Needed by engine db.
	SessionKey string `toml:"session_key" secret:"true"`
	// CookieKey verifies session cookies. Needed by engine signed_cookies.
	CookieKey string `toml:"cookie_key" secret:"true"`
	// HashKey verifies that the password is still that of the login. Needed unless verify_hash is off.
	HashKey string `toml:"hash_key" secret:"true"`
	// TicketKey verifies tickets the site signs for Gatecast.
	TicketKey string `toml:"ticket_key" secret:"true"`
	// Fallbacks are the keys of the site's SECRET_KEY_FALLBACKS, in its order.
	Fallbacks []Keys `toml:"fallbacks"`

	// Database is the site's database: postgres://user:password@host:5432/name, or sqlite:// and the path as it is: sqlite:///srv/db.sqlite3 is
	// /srv/db.sqlite3, sqlite://db.sqlite3 is relative to config.toml. Reading is enough: its user needs SELECT on the tables below and no more.
	Database string `toml:"database" secret:"true"`
	// DatabaseConns bounds the connections of one node to the database, so that a reconnect storm waits here and not there. 1 to 100.
	DatabaseConns int `toml:"database_conns"`
	// QueryTimeout bounds one query. 0 = only the login's own timeout.
	QueryTimeout time.Duration `toml:"query_timeout"`

	// CookieName is the site's SESSION_COOKIE_NAME.
	CookieName string `toml:"cookie_name"`
	// CookieAge is the site's SESSION_COOKIE_AGE. Engine signed_cookies ends a login by it; engine db has the time in its rows.
	CookieAge time.Duration `toml:"cookie_age"`
	// Backends are the site's AUTHENTICATION_BACKENDS. A login by any other is refused. Logins by the two AllowAllUsers backends of Django count when the user is inactive too.
	Backends []string `toml:"backends"`
	// VerifyHash ends a login when the password or SECRET_KEY has changed. Off only for user models that do not derive from AbstractBaseUser.
	VerifyHash bool `toml:"verify_hash"`
	// UseTZ is the site's USE_TZ. It matters to SQLite only, where times have no zone of their own.
	UseTZ bool `toml:"use_tz"`
	// TimeZone is the site's TIME_ZONE, used when use_tz is off.
	TimeZone string `toml:"time_zone"`

	// UserPrefix goes before the user's id. Set it when another verifier's ids could be the same and mean somebody else.
	UserPrefix string `toml:"user_prefix"`
	// Attributes are columns of the user table that grants may use as {attr.NAME}.
	Attributes []string `toml:"attributes"`
	// SessionTable is the table of the sessions; another one for django-user-sessions or django-qsessions. May have a schema: "site.django_session".
	SessionTable string `toml:"session_table"`
	// UserTable is the table of AUTH_USER_MODEL: "accounts_member" for accounts.Member.
	UserTable string `toml:"user_table"`
	// UserIDColumn is the primary key's column in user_table.
	UserIDColumn string `toml:"user_id_column"`
	// UserGroupsTable joins users and groups; "" = user_table + "_groups".
	UserGroupsTable string `toml:"user_groups_table"`
	// UserPermissionsTable joins users and permissions; "" = user_table + "_user_permissions".
	UserPermissionsTable string `toml:"user_permissions_table"`
	// UserForeignKey is the column of those two tables that points to the user; "" = found there ("user_id", "member_id").
	UserForeignKey string `toml:"user_foreign_key"`

	// BaseDir is the folder of config.toml, for a relative SQLite path. config sets it.
	BaseDir string `toml:"-"`
}

// DefaultOptions returns the defaults of config.toml, which are those of a new Django project. The keys and the database have none.
func DefaultOptions() Options {
	return Options{
		Engine:        EngineDB,
		DatabaseConns: 8,
		QueryTimeout:  3 * time.Second,
		CookieName:    "sessionid",
		CookieAge:     1209600 * time.Second,
		Backends:      []string{modelBackend},
		VerifyHash:    true,
		UseTZ:         true,
		TimeZone:      "UTC",
		SessionTable:  "django_session",
		UserTable:     "auth_user",
		UserIDColumn:  "id",
	}
}

const (
	modelBackend          = "django.contrib.auth.backends.ModelBackend"
	allowAllModelBackend  = "django.contrib.auth.backends.AllowAllUsersModelBackend"
	allowAllRemoteBackend = "django.contrib.auth.backends.AllowAllUsersRemoteUserBackend"
)

// Validate reports every value that cannot work and says what would.
func (o *Options) Validate() error {
	errs := o.checkKeys()
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.django."+format, args...)) }

	if err := checkEngine(o.Engine); err != nil {
		add("%w", err)
	}
	if o.Database == "" {
		add("database is missing: the sessions or users are read from it; set postgres://… or sqlite://…")
	} else if _, err := parseDSN(o.Database, o.BaseDir); err != nil {
		add("database: %w", err)
	}
	if o.DatabaseConns < 1 || o.DatabaseConns > 100 {
		add("database_conns is %d: want 1 to 100", o.DatabaseConns)
	}
	if o.QueryTimeout < 0 {
		add("query_timeout is %s: want a time like \"3s\", or 0 for none", o.QueryTimeout)
	}
	if !cookieName.MatchString(o.CookieName) {
		add("cookie_name is %q: want the site's SESSION_COOKIE_NAME, such as \"sessionid\"", o.CookieName)
	}
	if o.CookieAge < time.Second {
		add("cookie_age is %s: want the site's SESSION_COOKIE_AGE, such as \"336h\"", o.CookieAge)
	}
	if len(o.Backends) == 0 {
		add("backends is empty, so nobody could log in: want the site's AUTHENTICATION_BACKENDS, usually [%q]", modelBackend)
	}
	if slices.Contains(o.Backends, "") {
		add("backends holds an empty name")
	}
	if !o.UseTZ {
		if _, err := time.LoadLocation(o.TimeZone); err != nil || o.TimeZone == "" || o.TimeZone == "Local" {
			add("time_zone is %q: want the site's TIME_ZONE, such as \"Europe/Berlin\"", o.TimeZone)
		}
	}
	if len(o.UserPrefix) > 64 || strings.ContainsFunc(o.UserPrefix, isControl) {
		add("user_prefix: want at most 64 bytes and no control characters")
	}
	return errors.Join(append(errs, o.checkNames()...)...)
}

func (o *Options) checkKeys() (errs []error) {
	need := func(name, value, why string) {
		if value == "" {
			errs = append(errs, fmt.Errorf("authn.django.%s is missing, %s: %s", name, why, askForKeys))
		}
	}
	switch o.Engine {
	case EngineSignedCookies:
		need("cookie_key", o.CookieKey, "engine signed_cookies verifies cookies with it")
	default:
		need("session_key", o.SessionKey, "engine db verifies sessions with it")
	}
	if o.VerifyHash {
		need("hash_key", o.HashKey, "it ends logins when the password changes")
	}
	sets := append([]Keys{{o.SessionKey, o.CookieKey, o.HashKey, o.TicketKey}}, o.Fallbacks...)
	for i, set := range sets {
		where := "authn.django."
		if i > 0 {
			where = fmt.Sprintf("authn.django.fallbacks[%d].", i-1)
		}
		seen := map[string]string{}
		for _, k := range set.named() {
			if k.value == "" {
				continue
			}
			if err := checkKey(k.name, k.value); err != nil {
				errs = append(errs, fmt.Errorf("%s%w", where, err))
				continue
			}
			if other, ok := seen[strings.ToLower(k.value)]; ok {
				errs = append(errs, fmt.Errorf("%s%s equals %s; they are different keys: %s", where, k.name, other, askForKeys))
			}
			seen[strings.ToLower(k.value)] = k.name
		}
		if i > 0 && len(seen) == 0 && set == (Keys{}) {
			errs = append(errs, fmt.Errorf("%s: no key in it", strings.TrimSuffix(where, ".")))
		}
	}
	return errs
}

type namedKey struct{ name, value string }

func (k Keys) named() []namedKey {
	return []namedKey{{"session_key", k.SessionKey}, {"cookie_key", k.CookieKey}, {"hash_key", k.HashKey}, {"ticket_key", k.TicketKey}}
}

func checkEngine(engine string) error {
	const work = `"db" and "signed_cookies" work`
	switch name := strings.TrimPrefix(engine, "django.contrib.sessions.backends."); {
	case engine == EngineDB || engine == EngineSignedCookies:
		return nil
	case name == EngineDB || name == EngineSignedCookies:
		return fmt.Errorf("engine is %q: write its last word, %q", engine, name)
	case name == "cached_db":
		return fmt.Errorf(`engine "cached_db" is not read from its cache yet; its sessions are in the database too: set engine = "db" (%s)`, work)
	case name == "cache" || name == "file":
		return fmt.Errorf("engine %q is not supported yet: %s", name, work)
	}
	return fmt.Errorf("engine %q is unknown: %s", engine, work)
}

var (
	identifier = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_$-]*$`)
	cookieName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$") // RFC 6265 §4.1.1: a token
)

// maxIdentifier is in runes. It is counted beside the expression, which with {0,62} of two Unicode classes would be 3 MB of the process.
const maxIdentifier = 63

// isColumn and isTable say what we quote into SQL: a column, or a table with or without a schema. Django's own names are far inside it.
func isColumn(name string) bool {
	return identifier.MatchString(name) && utf8.RuneCountInString(name) <= maxIdentifier
}

func isTable(name string) bool {
	schema, table, dotted := strings.Cut(name, ".")
	return isColumn(schema) && (!dotted || isColumn(table))
}

func (o *Options) checkNames() (errs []error) {
	table := func(name, value string, optional bool) {
		if optional && value == "" {
			return
		}
		if !isTable(value) {
			errs = append(errs, fmt.Errorf("authn.django.%s is %q: want a table's name, such as \"auth_user\" or \"site.auth_user\"", name, value))
		}
	}
	table("session_table", o.SessionTable, false)
	table("user_table", o.UserTable, false)
	table("user_groups_table", o.UserGroupsTable, true)
	table("user_permissions_table", o.UserPermissionsTable, true)
	column := func(name, value string) {
		if !isColumn(value) {
			errs = append(errs, fmt.Errorf("authn.django.%s is %q: want a column's name", name, value))
		}
	}
	column("user_id_column", o.UserIDColumn)
	if o.UserForeignKey != "" {
		column("user_foreign_key", o.UserForeignKey)
	}
	for _, a := range o.Attributes {
		column("attributes", a)
		if strings.EqualFold(a, "password") {
			errs = append(errs, errors.New("authn.django.attributes holds password: take it out"))
		}
	}
	return errs
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
