package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/authn/django/servertest"
)

// TestDjangoEngines: where else than in rows and cookies real Django keeps sessions. Every engine, cache and database that has no other test is in one of the
// sites; the settings of the nodes are what gatecast_keys prints.
func TestDjangoEngines(t *testing.T) {
	heavy(t)
	t.Parallel()
	maria := servertest.MariaDB(t)
	redis, memcached := servertest.Redis(t), servertest.Memcached(t)
	entry := func(backend, location, options string) string {
		return fmt.Sprintf(`{"BACKEND": %q, "LOCATION": %q, "KEY_PREFIX": "shop", "OPTIONS": {%s}}`, backend, location, options)
	}
	const core = "django.core.cache.backends."
	for _, test := range []struct {
		name string
		o    siteOptions
	}{
		{"cache in Redis", siteOptions{release: releases[1], engine: "cache", cache: entry(core+"redis.RedisCache", "redis://"+redis+"/1", "")}},
		{"cached_db in django-redis with JSON and zlib", siteOptions{release: releases[2], engine: "cached_db", cache: entry("django_redis.cache.RedisCache", "redis://"+redis+"/2",
			`"SERIALIZER": "django_redis.serializers.json.JSONSerializer", "COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"`)}},
		{"cache in memcached, users in MariaDB", siteOptions{release: releases[0], mariadb: maria, engine: "cache", cache: entry(core+"memcached.PyMemcacheCache", memcached, "")}},
		{"cache in a table of MariaDB", siteOptions{release: releases[2], mariadb: maria, engine: "cache", cache: entry(core+"db.DatabaseCache", "cache_table", "")}},
		{"cached_db in files", siteOptions{release: releases[0], engine: "cached_db", cache: entry(core+"filebased.FileBasedCache", scratch(t), "")}},
		{"file", siteOptions{release: releases[1], mariadb: maria, customUser: true, engine: "file"}},
		{"db with pickles in MariaDB", siteOptions{release: releases[0], mariadb: maria, serializer: "PickleSerializer"}},
	} {
		t.Run(test.name, func(t *testing.T) { testEngine(t, newPair(t, test.o, nil)) })
	}
}

func testEngine(t *testing.T, p *pair) {
	ada := p.create("ada", password, map[string]any{"groups": []string{"Editors"}})
	b, session := p.login("ada")
	onA := dialRaw(t, p.a, "/ws", cookieHeader(p.a, session))
	if w := onA.must("welcome"); w.str("user") != ada || fmt.Sprint(w["groups"]) != "[user."+ada+" desk]" || w["expires"] == nil {
		t.Errorf("welcome is %v, want user %s in the group desk, and when it ends", w, ada)
	}
	onB := dialSession(t, p.b, session)
	onB.add("chat.1")
	b.say("chat.1", "hi")
	onB.wantData("chat.1", map[string]any{"text": "hi", "by": "ada"})

	check := func(session string, want int, words ...string) {
		t.Helper()
		code, out := cli(t, p.a.dir, "session", "check", session, "-config", "config.toml")
		if code != want {
			t.Errorf("session check: exit %d, want %d\n%s", code, want, out)
		}
		for _, w := range words {
			if !strings.Contains(out, w) {
				t.Errorf("session check does not say %q:\n%s", w, out)
			}
		}
	}
	check(session, 0, "accepted", ada, "Editors")
	check(strings.Repeat("a", 32), 1, "unknown_session", "cache_key_prefix")
	p.refusedEverywhere(t, withCookie(strings.Repeat("a", 32)), "unknown_session")

	_, other := p.login("ada")
	p.people.do(map[string]any{"do": "rewrite", "session": other, "_auth_user_hash": strings.Repeat("0", 64)})
	p.refusedEverywhere(t, withCookie(other), "hash_mismatch")
	check(other, 1, "hash_mismatch", "password or SECRET_KEY changed")

	b.logout()
	onA.wantClosed(4401)
	onB.wantClosed(4401)
	p.refusedAs(t, session, "revoked", "unknown_session")

	_, session = p.login("ada")
	s := dialSession(t, p.a, session)
	p.people.do(map[string]any{"do": "set", "username": "ada", "is_active": false})
	p.revalidate(t, ada)
	s.wantClosed(4401)
	p.refusedEverywhere(t, withCookie(session), "inactive")
	check(session, 1, "inactive", "is_active is off")
}
