package django

import (
	"bytes"
	"compress/zlib"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// vector gives what real Django wrote: testdata/make_vectors.py.
func vector(t testing.TB, file, name string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Vectors []struct{ Name, Value string }
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all.Vectors {
		if v.Name == name {
			raw, err := base64.StdEncoding.DecodeString(v.Value)
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
	}
	t.Fatalf("%s has no vector %q", file, name)
	return nil
}

// keeper is a cache of a site, written to as the site would.
type keeper struct {
	address string
	put     func(key, value string, ttl time.Duration)
	drop    func(key string)
}

// onEveryCache runs a test on a SQLite site with each kind of cache.
func onEveryCache(t *testing.T, test func(t *testing.T, s *site, k keeper)) {
	for name, newKeeper := range map[string]func(t *testing.T, s *site) keeper{"redis": redisKeeper, "memcached": memcachedKeeper, "file": fileKeeper, "table": tableKeeper} {
		t.Run(name, func(t *testing.T) {
			s := newSQLiteSite(t, plainSite, "wal")
			test(t, s, newKeeper(t, s))
		})
	}
	t.Run("table on mariadb", func(t *testing.T) {
		s := newMariaSite(t, servertest.MariaDBShared(t), plainSite)
		test(t, s, tableKeeper(t, s))
	})
}

// tell sends one order to a server and wants an answer that begins so.
func tell(t testing.TB, addr, order, want string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, order)
	answer := make([]byte, len(want))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != want {
		t.Fatalf("%.60q: %q, %v, want %q", order, answer, err, want)
	}
}

func redisOrder(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

func redisKeeper(t *testing.T, _ *site) keeper {
	return redisAt(t, servertest.Redis(t))
}

func redisAt(t *testing.T, addr string) keeper {
	return keeper{"redis://" + addr, func(key, value string, ttl time.Duration) {
		tell(t, addr, redisOrder("SET", key, value, "PX", fmt.Sprint(ttl.Milliseconds())), "+OK")
	}, func(key string) { tell(t, addr, redisOrder("DEL", key), ":") }}
}

func memcachedKeeper(t *testing.T, _ *site) keeper {
	return memcachedAt(t, servertest.Memcached(t))
}

func memcachedAt(t *testing.T, addr string) keeper {
	return keeper{"memcached://" + addr, func(key, value string, ttl time.Duration) {
		tell(t, addr, fmt.Sprintf("set %s 1 %d %d\r\n%s\r\n", key, int(ttl.Seconds()), len(value), value), "STORED")
	}, func(key string) { tell(t, addr, "delete "+key+"\r\n", "DELETED") }}
}

func fileKeeper(t *testing.T, _ *site) keeper {
	dir := t.TempDir()
	path := func(key string) string {
		sum := md5.Sum([]byte(key))
		return filepath.Join(dir, hex.EncodeToString(sum[:])+".djcache")
	}
	return keeper{"file://" + dir, func(key, value string, ttl time.Duration) {
		var b bytes.Buffer
		fmt.Fprintf(&b, "F%d.5\n.", time.Now().Add(ttl).Unix())
		z := zlib.NewWriter(&b)
		io.WriteString(z, value)
		z.Close()
		if err := os.WriteFile(path(key), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}, func(key string) { os.Remove(path(key)) }}
}

func tableKeeper(t *testing.T, s *site) keeper {
	when := "datetime"
	switch {
	case s.maria:
		when = "datetime(6)"
	case s.pg:
		when = "timestamp with time zone"
	}
	s.exec(`CREATE TABLE cache_table ("cache_key" varchar(255) NOT NULL PRIMARY KEY, "value" text NOT NULL, "expires" ` + when + ` NOT NULL)`)
	return keeper{"db://cache_table", func(key, value string, ttl time.Duration) {
		s.exec(s.bind(`INSERT INTO cache_table VALUES ($1, $2, $3)`), key, base64.StdEncoding.EncodeToString([]byte(value)), time.Now().Add(ttl).In(s.zone).Format("2006-01-02 15:04:05"))
	}, func(key string) { s.exec(s.bind(`DELETE FROM cache_table WHERE cache_key = $1`), key) }}
}

// wantRefused wants a refusal for a reason.
func wantRefused(t *testing.T, what string, err error, reason string) {
	t.Helper()
	var refused *authn.Refused
	if !errors.As(err, &refused) || refused.Reason != reason {
		t.Errorf("%s = %v, want it refused as %s", what, err, reason)
	}
}

func TestEngineCache(t *testing.T) {
	login := string(vector(t, "vectors.json", "Django's RedisCache, large"))
	onEveryCache(t, func(t *testing.T, s *site, k keeper) {
		s.addUser(account{id: "42", groups: []int{1}})
		full := "shop:3:django.contrib.sessions.cache"
		v := s.open(func(o *Options) {
			o.Engine, o.Cache, o.CacheKeyPrefix, o.CacheVersion, o.SessionKey = EngineCache, k.address, "shop", 3, ""
		})
		if err := v.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := v.Verify(t.Context(), cookie(aliceKey))
		wantRefused(t, "Verify of an absent session", err, "unknown_session")

		k.put(full+aliceKey, login, time.Hour)
		k.put(full+bobKey, s.payload("42"), time.Hour) // JSON
		k.put(full+"nobody00", "\x80\x05}\x94.", time.Hour)
		k.put(full+"broken00", "\x80\x05", time.Hour)
		var ids []*authn.Identity
		for _, key := range []string{aliceKey, bobKey} {
			id := mustVerify(t, v, key)
			if left := time.Until(id.Expires); id.ID != "42" || len(id.Groups) != 1 || left < 59*time.Minute || left > 61*time.Minute {
				t.Errorf("Verify = %#v, which ends in %s", id, left)
			}
			ids = append(ids, id)
		}
		if _, err := v.Verify(t.Context(), cookie("nobody00")); !errors.Is(err, authn.ErrNoLogin) {
			t.Errorf("Verify of an empty session = %v", err)
		}
		_, err = v.Verify(t.Context(), cookie("broken00"))
		wantRefused(t, "Verify of half a pickle", err, "malformed")

		for i, r := range v.Revalidate(t.Context(), ids) {
			if r != (authn.Recheck{}) {
				t.Errorf("Revalidate[%d] = %+v, want still good", i, r)
			}
		}
		k.drop(full + aliceKey)
		answers := v.Revalidate(t.Context(), ids)
		wantRefused(t, "Revalidate after logout", answers[0].Err, "unknown_session")
		if answers[1] != (authn.Recheck{}) {
			t.Errorf("the login beside it = %+v", answers[1])
		}
		_, err = v.Verify(t.Context(), cookie(aliceKey))
		wantRefused(t, "Verify after logout", err, "unknown_session")
		s.exec(`UPDATE auth_user SET password = 'x'`)
		_, err = v.Verify(t.Context(), cookie(bobKey))
		wantRefused(t, "Verify after a change of password", err, "hash_mismatch")
	})
}

func TestEngineCachedDB(t *testing.T) {
	login := string(vector(t, "vectors.json", "django-redis, large"))
	onEveryCache(t, func(t *testing.T, s *site, k keeper) {
		s.addUser(account{id: "42"})
		full := ":1:django.contrib.sessions.cached_db"
		v := s.open(func(o *Options) { o.Engine, o.Cache = EngineCachedDB, k.address })
		s.login(bobKey, "42") // in the database alone
		k.put(full+aliceKey, login, time.Hour)
		ids := []*authn.Identity{mustVerify(t, v, aliceKey), mustVerify(t, v, bobKey)}
		const broken = "broken0broken0broken0broken0brok"
		s.login(broken, "42")
		for i, r := range v.Revalidate(t.Context(), ids) {
			if r != (authn.Recheck{}) {
				t.Errorf("Revalidate[%d] = %+v, want still good", i, r)
			}
		}
		mustVerify(t, v, broken)
		k.drop(full + aliceKey)
		s.exec(`DELETE FROM django_session`)
		for i, r := range v.Revalidate(t.Context(), ids) {
			wantRefused(t, fmt.Sprintf("Revalidate[%d] after logout", i), r.Err, "unknown_session")
		}
		for _, key := range []string{aliceKey, bobKey} {
			_, err := v.Verify(t.Context(), cookie(key))
			wantRefused(t, "Verify after logout", err, "unknown_session")
		}
	})
}

// A cache that is down is what the database is for; engine cache has nothing else and cannot tell.
func TestCacheDown(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "wal")
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42")
	s.login(bobKey, "42")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := "redis://:hunter2@" + l.Addr().String()
	l.Close()
	var log bytes.Buffer
	o := s.options()
	o.Engine, o.Cache = EngineCachedDB, down
	v, err := Open(t.Context(), o, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ids := []*authn.Identity{mustVerify(t, v, aliceKey), mustVerify(t, v, bobKey)}
	for i, r := range v.Revalidate(t.Context(), ids) {
		if r != (authn.Recheck{}) {
			t.Errorf("Revalidate[%d] = %+v, want still good", i, r)
		}
	}
	if err := v.Ping(t.Context()); err != nil {
		t.Errorf("Ping of cached_db = %v", err)
	}
	if n := strings.Count(log.String(), "cache does not answer"); n != 1 || strings.Contains(log.String(), "hunter2") {
		t.Errorf("it was told %d times, want once and no password:\n%s", n, &log)
	}
	v2 := s.open(func(o *Options) { o.Engine, o.Cache = EngineCache, down })
	var refused *authn.Refused
	if _, err := v2.Verify(t.Context(), cookie(aliceKey)); err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Verify = %v, want an error that is no refusal", err)
	}
	if r := v2.Revalidate(t.Context(), ids); r[0].Err == nil || errors.As(r[0].Err, &refused) {
		t.Errorf("Revalidate = %v, want errors that are no refusals", r)
	}
	if err := v2.Ping(t.Context()); err == nil {
		t.Error("Ping of engine cache says that all is well")
	}
}

func TestOpenSaysWhatToDoAboutACacheTable(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "wal")
	for table, want := range map[string]string{"nope": "createcachetable", "auth_group": "has no column cache_key"} {
		o := s.options()
		o.Engine, o.Cache = EngineCache, "db://"+table
		if v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			if err == nil {
				v.Close()
			}
			t.Errorf("Open = %v, want %q", err, want)
		}
	}
}

func TestEngineFile(t *testing.T) {
	dir := t.TempDir()
	s := newSQLiteSite(t, plainSite, "wal")
	s.addUser(account{id: "42"})
	v := s.open(func(o *Options) { o.Engine, o.SessionFilePath = EngineFile, dir })
	path := filepath.Join(dir, "sessionid"+aliceKey)
	for _, test := range []struct {
		name   string // of the vector
		age    time.Duration
		reason string // "" = accepted
		end    time.Duration
	}{
		{"a file", time.Hour, "", 335 * time.Hour},
		{"a file", 336*time.Hour + time.Minute, "expired", 0},
		{"a file to the browser's end", time.Hour, "", 335 * time.Hour},
		{"a file with an end in seconds", 50 * time.Minute, "", 10 * time.Minute},
		{"a file with an end in seconds", 61 * time.Minute, "expired", 0},
		{"a file with an end", 10000 * time.Hour, "", 24 * 365 * time.Hour},
	} {
		if err := os.WriteFile(path, vector(t, "vectors.json", test.name), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-test.age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		id, err := v.Verify(t.Context(), cookie(aliceKey))
		if test.reason != "" {
			wantRefused(t, test.name, err, test.reason)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if left := time.Until(id.Expires); left < test.end-time.Minute || test.end < 1000*time.Hour && left > test.end+time.Minute {
			t.Errorf("%s, %s old, ends in %s, want %s", test.name, test.age, left, test.end)
		}
		if r := v.Revalidate(t.Context(), []*authn.Identity{id}); r[0] != (authn.Recheck{}) {
			t.Errorf("Revalidate of %s = %+v", test.name, r[0])
		}
	}
	for content, reason := range map[string]string{"": "unknown_session", "tampered": "bad_signature"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := v.Verify(t.Context(), cookie(aliceKey))
		wantRefused(t, fmt.Sprintf("%q", content), err, reason)
	}
	os.Remove(path)
	_, err := v.Verify(t.Context(), cookie(aliceKey))
	wantRefused(t, "after logout", err, "unknown_session")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	var refused *authn.Refused
	if _, err = v.Verify(t.Context(), cookie(aliceKey)); err == nil || errors.As(err, &refused) || strings.Contains(err.Error(), aliceKey) {
		t.Errorf("a folder in its place: %v, want an error that is no refusal and has no key in it", err)
	}
	if err := v.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	os.RemoveAll(dir)
	if err := v.Ping(t.Context()); err == nil {
		t.Error("Ping without the folder says that all is well")
	}
}

func TestFileExpiry(t *testing.T) {
	written := time.Unix(1700000000, 0)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		noted any
		want  time.Time // zero = an error
	}{
		{nil, written.Add(time.Hour)}, {int64(0), written.Add(time.Hour)}, {"", written.Add(time.Hour)},
		{int64(60), written.Add(time.Minute)}, {-1.5, written.Add(-1500 * time.Millisecond)},
		{"2030-01-02T03:04:05+00:00", time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)},
		{"2030-01-02T03:04:05.000006", time.Date(2030, 1, 2, 3, 4, 5, 6000, berlin)},
		{"soon", time.Time{}}, {[]any{1}, time.Time{}}, {1e300, time.Time{}},
	} {
		got, err := fileExpiry(test.noted, written, time.Hour, berlin)
		if (err == nil) == test.want.IsZero() || !got.Equal(test.want) {
			t.Errorf("fileExpiry(%v) = %v, %v, want %v", test.noted, got, err, test.want)
		}
	}
}

// vectorLegacy are the SHA-1 keys of the vectors' SECRET_KEY.
func vectorLegacy(o *Options) {
	derive := func(salt string) string {
		sum := sha1.Sum([]byte(salt + vectorSecret))
		return hex.EncodeToString(sum[:])
	}
	o.LegacySessionKey, o.LegacyCookieKey, o.LegacyHashKey = derive("django.contrib.sessions"+"SessionStore"), derive(cookieSalt), derive(hashSalt)
}

func TestOldSessions(t *testing.T) {
	const file = "vectors-3.2.json"
	s := newSQLiteSite(t, plainSite, "wal")
	s.addUser(account{id: "42"})
	for _, test := range []struct {
		name           string
		cookie         bool
		pickle, legacy bool // what it needs
		reason         string
	}{
		{"a pickled session", false, true, false, "malformed"},
		{"a pickled signed cookie", true, true, false, "malformed"},
		{"a session of before 3.1", false, false, true, "bad_signature"},
		{"a signed cookie of before 3.1", true, false, true, "bad_signature"},
		{"a pickled session of before 3.1", false, true, true, "bad_signature"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := string(vector(t, file, test.name))
			s.exec(`DELETE FROM django_session`)
			s.addSession(aliceKey, data, time.Now().Add(time.Hour))
			engine, value := EngineDB, aliceKey
			if test.cookie {
				engine, value = EngineSignedCookies, data
			}
			set := func(o *Options) {
				o.Engine, o.CookieAge = engine, 100*365*24*time.Hour // the vectors are of 2023
				if test.pickle {
					o.Serializer = SerializerPickle
				}
				if test.legacy {
					vectorLegacy(o)
				}
			}
			v := s.openFor(t, set)
			if id, err := v.Verify(t.Context(), cookie(value)); err != nil || id.ID != "42" {
				t.Errorf("Verify = %v, %v", id, err)
			}
			if test.cookie {
				if id, err := v.Verify(t.Context(), bearer(value)); err != nil || id.ID != "42" {
					t.Errorf("Verify of it as a token = %v, %v", id, err)
				}
			}
			i := len(value) - 10
			if test.cookie {
				_, err := v.Verify(t.Context(), cookie(value[:i]+"AAAA"+value[i+4:]))
				wantRefused(t, "a tampered cookie", err, "bad_signature")
			}
			_, err := s.openFor(t, func(o *Options) { o.Engine, o.CookieAge = engine, 100*365*24*time.Hour }).Verify(t.Context(), cookie(value))
			wantRefused(t, "without being asked for", err, test.reason)
		})
	}
}

func TestGates(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "wal")
	s.addUser(account{id: "42"})
	mfa := `,"account_authentication_methods":[{"method":"password","at":1.5},{"method":"mfa","at":NaN}]`
	otp := func(o *Options) { o.RequireSessionKeys = []string{"otp_device_id"} }
	method := func(o *Options) { o.RequireAuthMethods = []string{"mfa", "password"} }
	for _, test := range []struct {
		name, more string
		change     func(*Options)
		good       bool
	}{
		{"nothing asked", "", func(*Options) {}, true},
		{"no device", "", otp, false},
		{"a device", `,"otp_device_id":"otp_totp.totpdevice/1"`, otp, true},
		{"a device that is null", `,"otp_device_id":null`, otp, false},
		{"an empty device", `,"otp_device_id":""`, otp, false},
		{"a device within something else", `,"cart":{"otp_device_id":"x"}`, otp, false},
		{"a device taken away again", `,"otp_device_id":"x","otp_device_id":null`, otp, false},
		{"no methods", "", method, false},
		{"one of two methods", `,"account_authentication_methods":[{"method":"password"}]`, method, false},
		{"both methods", strings.Replace(mfa, "NaN", "2", 1), method, true},
		{"methods that are no list", `,"account_authentication_methods":{"method":"mfa"}`, method, false},
	} {
		payload := strings.TrimSuffix(s.payload("42"), "}") + test.more + "}"
		s.exec(`DELETE FROM django_session`)
		s.addSession(aliceKey, sign(rawKey(s.keys.SessionKey), payload, time.Now()), time.Now().Add(time.Hour))
		v := s.open(test.change)
		_, err := v.Verify(t.Context(), cookie(aliceKey))
		if test.good && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if !test.good {
			wantRefused(t, test.name, err, "second_step_missing")
		}
	}
	// The same of a pickle: {…, "account_authentication_methods": [{"method": "mfa"}], "otp_device_id": "x"}
	pickled := "}(X\x0d\x00\x00\x00_auth_user_idX\x02\x00\x00\x0042X\x12\x00\x00\x00_auth_user_backend" + fmt.Sprintf("U%c%s", len(modelBackend), modelBackend) +
		"X\x1e\x00\x00\x00account_authentication_methods](}U\x06methodU\x03mfase" + "U\x0dotp_device_idU\x01xu."
	l, more, err := unpickleLogin([]byte(pickled), "otp_device_id", authMethods, "absent")
	if err != nil || l.user != "42" || l.backend != modelBackend || len(more) != 2 {
		t.Fatalf("unpickleLogin = %+v, %v, %v", l, more, err)
	}
	o := Options{RequireSessionKeys: []string{"otp_device_id"}, RequireAuthMethods: []string{"mfa"}}
	if err := o.gate(more); err != nil {
		t.Error(err)
	}
	o.RequireAuthMethods = []string{"password"}
	if err := o.gate(more); err == nil {
		t.Error("a method that was not used passed")
	}
}

// django-user-sessions and django-qsessions keep sessions in tables of their own; so may a project, under any names.
func TestSessionsInAnotherTable(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.addUser(account{id: "42"})
		s.login(aliceKey, "42")
		s.exec(`CREATE TABLE shop_logins AS SELECT session_key AS "the key", session_data AS "data", expire_date AS "until" FROM django_session`)
		s.exec(`ALTER TABLE shop_logins RENAME COLUMN "the key" TO "logkey"`)
		s.exec(`DROP TABLE django_session`)
		v := s.open(func(o *Options) {
			o.SessionTable, o.SessionKeyColumn, o.SessionDataColumn, o.SessionExpireColumn = "shop_logins", "logkey", "data", "until"
		})
		id := mustVerify(t, v, aliceKey)
		if r := v.Revalidate(t.Context(), []*authn.Identity{id}); r[0] != (authn.Recheck{}) {
			t.Errorf("Revalidate = %+v", r[0])
		}
	})
}

func TestCacheKeys(t *testing.T) {
	for _, test := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Engine = EngineCache }, ":1:django.contrib.sessions.cacheKEY"},
		{func(o *Options) { o.Engine = EngineCachedDB }, ":1:django.contrib.sessions.cached_dbKEY"},
		{func(o *Options) { o.Engine, o.CacheKeyPrefix, o.CacheVersion = EngineCache, "shop", 7 }, "shop:7:django.contrib.sessions.cacheKEY"},
		{func(o *Options) { o.CacheSessionPrefix, o.CacheKeyFormat = "mine.", "{key}/{prefix}" }, "mine.KEY/"},
	} {
		o := DefaultOptions()
		test.change(&o)
		if got := (&cached{format: o.cacheKey()}).key("KEY"); got != test.want {
			t.Errorf("the cache's key is %q, want %q", got, test.want)
		}
	}
}

// A user who may read only what it needs, column by column. What it may not see must not pass for what is not there.
func TestMariaDBLeastPrivilege(t *testing.T) {
	server := servertest.MariaDB(t) // a user belongs to the server
	s := newMariaSite(t, server, plainSite)
	s.addUser(account{id: "42", groups: []int{1}, inactive: true})
	s.login(aliceKey, "42")
	s.exec(`CREATE USER reader IDENTIFIED BY 'hunter2'`)
	o := s.options()
	o.Database = strings.Replace(o.Database, "root@", "reader:hunter2@", 1)
	wants := func(what, want string) {
		t.Helper()
		v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
		if err == nil {
			v.Close()
		}
		if err == nil || strings.Count(err.Error(), want) != 1 || strings.Contains(err.Error(), "hunter2") {
			t.Fatalf("Open with %s = %v, want %q once", what, err, want)
		}
	}
	wants("no right at all", "has the user a right there")
	s.exec(`GRANT SELECT (session_key, session_data, expire_date) ON django_session TO reader`)
	wants("no right to the users", "GRANT SELECT ON")
	s.exec(`GRANT SELECT (id, password, is_staff, is_superuser) ON auth_user TO reader`)
	wants("no right to is_active", "is_active")
	s.exec(`GRANT SELECT (is_active) ON auth_user TO reader`)
	wants("no right to the groups", `user_groups_table = "none"`)
	s.exec(`REVOKE ALL PRIVILEGES, GRANT OPTION FROM reader`)
	for _, grant := range documentedGrants(t, 1) {
		s.exec(grant)
	}
	v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	_, err = v.Verify(t.Context(), cookie(aliceKey))
	wantRefused(t, "an inactive user", err, "inactive")
	s.exec(`UPDATE auth_user SET is_active = true`)
	if id := mustVerify(t, v, aliceKey); len(id.Groups) != 1 || len(id.Perms) != 1 {
		t.Errorf("Verify = %#v", id)
	}
	o.Database = strings.Replace(o.Database, "hunter2", "hunter3", 1)
	wants("a wrong password", "check user and password")
	o.Database = strings.Replace(s.options().Database, "/test_", "/nope_", 1)
	wants("another database", "name at the end of the address")
}

// Django 5 uses MariaDB's own UUIDs.
func TestMariaDBUUID(t *testing.T) {
	const id = "53b6eb2b-4fbd-4a4d-9d4c-0b5f0a1f7c11"
	s := newMariaSite(t, servertest.MariaDBShared(t), siteKind{"uuid", "accounts_member", "member", "uuid", ""})
	s.addUser(account{id: id, groups: []int{1}})
	s.login(aliceKey, id)
	v := s.open()
	got := mustVerify(t, v, aliceKey)
	if got.ID != id || len(got.Groups) != 1 {
		t.Errorf("Verify = %#v", got)
	}
	if r := v.Revalidate(t.Context(), []*authn.Identity{got}); r[0] != (authn.Recheck{}) {
		t.Errorf("Revalidate = %+v", r[0])
	}
}

// Times without a zone are those of TIME_ZONE where USE_TZ is off.
func TestMariaDBWithoutUseTZ(t *testing.T) {
	s := newMariaSite(t, servertest.MariaDBShared(t), plainSite)
	var err error
	if s.zone, err = time.LoadLocation("Asia/Tokyo"); err != nil {
		t.Fatal(err)
	}
	s.addUser(account{id: "42"})
	s.login(aliceKey, "42") // for an hour
	tokyo := s.open(func(o *Options) { o.UseTZ, o.TimeZone = false, "Asia/Tokyo" })
	if left := time.Until(mustVerify(t, tokyo, aliceKey).Expires); left < 59*time.Minute || left > 61*time.Minute {
		t.Errorf("ends in %s, want an hour", left)
	}
	s.exec(`UPDATE django_session SET expire_date = expire_date - INTERVAL 2 HOUR`)
	_, err = tokyo.Verify(t.Context(), cookie(aliceKey))
	wantRefused(t, "an hour later", err, "expired")
}

func TestConformanceOfOtherEngines(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "wal")
	s.addUser(account{id: "42"})
	s.addUser(account{id: "7", inactive: true})
	dir := t.TempDir()
	files := fileKeeper(t, s)
	for key, user := range map[string]string{aliceKey: "42", bobKey: "7"} {
		files.put(":1:django.contrib.sessions.cache"+key, s.payload(user), time.Hour)
		if err := os.WriteFile(filepath.Join(dir, "sessionid"+key), []byte(sign(rawKey(s.keys.SessionKey), s.payload(user), time.Now())), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for engine, set := range map[string]func(*Options){
		EngineCache: func(o *Options) { o.Engine, o.Cache = EngineCache, files.address },
		EngineFile:  func(o *Options) { o.Engine, o.SessionFilePath = EngineFile, dir },
	} {
		t.Run(engine, func(t *testing.T) {
			authntest.Run(t, func(t *testing.T) authntest.Harness {
				return authntest.Harness{
					Verifier: s.openFor(t, set),
					Good: []authntest.Good{
						{Credential: authntest.WithCookie("sessionid", aliceKey), ID: "42"},
						{Credential: authntest.WithBearer(aliceKey), ID: "42"},
					},
					Bad: map[string]authn.Credential{
						"unknown": authntest.WithBearer("unknown0unknown0unknown0unknown0"), "inactive": authntest.WithCookie("sessionid", bobKey),
						"a path": authntest.WithCookie("sessionid", "../../../../etc/passwd"), "an injection": authntest.WithCookie("sessionid", "a\r\nflush_all"),
					},
					Secrets: []string{s.keys.SessionKey, s.keys.HashKey, vectorPassword},
					Blocks:  true,
					Takes: func(c authn.Credential) bool {
						return c.Carrier == authn.CarrierCookie && c.Cookies != nil || looksLikeKey(c.Value, 32, 32)
					},
				}
			})
		})
	}
}
