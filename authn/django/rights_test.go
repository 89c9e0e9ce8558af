package django

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// The other engines with a user who has the rights that the documentation names for them, and no more.
func TestDocumentedRightsOfEveryEngine(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		rightsOfEngines(t, newPostgresSite(t, pgtest.Shared(t), plainSite), 0, "LOGIN")
	})
	t.Run("mariadb", func(t *testing.T) {
		rightsOfEngines(t, newMariaSite(t, servertest.MariaDBShared(t), plainSite), 1, "IDENTIFIED BY 'hunter2'")
	})
}

// rightsOfEngines takes the documented statements of block n, and how a user is made.
func rightsOfEngines(t *testing.T, s *site, n int, made string) {
	s.addUser(account{id: "42", groups: []int{1}, permissions: []int{2}})
	s.exec(`UPDATE auth_user SET email = 'alice@example.com'`)
	s.login(aliceKey, "42")
	table := tableKeeper(t, s)
	users, sessions := []string{}, []string{}
	for _, grant := range documentedGrants(t, n) {
		if strings.Contains(grant, "django_session") {
			sessions = append(sessions, grant)
		} else {
			users = append(users, grant)
		}
	}
	cacheTable := documentedGrants(t, 2)
	for _, test := range []struct {
		name   string
		grants [][]string
		change func(*Options)
		value  string // of the cookie
		key    string // of the cache
	}{
		{"engine_db", [][]string{users, sessions}, func(*Options) {}, aliceKey, ""},
		{"engine_cache", [][]string{users, cacheTable}, func(o *Options) { o.Engine, o.Cache = EngineCache, table.address }, aliceKey, "django.contrib.sessions.cache"},
		{"engine_cached_db", [][]string{users, sessions, cacheTable}, func(o *Options) { o.Engine, o.Cache = EngineCachedDB, table.address }, aliceKey, "django.contrib.sessions.cached_db"},
		{"engine_signed_cookies", [][]string{users}, func(o *Options) { o.Engine = EngineSignedCookies }, sign(rawKey(s.keys.CookieKey), s.payload("42"), time.Now()), ""},
		{"with_attributes", [][]string{users, sessions, {"GRANT SELECT (email) ON auth_user TO reader"}}, func(o *Options) { o.Attributes = []string{"email"} }, aliceKey, ""},
	} {
		s.exec(`CREATE USER ` + test.name + ` ` + made)
		for _, grants := range test.grants {
			for _, grant := range grants {
				s.exec(strings.Replace(grant, " TO reader", " TO "+test.name, 1))
			}
		}
		if test.key != "" {
			table.put(":1:"+test.key+aliceKey, s.payload("42"), time.Hour)
		}
		o := s.options()
		u, err := url.Parse(o.Database)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(test.name, "hunter2")
		o.Database = u.String()
		test.change(&o)
		v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		id := mustVerify(t, v, test.value)
		if id.ID != "42" || len(id.Groups) != 1 || len(id.Perms) == 0 || o.Attributes != nil && len(id.Attrs["email"]) != 1 {
			t.Errorf("%s: Verify = %#v", test.name, id)
		}
		if r := v.Revalidate(t.Context(), []*authn.Identity{id}); r[0].Err != nil {
			t.Errorf("%s: Revalidate = %v", test.name, r[0].Err)
		}
		if err := v.Ping(t.Context()); err != nil {
			t.Errorf("%s: Ping = %v", test.name, err)
		}
		v.Close()
	}
}
