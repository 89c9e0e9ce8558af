package django

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatecast/gatecast/authn/django/cache"
)

// Engines of [Options.Engine]: the last word of the site's SESSION_ENGINE.
const (
	EngineDB            = "db"
	EngineCachedDB      = "cached_db"
	EngineCache         = "cache"
	EngineFile          = "file"
	EngineSignedCookies = "signed_cookies"
)

// Serializers of [Options.Serializer].
const (
	SerializerJSON   = "json"
	SerializerPickle = "pickle"
)

// NoTable is the name of a table that a site has not.
const NoTable = "none"

// Options are the section [authn.django]. manage.py gatecast_keys prints it for a project.
type Options struct {
	// Engine is the last word of the site's SESSION_ENGINE: "db", "cached_db", "cache", "file" or "signed_cookies". cached_db asks the cache
	// first and the database when the cache does not know or does not answer; it never fills the cache.
	Engine string `toml:"engine"`
	// SessionKey verifies session data (64 hex characters, from manage.py gatecast_keys). Needed by the engines db, cached_db and file; what is in a cache is not signed.
	SessionKey string `toml:"session_key" secret:"true"`
	// CookieKey verifies session cookies. Needed by engine signed_cookies.
	CookieKey string `toml:"cookie_key" secret:"true"`
	// HashKey verifies that the password is still that of the login. Needed unless verify_hash is off.
	HashKey string `toml:"hash_key" secret:"true"`
	// TicketKey verifies tickets the site signs for Gatecast.
	TicketKey string `toml:"ticket_key" secret:"true"`
	// Fallbacks are the keys of the site's SECRET_KEY_FALLBACKS, in its order.
	Fallbacks []Keys `toml:"fallbacks"`
	// LegacySessionKey also lets in sessions as Django before 3.1 signed them, with SHA-1 (40 hex characters, from manage.py gatecast_keys --legacy-sha1).
	// Only for Django 3.1 and 3.2 with DEFAULT_HASHING_ALGORITHM = "sha1", or while such sessions live on.
	LegacySessionKey string `toml:"legacy_session_key" secret:"true"`
	// LegacyCookieKey also lets in session cookies that are signed with SHA-1. As legacy_session_key.
	LegacyCookieKey string `toml:"legacy_cookie_key" secret:"true"`
	// LegacyHashKey also accepts the password hash of logins that Django before 3.1 made. As legacy_session_key.
	LegacyHashKey string `toml:"legacy_hash_key" secret:"true"`

	// Database is the site's database: postgres://user:password@host:5432/name, mysql://user:password@host:3306/name (MariaDB too; options are tls
	// = "true", "preferred", "skip-verify" or "false", ca, cert, key and socket), or sqlite:// and the path as it is: sqlite:///srv/db.sqlite3 is
	// /srv/db.sqlite3, sqlite://db.sqlite3 is relative to config.toml. Reading is enough: its user needs SELECT on the tables below and no more.
	Database string `toml:"database" secret:"true"`
	// DatabaseConns bounds the connections of one node to the database, so that a reconnect storm waits here and not there. 1 to 100. An
	// SQLite file has no more than the node has cores, and 2 at least. With sql in [[grants]] it is twice as many: its rules have as many of their own.
	DatabaseConns int `toml:"database_conns"`
	// QueryTimeout bounds one query. 0 = only the login's own timeout.
	QueryTimeout time.Duration `toml:"query_timeout"`

	// Cache is where the engines cache and cached_db keep sessions, the site's CACHES[SESSION_CACHE_ALIAS]:
	// redis://user:password@host:6379/0 (rediss:// with TLS, unix:///path?db=0 for a socket; Django's RedisCache and django-redis, with
	// pickle or JSON, plain, zlib or gzip), memcached://host:11211,host2:11211?client=pymemcache (or pylibmc, python-memcached: they place keys differently),
	// db://table for a DatabaseCache in database, file:///dir for a FileBasedCache.
	Cache string `toml:"cache" secret:"true"`
	// CacheConns bounds the connections of one node to each cache server. 1 to 100.
	CacheConns int `toml:"cache_conns"`
	// CacheTimeout bounds one question to the cache. 0 = only the login's own timeout.
	CacheTimeout time.Duration `toml:"cache_timeout"`
	// CacheKeyPrefix is the cache's KEY_PREFIX.
	CacheKeyPrefix string `toml:"cache_key_prefix"`
	// CacheVersion is the cache's VERSION.
	CacheVersion int `toml:"cache_version"`
	// CacheKeyFormat is how the cache's KEY_FUNCTION joins prefix, version and key. Django's own is the default.
	CacheKeyFormat string `toml:"cache_key_format"`
	// CacheSessionPrefix is the session store's cache_key_prefix; "" = that of Django's own store, such as "django.contrib.sessions.cache".
	CacheSessionPrefix string `toml:"cache_session_prefix"`
	// SessionFilePath is the site's SESSION_FILE_PATH, or the folder of its temporary files. Needed by engine file.
	SessionFilePath string `toml:"session_file_path"`
	// Serializer is the site's SESSION_SERIALIZER: "json", or "pickle" for the PickleSerializer of Django before 5.0. A pickle is read as data: nothing in it is run.
	// What is in a cache is recognised by itself.
	Serializer string `toml:"serializer"`

	// CookieName is the site's SESSION_COOKIE_NAME.
	CookieName string `toml:"cookie_name"`
	// CookieAge is the site's SESSION_COOKIE_AGE. The engines signed_cookies and file end a login by it; the others keep the time with the session.
	CookieAge time.Duration `toml:"cookie_age"`
	// Backends are the site's AUTHENTICATION_BACKENDS. A login by any other is refused. Logins by the two AllowAllUsers backends of Django count when the user is inactive too.
	Backends []string `toml:"backends"`
	// VerifyHash ends a login when the password or SECRET_KEY has changed. Off only for user models that do not derive from AbstractBaseUser.
	VerifyHash bool `toml:"verify_hash"`
	// RequireSessionKeys refuses logins whose session lacks one of these keys, or has it empty: "otp_device_id" for sites with django-otp or
	// django-two-factor-auth, where a user is logged in before the second step.
	RequireSessionKeys []string `toml:"require_session_keys"`
	// RequireAuthMethods refuses logins that django-allauth has not seen done by each of these methods ("mfa", "password", "socialaccount").
	RequireAuthMethods []string `toml:"require_auth_methods"`
	// UseTZ is the site's USE_TZ. It matters to SQLite and MySQL, where times have no zone of their own.
	UseTZ bool `toml:"use_tz"`
	// TimeZone is the site's TIME_ZONE, used when use_tz is off.
	TimeZone string `toml:"time_zone"`

	// UserPrefix goes before the user's id. Set it when another verifier's ids could be the same and mean somebody else.
	UserPrefix string `toml:"user_prefix"`
	// Attributes are columns of the user table that grants may use as {attr.NAME}.
	Attributes []string `toml:"attributes"`
	// SessionTable is the table of the sessions; another one for django-user-sessions or django-qsessions. May have a schema: "site.django_session".
	SessionTable string `toml:"session_table"`
	// SessionKeyColumn is the session key's column in session_table.
	SessionKeyColumn string `toml:"session_key_column"`
	// SessionDataColumn is the column of the signed data in session_table.
	SessionDataColumn string `toml:"session_data_column"`
	// SessionExpireColumn is the column of the time of expiry in session_table.
	SessionExpireColumn string `toml:"session_expire_column"`
	// UserTable is the table of AUTH_USER_MODEL: "accounts_member" for accounts.Member.
	UserTable string `toml:"user_table"`
	// UserIDColumn is the primary key's column in user_table.
	UserIDColumn string `toml:"user_id_column"`
	// UserGroupsTable joins users and groups; "" = user_table + "_groups" if there is one, "none" = the site has none.
	UserGroupsTable string `toml:"user_groups_table"`
	// UserPermissionsTable joins users and permissions; "" = user_table + "_user_permissions" if there is one, "none" = the site has none.
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

		CacheConns:     8,
		CacheTimeout:   time.Second,
		CacheVersion:   1,
		CacheKeyFormat: "{prefix}:{version}:{key}",
		Serializer:     SerializerJSON,

		CookieName: "sessionid",
		CookieAge:  1209600 * time.Second,
		Backends:   []string{modelBackend},
		VerifyHash: true,
		UseTZ:      true,
		TimeZone:   "UTC",

		SessionTable:        "django_session",
		SessionKeyColumn:    "session_key",
		SessionDataColumn:   "session_data",
		SessionExpireColumn: "expire_date",
		UserTable:           "auth_user",
		UserIDColumn:        "id",
	}
}

const (
	modelBackend          = "django.contrib.auth.backends.ModelBackend"
	allowAllModelBackend  = "django.contrib.auth.backends.AllowAllUsersModelBackend"
	allowAllRemoteBackend = "django.contrib.auth.backends.AllowAllUsersRemoteUserBackend"
)

// Validate reports every value that cannot work and says what would.
func (o *Options) Validate() error {
	errs := append(o.checkKeys(), o.checkDatabase()...)
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.django."+format, args...)) }

	if err := checkEngine(o.Engine); err != nil {
		add("%w", err)
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
	errs = append(errs, o.checkStore()...)
	errs = append(errs, o.checkGates()...)
	return errors.Join(append(errs, o.checkNames()...)...)
}

func (o *Options) checkDatabase() (errs []error) {
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.django."+format, args...)) }
	if o.Database == "" {
		add("database is missing: the users are read from it, whatever the engine; set postgres://…, mysql://… or sqlite://…")
	} else if _, err := parseDSN(o.Database, o.BaseDir); err != nil {
		add("database: %w", err)
	}
	if o.DatabaseConns < 1 || o.DatabaseConns > 100 {
		add("database_conns is %d: want 1 to 100", o.DatabaseConns)
	}
	if o.QueryTimeout < 0 {
		add("query_timeout is %s: want a time like \"3s\", or 0 for none", o.QueryTimeout)
	}
	return errs
}

// checkStore looks at where the engine keeps its sessions.
func (o *Options) checkStore() (errs []error) {
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.django."+format, args...)) }
	if o.cached() {
		if table, ok := strings.CutPrefix(o.Cache, cacheTable); ok {
			if !isTable(table) {
				add("cache: want the name of the DatabaseCache's table after db://")
			}
		} else if o.Cache == "" {
			add("cache is missing: engine %q keeps sessions there; set redis://…, memcached://…, db://table or file:///dir", o.Engine)
		} else if err := cache.Check(o.Cache); err != nil {
			add("cache: %w", err)
		}
	}
	if o.CacheConns < 1 || o.CacheConns > 100 {
		add("cache_conns is %d: want 1 to 100", o.CacheConns)
	}
	if o.CacheTimeout < 0 {
		add("cache_timeout is %s: want a time like \"1s\", or 0 for none", o.CacheTimeout)
	}
	for name, value := range map[string]string{"cache_key_prefix": o.CacheKeyPrefix, "cache_key_format": o.CacheKeyFormat, "cache_session_prefix": o.CacheSessionPrefix} {
		if len(value) > 150 || strings.ContainsFunc(value, isControl) {
			add("%s: want at most 150 bytes and no control characters", name)
		}
	}
	if !strings.Contains(o.CacheKeyFormat, "{key}") {
		add("cache_key_format is %q: want {key} in it, and {prefix} and {version} where KEY_FUNCTION puts them", o.CacheKeyFormat)
	}
	if o.Engine == EngineFile && !filepath.IsAbs(o.SessionFilePath) {
		add("session_file_path is %q: engine file needs the absolute path of the site's SESSION_FILE_PATH (of its temporary folder if that is None)", o.SessionFilePath)
	}
	if o.Serializer != SerializerJSON && o.Serializer != SerializerPickle {
		add("serializer is %q: want \"json\", or \"pickle\" for a site whose SESSION_SERIALIZER is the PickleSerializer", o.Serializer)
	}
	return errs
}

func (o *Options) checkGates() (errs []error) {
	for name, list := range map[string][]string{"require_session_keys": o.RequireSessionKeys, "require_auth_methods": o.RequireAuthMethods} {
		for _, key := range list {
			if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
				errs = append(errs, fmt.Errorf("authn.django.%s holds %q: want names such as \"otp_device_id\"", name, key))
			}
		}
	}
	return errs
}

// cacheTable begins the address of a DatabaseCache.
const cacheTable = "db://"

// rows tells whether sessions are in session_table.
func (o *Options) rows() bool { return o.Engine == EngineDB || o.Engine == EngineCachedDB }

// cached tells whether sessions are in a cache.
func (o *Options) cached() bool { return o.Engine == EngineCache || o.Engine == EngineCachedDB }

func (o *Options) checkKeys() (errs []error) {
	need := func(name, value, why string) {
		if value == "" {
			errs = append(errs, fmt.Errorf("authn.django.%s is missing, %s: %s", name, why, askForKeys))
		}
	}
	switch o.Engine {
	case EngineSignedCookies:
		need("cookie_key", o.CookieKey, "engine signed_cookies verifies cookies with it")
	case EngineCache: // nothing is signed there
	default:
		need("session_key", o.SessionKey, fmt.Sprintf("engine %s verifies sessions with it", o.Engine))
	}
	for _, k := range []namedKey{{"legacy_session_key", o.LegacySessionKey}, {"legacy_cookie_key", o.LegacyCookieKey}, {"legacy_hash_key", o.LegacyHashKey}} {
		if k.value == "" {
			continue
		}
		if err := checkKey(k.name, k.value, 40); err != nil {
			errs = append(errs, fmt.Errorf("authn.django.%w", err))
		}
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
			if err := checkKey(k.name, k.value, 64); err != nil {
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
	engines := []string{EngineDB, EngineCachedDB, EngineCache, EngineFile, EngineSignedCookies}
	if slices.Contains(engines, engine) {
		return nil
	}
	if name := engine[strings.LastIndexByte(engine, '.')+1:]; name != engine && slices.Contains(engines, name) {
		return fmt.Errorf("engine is %q: write its last word, %q", engine, name)
	}
	return fmt.Errorf("engine %q is unknown: %s work", engine, strings.Join(engines, ", "))
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
		if optional && (value == "" || value == NoTable) {
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
	column("session_key_column", o.SessionKeyColumn)
	column("session_data_column", o.SessionDataColumn)
	column("session_expire_column", o.SessionExpireColumn)
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
