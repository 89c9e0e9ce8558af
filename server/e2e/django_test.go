package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// pair is a site and two nodes of a cluster that trust it: a says why over the socket (reject = "close"), b
// answers with HTTP (reject = "http"); the site's views publish through b. No sweep comes while a test lasts, unless it asks for
// one: what changes at the site is known by push alone.
type pair struct {
	*site
	a, b    *node
	secrets []string // credentials that no log may show
}

var siteGrants = []conf{
	{"to": "authenticated", "subscribe": []string{"chat.>"}, "publish": []string{"chat.>"}, "deny": []string{"chat.private.>"}},
	{"to": "group:Editors", "join": []string{"desk"}, "subscribe": []string{"drafts.>"}},
	{"to": "staff", "subscribe": []string{"staff"}},
	{"to": "perm:auth.add_user", "publish": []string{"staff"}},
}

// moreGrants are of a site with Django's own user model: the rows of a table of its own say who is in which department.
var moreGrants = append(siteGrants[:len(siteGrants):len(siteGrants)],
	conf{"to": "superuser", "join": []string{"roots"}},
	conf{"to": "authenticated", "sql": "SELECT g.name AS dept FROM auth_group g JOIN auth_user_groups m ON m.group_id = g.id WHERE m.user_id = {id}", "subscribe": []string{"dept.{row.dept}"}},
)

func newPair(t *testing.T, o siteOptions, extra conf) *pair {
	t.Helper()
	natsB := freeAddr(t)
	o.nats = "nats://" + natsB
	s := newSite(t, o)
	s.serve()
	printed := s.gatecastConf()
	base := conf{
		"authn.chain":      []string{"django"},
		"authn.carriers":   []string{"cookie", "header"},
		"authn.jwt.secret": nil,
		"authn.revalidate": "1h",
		"grants":           siteGrants,
	}
	routes := []string{"nats://" + freeAddr(t), "nats://" + freeAddr(t)}
	p := &pair{site: s}
	for i, name := range []string{"a", "b"} {
		c := extra.over(base.over(printed.over(clusterConf(routes, i))))
		if name == "b" {
			c["authn.reject"] = "http"
			c["broker.listen"] = natsB
		}
		n := launchNode(t, name, c)
		if name == "a" {
			p.a = n
		} else {
			p.b = n
		}
	}
	for _, n := range []*node{p.a, p.b} {
		n.waitReady()
		n.waitPeers(2)
	}
	t.Cleanup(p.noSecretsInLogs)
	return p
}

func (p *pair) noSecretsInLogs() {
	secrets := p.secrets
	for _, key := range derived(p.opts.secret) {
		secrets = append(secrets, key)
	}
	for _, n := range []*node{p.a, p.b} {
		log := n.logs.String()
		for _, secret := range append(secrets, p.opts.secret, serviceToken, adminKey, clusterToken) {
			if i := strings.Index(log, secret); i >= 0 {
				p.t.Errorf("the log of node %s shows a credential: %.300s", n.name, log[max(0, i-200):])
			}
		}
	}
}

// login logs somebody in and remembers the cookie as a secret.
func (p *pair) login(username string) (*browser, string) {
	p.t.Helper()
	b := p.browser()
	session := b.login(username, password)
	p.secrets = append(p.secrets, session)
	return b, session
}

const password = "correct-horse-battery-staple"

// dialSession opens a socket with a session cookie, as a page of that host would.
func dialSession(t testing.TB, n *node, session string) *socket {
	t.Helper()
	return dial(t, n, cookieHeader(n, session))
}

// refusedEverywhere dials both nodes and wants the refusal as each is set to give it: 4401 and 401, or the like.
func (p *pair) refusedEverywhere(t *testing.T, h func(n *node) header, reason string) {
	t.Helper()
	code, status, word := 4401, http.StatusUnauthorized, "unauthorized"
	before, line := p.a.metrics(), p.a.logs.len()
	refusedClose(t, p.a, "/ws", h(p.a), code, word)
	p.a.waitGrew(t, before, mHandshakes, "result=refused", "reason="+reason)
	p.a.logs.waitLine(t, line, "handshake refused", `"reason":"`+reason+`"`)
	before, line = p.b.metrics(), p.b.logs.len()
	refusedHTTP(t, p.b, "/ws", h(p.b), status)
	p.b.waitGrew(t, before, mHandshakes, "result=refused", "reason="+reason)
	p.b.logs.waitLine(t, line, "handshake refused", `"reason":"`+reason+`"`)
}

func withCookie(session string) func(*node) header {
	return func(n *node) header { return cookieHeader(n, session) }
}

// TestDjango: the whole way through a cluster. Every other release, database and engine is TestMatrix's.
func TestDjango(t *testing.T) {
	heavy(t)
	t.Parallel()
	for _, o := range []siteOptions{
		{release: releases[0]}, {release: releases[1], mariadb: servertest.MariaDB(t)}, {release: releases[2], postgres: pgtest.Start(t)},
	} {
		t.Run(o.release.name, func(t *testing.T) { testDjango(t, newPair(t, o, conf{"authn.cache_ttl": "30s", "grants": moreGrants})) })
	}
}

func testDjango(t *testing.T, p *pair) {
	ada := p.create("ada", password, nil)
	eve := p.create("eve", password, nil)
	ed := p.create("ed", password, map[string]any{"groups": []string{"Editors", "Ünï cödé"}, "is_staff": true, "perms": []string{"auth.add_user"}})

	t.Run("login and message", func(t *testing.T) {
		b, session := p.login("ada")
		for _, n := range []*node{p.a, p.b} {
			s := dialSession(t, n, session)
			if s.user != ada {
				t.Fatalf("welcome says user %q, want %q", s.user, ada)
			}
			// The personal group, without a rule and from the moment of the welcome.
			status, answer := p.b.call(publishKey, "POST", "/api/v1/group_send", map[string]any{"group": "user." + ada, "data": "hello"})
			if status != http.StatusOK {
				t.Fatalf("group_send: %d %v", status, answer)
			}
			s.wantData("user."+ada, "hello")
			s.add("chat.7")
			b.say("chat.7", "from the view, "+n.name)
			s.wantData("chat.7", map[string]any{"text": "from the view, " + n.name, "by": "ada"})
			s.leave()
		}
	})

	t.Run("grants of groups, staff and permissions", func(t *testing.T) {
		_, session := p.login("ed")
		s := dialRaw(t, p.a, "/ws", cookieHeader(p.a, session))
		w := s.must("welcome")
		if got := fmt.Sprint(w["groups"]); got != "[user."+ed+" desk]" || w.str("user") != ed {
			t.Errorf("welcome is %v, want the groups user.%s and desk", w, ed)
		}
		s.add("drafts.1")
		s.add("staff")
		s.groupSend("staff", "x")
		s.wantData("staff", "x")
		s.add("dept.%C3%9Cn%C3%AF%20c%C3%B6d%C3%A9")
		s.refused("forbidden", msg{"op": "group_add", "group": "roots"})
		code, out := cli(t, p.a.dir, "session", "check", "-explain", "dept.Sales", session)
		if code != 3 || !strings.Contains(out, `[[grants]] 6, to "authenticated": subscribe "dept.{row.dept}" would cover it, but none of the rows of its sql (2) has dept = "Sales"`) {
			t.Errorf("session check -explain = %d\n%s", code, out)
		}
		p.create("root", password, map[string]any{"is_superuser": true}) // who has all permissions, and is staff to a rule
		_, session = p.login("root")
		root := dialRaw(t, p.b, "/ws", cookieHeader(p.b, session))
		if got := fmt.Sprint(root.must("welcome")["groups"]); !strings.Contains(got, "roots") {
			t.Errorf("a superuser is welcomed to %s, want roots in it", got)
		}
		root.add("staff")
		root.groupSend("staff", "y")
		root.wantData("staff", "y")
		_, session = p.login("ada")
		s = dialSession(t, p.a, session)
		for _, group := range []string{"drafts.1", "staff", "desk", "chat.private.1", "roots", "dept.Editors", "user." + ed} {
			s.refused("forbidden", msg{"op": "group_add", "group": group})
			s.refused("forbidden", msg{"op": "group_send", "group": group, "data": 1})
		}
	})

	t.Run("logout", func(t *testing.T) {
		b, session := p.login("ada")
		onA, onB := dialSession(t, p.a, session), dialSession(t, p.b, session)
		other, otherSession := p.login("ada")
		stays := dialSession(t, p.a, otherSession)
		b.logout()
		began := time.Now()
		for _, s := range []*socket{onA, onB} {
			s.wantClosed(4401)
		}
		t.Logf("the sockets closed %v after the logout", time.Since(began))
		p.refusedAs(t, session, "revoked", "unknown_session")
		stays.quiet() // the same user's other login goes on
		other.logout()
		stays.wantClosed(4401)
	})

	t.Run("bad logins", func(t *testing.T) {
		_, session := p.login("ada")
		rewritten := func(changes map[string]any) string {
			order := map[string]any{"do": "rewrite", "session": ""}
			for k, v := range changes {
				order[k] = v
			}
			s, _ := p.people.do(order)["session"].(string)
			p.secrets = append(p.secrets, s)
			return s
		}
		t.Run("no cookie", func(t *testing.T) {
			p.refusedEverywhere(t, func(*node) header { return nil }, "no_credential")
		})
		for name, cookie := range map[string]string{
			"garbage":           "garbage",
			"unknown key":       strings.Repeat("a", 32),
			"injection":         "x' OR '1'='1",
			"very long":         strings.Repeat("a", 4000),
			"another character": session[:len(session)-1] + "ü",
		} {
			t.Run(name, func(t *testing.T) { p.refusedEverywhere(t, withCookie(cookie), "unknown_session") })
		}
		t.Run("tampered signature", func(t *testing.T) {
			_, s := p.login("ada")
			p.people.do(map[string]any{"do": "tamper", "session": s})
			p.refusedEverywhere(t, withCookie(s), "bad_signature")
		})
		t.Run("expired", func(t *testing.T) {
			_, s := p.login("ada")
			p.people.do(map[string]any{"do": "expire", "session": s})
			p.refusedAs(t, s, "expired", "unknown_session")
		})
		t.Run("session without a user", func(t *testing.T) {
			p.refusedEverywhere(t, withCookie(rewritten(map[string]any{"cart": []int{1}})), "no_login")
		})
		t.Run("unknown backend", func(t *testing.T) {
			_, s := p.login("ada")
			p.people.do(map[string]any{"do": "rewrite", "session": s, "_auth_user_backend": "evil.Backend"})
			p.refusedEverywhere(t, withCookie(s), "backend_not_allowed")
		})
		t.Run("wrong hash", func(t *testing.T) {
			_, s := p.login("ada")
			p.people.do(map[string]any{"do": "rewrite", "session": s, "_auth_user_hash": strings.Repeat("0", 64)})
			p.refusedEverywhere(t, withCookie(s), "hash_mismatch")
		})
		t.Run("no hash", func(t *testing.T) {
			_, s := p.login("ada")
			p.people.do(map[string]any{"do": "rewrite", "session": s, "_auth_user_hash": nil})
			p.refusedEverywhere(t, withCookie(s), "hash_mismatch")
		})
		t.Run("unknown user", func(t *testing.T) {
			_, s := p.login("ada")
			p.people.do(map[string]any{"do": "rewrite", "session": s, "_auth_user_id": "987654"})
			p.refusedEverywhere(t, withCookie(s), "unknown_user")
		})
		t.Run("wrong origin", func(t *testing.T) {
			for _, n := range []*node{p.a, p.b} {
				for _, origin := range []string{"https://evil.example", "null", "http://127.0.0.1.evil.example"} {
					before, line := n.metrics(), n.logs.len()
					refusedHTTP(t, n, "/ws", header{"Cookie: sessionid=" + session, "Origin: " + origin}, http.StatusForbidden)
					n.waitGrew(t, before, mHandshakes, "result=refused")
					n.logs.waitLine(t, line, "origin")
				}
			}
			// Another port of the same host is the usual layout: the site here, Gatecast there.
			dial(t, p.a, header{"Cookie: sessionid=" + session, "Origin: http://" + p.addr}).leave()
		})
		// All of that did not harm the good login, and nothing was deleted from the site.
		dialSession(t, p.a, session).leave()
	})

	t.Run("inactive", func(t *testing.T) {
		_, session := p.login("eve")
		s := dialSession(t, p.a, session)
		if s.user != eve {
			t.Fatalf("welcome says user %q, want %q", s.user, eve)
		}
		p.people.do(map[string]any{"do": "set", "username": "eve", "is_active": false})
		p.revalidate(t, eve)
		s.wantClosed(4401)
		p.refusedEverywhere(t, withCookie(session), "inactive")
		p.people.do(map[string]any{"do": "set", "username": "eve", "is_active": true})
	})

	t.Run("changed password", func(t *testing.T) {
		_, session := p.login("eve")
		s := dialSession(t, p.b, session)
		p.people.do(map[string]any{"do": "password", "username": "eve", "password": password})
		p.revalidate(t, eve)
		s.wantClosed(4401)
		p.refusedEverywhere(t, withCookie(session), "hash_mismatch")
	})

	t.Run("grants change under an open socket", func(t *testing.T) {
		_, session := p.login("eve")
		s := dialSession(t, p.a, session)
		s.refused("forbidden", msg{"op": "group_add", "group": "drafts.1"})
		p.people.do(map[string]any{"do": "join", "username": "eve", "group": "Editors"})
		p.revalidate(t, eve)
		if m := s.must("group_added"); m.str("group") != "desk" {
			t.Errorf("got %v, want group_added of desk", m)
		}
		s.add("drafts.1")
		p.people.do(map[string]any{"do": "part", "username": "eve", "group": "Editors"})
		p.revalidate(t, eve)
		gone := map[string]bool{s.must("group_discarded").str("group"): true, s.must("group_discarded").str("group"): true}
		if !gone["desk"] || !gone["drafts.1"] {
			t.Errorf("discarded %v, want desk and drafts.1", gone)
		}
		s.refused("forbidden", msg{"op": "group_add", "group": "drafts.1"})
		s.leave()
	})

	t.Run("session check", func(t *testing.T) {
		_, session := p.login("ada")
		code, out := cli(t, p.a.dir, "session", "check", session, "-config", "config.toml")
		if code != 0 || !strings.Contains(out, ada) {
			t.Errorf("session check: exit %d\n%s", code, out)
		}
		if code, out = cli(t, p.a.dir, "session", "check", "-config", "config.toml", "sessionid="+session); code != 0 {
			t.Errorf("session check name=value: exit %d\n%s", code, out)
		}
		if code, out = cli(t, p.a.dir, "session", "check", "-config", "config.toml", strings.Repeat("a", 32)); code != 1 || !strings.Contains(out, "unknown_session") {
			t.Errorf("session check of an unknown key: exit %d, want 1 and the reason\n%s", code, out)
		}
	})
}

// refusedAs is refusedEverywhere where either node may know one of two reasons: a fresh tombstone, or the
// database's word that the session is gone.
func (p *pair) refusedAs(t *testing.T, session string, reasons ...string) {
	t.Helper()
	line := p.a.logs.len()
	refusedClose(t, p.a, "/ws", cookieHeader(p.a, session), 4401, "unauthorized")
	got := p.a.logs.waitLine(t, line, "handshake refused")
	ok := false
	for _, r := range reasons {
		ok = ok || parseRecord(got).has("reason", r)
	}
	if !ok {
		t.Errorf("refused with %s, want one of %v", got, reasons)
	}
	refusedHTTP(t, p.b, "/ws", cookieHeader(p.b, session), http.StatusUnauthorized)
}

// revalidate pushes a change of a user, as the application's signals do.
func (p *pair) revalidate(t *testing.T, id string) {
	t.Helper()
	status, answer := p.b.call(adminKey, "POST", "/api/v1/revalidate", map[string]any{"user": id})
	if status != http.StatusOK || answer["ok"] != true {
		t.Fatalf("revalidate: %d %v", status, answer)
	}
}

// TestDjangoSignedCookies: the engine that keeps the session in the cookie itself.
func TestDjangoSignedCookies(t *testing.T) {
	heavy(t)
	t.Parallel()
	p := newPair(t, siteOptions{release: releases[1], engine: "signed_cookies"}, nil)
	ada := p.create("ada", password, nil)
	b, session := p.login("ada")
	onA, onB := dialSession(t, p.a, session), dialSession(t, p.b, session)
	if onA.user != ada || onB.user != ada {
		t.Fatalf("welcomes say %q and %q, want %q", onA.user, onB.user, ada)
	}
	onA.add("chat.1")
	b.say("chat.1", "hi")
	onA.wantData("chat.1", map[string]any{"text": "hi", "by": "ada"})

	i := strings.LastIndexByte(session, ':')
	p.refusedEverywhere(t, withCookie(session[:i+1]+strings.Repeat("A", len(session)-i-1)), "bad_signature")
	p.refusedEverywhere(t, withCookie("x"+session), "bad_signature")
	p.refusedEverywhere(t, func(*node) header { return nil }, "no_credential")

	// A signed cookie is good for ever by itself: only the tombstone keeps it out after a logout.
	b.logout()
	onA.wantClosed(4401)
	onB.wantClosed(4401)
	p.refusedEverywhere(t, withCookie(session), "revoked")
	// A new login of the same user is another session, once the second in the cookie is another.
	again := session
	eventually(t, patience, func() string { return "the cookie of a new login never differs" }, func() bool {
		_, again = p.login("ada")
		return again != session
	})
	dialSession(t, p.a, again).leave()
}

// TestDjangoCustomUser: another table, a UUID as primary key under another column name; on every database, for each
// stores it differently.
func TestDjangoCustomUser(t *testing.T) {
	heavy(t)
	t.Parallel()
	for _, db := range matrixDatabases {
		t.Run(db, func(t *testing.T) {
			o := siteOptions{release: releases[2], customUser: true}
			switch db {
			case "postgres":
				o.postgres = pgtest.Start(t)
			case "mariadb":
				o.mariadb = servertest.MariaDB(t)
			}
			p := newPair(t, o, conf{"authn.revalidate": "1s"})
			ada := p.create("ada", password, map[string]any{"groups": []string{"Editors"}})
			if len(ada) != 36 {
				t.Fatalf("the id is %q, want a UUID", ada)
			}
			b, session := p.login("ada")
			s := dialRaw(t, p.a, "/ws", cookieHeader(p.a, session))
			w := s.must("welcome")
			if got := fmt.Sprint(w["groups"]); w.str("user") != ada || got != "[user."+ada+" desk]" {
				t.Errorf("welcome is %v, want user %s in its group and desk", w, ada)
			}
			s.add("chat.1")
			b.say("chat.1", "hi")
			s.wantData("chat.1", map[string]any{"text": "hi", "by": "ada"})
			// Nobody tells: the sweep finds out.
			p.people.do(map[string]any{"do": "part", "username": "ada", "group": "Editors", "quietly": true})
			if m := s.must("group_discarded"); m.str("group") != "desk" {
				t.Errorf("got %v, want group_discarded of desk", m)
			}
			p.people.do(map[string]any{"do": "set", "username": "ada", "is_active": false, "quietly": true})
			s.wantClosed(4401)
		})
	}
}

// TestPythonVerbs: what the Python client can do beside group_send, from a real site to real sockets.
func TestPythonVerbs(t *testing.T) {
	heavy(t)
	t.Parallel()
	p := newPair(t, siteOptions{release: releases[2]}, conf{"authn.carriers": []string{"cookie", "message"}})
	ada := p.create("ada", password, nil)
	_, session := p.login("ada")
	p.refreshes(t)
	s := dialSession(t, p.a, session)
	s.add("chat.1")
	do := func(order map[string]any) map[string]any { return p.people.do(order) }
	do(map[string]any{"do": "notify", "username": "ada", "data": map[string]any{"n": 1}})
	s.wantData("user."+ada, map[string]any{"n": 1})
	do(map[string]any{"do": "many", "group": "chat.1", "count": 500})
	for i := range 500 {
		s.wantData("chat.1", i)
	}
	do(map[string]any{"do": "asynchronous", "group": "chat.1", "count": 50})
	for i := range 50 {
		s.wantData("chat.1", i)
	}
	do(map[string]any{"do": "on_commit", "group": "chat.1", "data": "committed", "fail": false})
	s.wantData("chat.1", "committed")
	do(map[string]any{"do": "on_commit", "group": "chat.1", "data": "rolled back", "fail": true})
	s.quiet()
	do(map[string]any{"do": "disconnect", "username": "ada"})
	s.wantClosed(4410)
	if code, _ := do(map[string]any{"do": "bad_send", "group": "chat.>", "data": 1})["code"].(string); code != "bad_group" {
		t.Errorf("group_send to chat.> raised %q, want bad_group", code)
	}
}

// refreshes: the auth op puts another session of the same user in the place of the one there is, whose end is nothing to the conn from then on. Nobody else's
// session will do.
func (p *pair) refreshes(t *testing.T) {
	t.Helper()
	first, one := p.login("ada")
	second, two := p.login("ada")
	p.create("bob", password, nil)
	_, bobs := p.login("bob")
	s := dialSession(t, p.a, one)
	s.refused("forbidden", msg{"op": "auth", "token": bobs})
	s.refused("unauthorized", msg{"op": "auth", "token": strings.Repeat("a", len(two))})
	s.ok(msg{"op": "auth", "token": two})
	first.logout()
	s.refused("unauthorized", msg{"op": "auth", "token": one})
	s.add("chat.1")
	second.logout()
	s.wantClosed(4401)
}

// TestDjangoTwoSites: one node for two sites whose users have the same ids.
func TestDjangoTwoSites(t *testing.T) {
	heavy(t)
	t.Parallel()
	natsAddr := freeAddr(t)
	c := conf{
		"authn.chain": []string{"django:shop", "django:blog"}, "authn.carriers": []string{"cookie", "header"}, "authn.jwt.secret": nil,
		"broker.listen": natsAddr,
		"grants":        []conf{{"to": "authenticated", "subscribe": []string{"chat.>"}, "publish": []string{"chat.>"}}},
	}
	sites := map[string]*site{}
	for i, name := range []string{"shop", "blog"} {
		s := newSite(t, siteOptions{release: releases[i], secret: name + siteSecret, cookie: name + "id", nats: "nats://" + natsAddr})
		s.serve()
		for k, v := range s.gatecastConf() {
			c[strings.Replace(k, "authn.django.", "authn.django.sites."+name+".", 1)] = v
		}
		c["authn.django.sites."+name+".user_prefix"] = name + ":"
		sites[name] = s
	}
	n := startNode(t, "a", c)
	for name, s := range sites {
		id := s.create("ada", password, nil)
		b := s.browser()
		session := b.login("ada", password)
		sock := dial(t, n, header{"Cookie: " + name + "id=" + session, "Origin: http://" + n.addr})
		if sock.user != name+":"+id {
			t.Errorf("welcome says %q, want %q", sock.user, name+":"+id)
		}
		sock.add("chat.1")
		b.say("chat.1", "hi")
		sock.wantData("chat.1", map[string]any{"text": "hi", "by": "ada"})
		// A session of one site is nothing at the other.
		for other := range sites {
			if other != name {
				refusedClose(t, n, "/ws", header{"Cookie: " + other + "id=" + session, "Origin: http://" + n.addr}, 4401, "unauthorized")
			}
		}
		b.logout()
		sock.wantClosed(4401)
	}
}

// TestDjangoDatabaseDown: while the database cannot be reached nobody is thrown out; new logins are told to come
// back, and can when it is there again.
func TestDjangoDatabaseDown(t *testing.T) {
	heavy(t)
	t.Parallel()
	o := siteOptions{release: releases[1], postgres: pgtest.Start(t)}
	link := newProxy(t, fmt.Sprintf("127.0.0.1:%d", o.postgres.Port))
	s := newSite(t, o)
	s.serve()
	printed := s.gatecastConf()
	dsn := printed["authn.django.database"].(string)
	printed["authn.django.database"] = strings.Replace(dsn, fmt.Sprintf(":%d/", o.postgres.Port), ":"+link.port()+"/", 1)
	c := conf{
		"authn.chain": []string{"django"}, "authn.carriers": []string{"cookie"}, "authn.jwt.secret": nil, "authn.cache_ttl": "0s", "authn.revalidate": "1s",
	}
	nodes := []*node{startNode(t, "a", c.over(printed)), startNode(t, "b", conf{"authn.reject": "http"}.over(c.over(printed)))}
	s.create("ada", password, nil)
	session := s.browser().login("ada", password)
	open := dialSession(t, nodes[0], session)
	link.cut()
	for _, n := range nodes {
		body := ""
		eventually(t, patience, func() string { return "still ready without its database: " + body }, func() bool {
			status, text, err := n.get("/readyz")
			body = text
			return err == nil && status == http.StatusServiceUnavailable
		})
	}
	down := refusedClose(t, nodes[0], "/ws", cookieHeader(nodes[0], session), 4100, "unavailable")
	if retry, _ := down.Op["retry"].([]any); len(retry) != 2 {
		t.Errorf("ended with %v, want a retry hint", down)
	}
	if r := refusedHTTP(t, nodes[1], "/ws", cookieHeader(nodes[1], session), http.StatusServiceUnavailable); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	// Sweeps come and go, and the open socket stays.
	before := nodes[0].metrics()
	nodes[0].waitGrew(t, before, "gatecast_sweep_errors_total")
	open.quiet()
	link.mend()
	for _, n := range nodes {
		n.waitReady()
	}
	dialSession(t, nodes[0], session).leave()
	open.quiet()
}

// TestOrigins: a list of origins has the meaning of Channels' AllowedHostsOriginValidator, and holds only for logins
// that browsers send by themselves.
func TestOrigins(t *testing.T) {
	heavy(t)
	t.Parallel()
	s := newSite(t, siteOptions{release: releases[0]})
	s.serve()
	printed := s.gatecastConf()
	n := startNode(t, "a", conf{"authn.chain": []string{"django", "jwt"}, "server.origins": []string{".example.com", "https://app.example.org"}}.over(printed))
	s.create("ada", password, nil)
	cookie := "Cookie: sessionid=" + s.browser().login("ada", password)
	for origin, ok := range map[string]bool{
		"https://example.com": true, "http://a.b.example.com:8443": true, "https://app.example.org": true, "https://app.example.org:443": true,
		"http://app.example.org": false, "https://app.example.org:444": false, "https://evilexample.com": false, "https://example.com.evil.org": false,
		"null": false, "file://": false, "": false,
	} {
		h := header{cookie}
		if origin != "" {
			h = append(h, "Origin: "+origin)
		}
		if ok {
			dial(t, n, h).leave()
		} else {
			refusedHTTP(t, n, "/ws", h, http.StatusForbidden)
		}
	}
	dial(t, n, append(bearer(token(t, "kim")), "Origin: https://evil.example")).leave()
}
