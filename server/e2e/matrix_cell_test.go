package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// booth is a cell at work: a site, what a node knows of it, and what the command session check is given.
type booth struct {
	*cell
	*site
	name string
	n    *node
	dirs map[string]string // of the config.toml for each variant
}

// The node knows each site three times: as it is, as it will be when SECRET_KEY has been changed and the old one is a fallback, and with the keys of
// somebody else. Each has its cookie, so a test chooses by the name it sends a session under.
const (
	asItIs  = "id"
	rotated = "rotated"
	foreign = "foreign"
)

const newSecret = "the-new-secret-key-0123456789-0123456789-0123456789"

// changes are the settings that make the variant.
func (b *booth) changes(variant string) map[string]any {
	c := map[string]any{"SESSION_COOKIE_NAME": b.name + variant}
	switch variant {
	case rotated:
		c["SECRET_KEY"], c["SECRET_KEY_FALLBACKS"] = newSecret, []string{siteSecret}
	case foreign:
		c["SECRET_KEY"] = newSecret
	}
	return c
}

// ask gives an order of the variant's settings.
func (b *booth) ask(do, variant string, more map[string]any) map[string]any {
	order := map[string]any{"do": do}
	maps.Copy(order, b.changes(variant))
	maps.Copy(order, more)
	return b.people.do(order)
}

// testWorld runs cells of one release and database beside each other on one node.
func testWorld(t *testing.T, back *backends, cells []*cell) {
	o := siteOptions{release: cells[0].release, served: true}
	switch cells[0].database {
	case "postgres":
		o.postgres = back.postgres
	case "mariadb":
		o.mariadb = back.mariadb
	}
	o.database = newDatabase(t, o)
	nats := freeAddr(t)
	o.nats = "nats://" + nats
	chain := []string{}
	c := conf{"broker.listen": nats}
	var booths []*booth
	for i, cell := range cells {
		b := &booth{cell: cell, name: fmt.Sprintf("c%d", i), dirs: map[string]string{}}
		o.engine, o.serializer, o.cache, o.cookie, o.prefix = cell.engine, "", back.cacheSetting(t, cell, b.name), b.name+asItIs, b.name+"-"
		if cell.pickle {
			o.serializer = "PickleSerializer"
		}
		b.site = newSite(t, o)
		for _, variant := range []string{asItIs, rotated, foreign} {
			printed := printedConf(t, b.ask("keys", variant, nil)["printed"].(string))
			if fallbacks, _ := printed["authn.django.fallbacks"].([]any); (len(fallbacks) == 1) != (variant == rotated && cell.release.from(4.1)) {
				t.Errorf("gatecast_keys prints %d fallbacks for the variant %q on %s", len(fallbacks), variant, cell)
			}
			b.dirs[variant] = t.TempDir()
			conf{"authn.chain": []string{"django"}}.over(printed.over(worldConf())).write(t, b.dirs[variant])
			chain = append(chain, "django:"+b.name+variant)
			for k, v := range printed {
				c[strings.Replace(k, "authn.django.", "authn.django.sites."+b.name+variant+".", 1)] = v
			}
		}
		booths = append(booths, b)
	}
	c["authn.chain"] = chain
	n := startNode(t, "a", c.over(worldConf()))
	for _, b := range booths {
		b.n = n
		t.Run(b.cell.String(), func(t *testing.T) {
			// What fails in the site's own helpers is this cell's failure, too.
			b.site.t, b.people.t = t, t
			defer func() { b.site.t, b.people.t = n.t, n.t }()
			b.test(t)
		})
	}
}

// worldConf is what nodes and session check have beside the keys of their sites.
func worldConf() conf {
	return conf{
		"authn.carriers": []string{"cookie"}, "authn.jwt.secret": nil, "authn.revalidate": "1s", "authn.cache_ttl": "30s", "authn.failed_per_second": 0,
		"grants": []conf{
			{"to": "authenticated", "subscribe": []string{"chat.>"}, "publish": []string{"chat.>"}},
			{"to": "group:Editors", "join": []string{"desk"}},
		},
	}.over(baseConf())
}

// header sends a session under the cookie of a variant.
func (b *booth) header(variant, session string) header {
	return header{"Cookie: theme=dark; " + b.name + variant + "=" + session, "Origin: http://" + b.n.addr}
}

func (b *booth) dial(t *testing.T, variant, session string) *socket {
	t.Helper()
	return dial(t, b.n, b.header(variant, session))
}

// texts are what session check tells a newcomer about each reason.
var texts = map[string]string{
	"bad_signature":   "none of the configured keys signed it",
	"hash_mismatch":   "The password or SECRET_KEY changed after this login",
	"unknown_session": "it was logged out, it ended, or it never was there",
	"expired":         "The session's time is over: log in again",
	"inactive":        "is_active is off",
}

// check wants of session check that it refuses for one of the reasons and says so in plain words; no reasons = that it accepts as user.
func (b *booth) check(t *testing.T, variant, session, user string, reasons ...string) {
	t.Helper()
	code, out := cli(t, b.dirs[variant], "session", "check", session, "-config", "config.toml")
	if len(reasons) == 0 {
		if code != 0 || !containsAll(out, []string{"accepted: user \"" + user + "\"", "Editors", "desk", "chat.>"}) {
			t.Errorf("session check: exit %d, want 0 and user %s, groups and grants\n%s", code, user, out)
		}
		return
	}
	i := slices.IndexFunc(reasons, func(r string) bool { return strings.Contains(out, "\nrefused: "+r+"\n") })
	if code != 1 || i < 0 || !strings.Contains(out, texts[reasons[i]]) {
		t.Errorf("session check: exit %d, want 1, one of %v, and what to do\n%s", code, reasons, out)
	}
}

// refused wants that nobody gets in with a session: not through the node, nor session check, nor, which is asked last because it may delete the session,
// Django itself.
func (b *booth) refused(t *testing.T, variant, session string, reasons ...string) {
	t.Helper()
	line := b.n.logs.len()
	refusedClose(t, b.n, "/ws", b.header(variant, session), 4401, "unauthorized")
	if got := parseRecord(b.n.logs.waitLine(t, line, "handshake refused")); !slices.ContainsFunc(reasons, func(r string) bool { return got.has("reason", r) }) {
		t.Errorf("refused with %v, want one of %v", got, reasons)
	}
	b.check(t, variant, session, "", reasons...)
	b.wantWho(t, variant, session, "")
}

// wantWho asks Django whose session it is; "" = nobody's.
func (b *booth) wantWho(t *testing.T, variant, session, id string) {
	t.Helper()
	if who, _ := b.ask("who", variant, map[string]any{"session": session})["user"].(string); who != id {
		t.Errorf("Django takes the session for user %q, want %q", who, id)
	}
}

// waitEnded waits out the second by which a socket may close early: welcome.expires has whole ones.
func (b *booth) waitEnded(t *testing.T, session string) {
	t.Helper()
	eventually(t, patience, func() string { return "a session that ended is let in" }, func() bool {
		s, err := tryDial(b.n.addr, "/ws", b.header(asItIs, session))
		if err != nil {
			t.Fatal(err)
		}
		defer s.conn.Close()
		s.t = t
		m, err := s.tryNext(time.Now().Add(patience))
		return err == nil && m.op() == "error"
	})
}

// knownAs makes a session be one of the variant's, too: files are called by the cookie's name.
func (b *booth) knownAs(variant, session string) {
	if b.engine == "file" {
		b.people.do(map[string]any{"do": "link", "session": session, "cookie": b.name + variant})
	}
}

func (b *booth) test(t *testing.T) {
	ada, zoe := b.name+"ada", b.name+"zoe"
	id := b.create(ada, password, map[string]any{"groups": []string{"Editors"}})
	user := b.name + "-" + id
	zoeID := b.create(zoe, password, nil)
	left := "" // the session that logged out
	login := func(username string) (page *browser, session string) {
		t.Helper()
		eventually(t, patience, func() string { return "the cookie of a new login never differs" }, func() bool { // signed cookies do by the second
			page = b.browser()
			session = page.login(username, password)
			return session != left
		})
		return page, session
	}
	inCookie, inCache := b.engine == "signed_cookies", b.engine == "cache"
	unsigned := inCache || b.engine == "cached_db"

	// What takes a while goes on beside the rest.
	_, brief := login(zoe)
	_, gone := login(zoe)
	endsSoon, isFlushed := b.dial(t, asItIs, brief), b.dial(t, asItIs, gone)
	brief = b.people.do(map[string]any{"do": "end", "session": brief})["session"].(string) // the next sweep learns of it
	b.people.do(map[string]any{"do": "flush", "session": gone})

	page, session := login(ada)
	s := dialRaw(t, b.n, "/ws", b.header(asItIs, session))
	if w := s.must("welcome"); w.str("user") != user || fmt.Sprint(w["groups"]) != "[user."+user+" desk]" || w["expires"] == nil {
		t.Fatalf("welcome is %v, want user %s in the group desk, and when it ends", w, user)
	}
	s.add("chat.1")
	page.say("chat.1", "hi")
	s.wantData("chat.1", map[string]any{"text": "hi", "by": ada})
	b.check(t, asItIs, session, user)
	b.wantWho(t, asItIs, session, id)

	t.Run("no such session", func(t *testing.T) {
		b.refused(t, asItIs, strings.Repeat("a", 32), "unknown_session")
	})
	t.Run("forged", func(t *testing.T) {
		_, forged := login(ada)
		forged = b.people.do(map[string]any{"do": "forge", "session": forged, "user": zoeID})["session"].(string)
		b.refused(t, asItIs, forged, map[bool]string{false: "bad_signature", true: "hash_mismatch"}[inCache])
	})
	t.Run("logged out", func(t *testing.T) {
		var page *browser
		page, left = login(ada)
		open := b.dial(t, asItIs, left)
		page.logout()
		open.wantClosed(4401)
		if !inCookie {
			b.refused(t, asItIs, left, "revoked", "unknown_session")
			return
		}
		line := b.n.logs.len()
		refusedClose(t, b.n, "/ws", b.header(asItIs, left), 4401, "unauthorized")
		b.n.logs.waitLine(t, line, "handshake refused", `"reason":"revoked"`)
		// Django takes it on, and so does session check, which does not know what a node was told.
		b.check(t, asItIs, left, user)
		b.wantWho(t, asItIs, left, id)
	})
	t.Run("the keys of another site", func(t *testing.T) {
		_, session := login(ada)
		b.knownAs(foreign, session)
		b.refused(t, foreign, session, map[bool]string{false: "bad_signature", true: "hash_mismatch"}[unsigned])
	})
	t.Run("a new SECRET_KEY", func(t *testing.T) {
		_, session := login(ada)
		b.knownAs(rotated, session)
		if !b.release.from(4.1) { // which knows no fallbacks
			b.refused(t, rotated, session, map[bool]string{false: "bad_signature", true: "hash_mismatch"}[unsigned])
			return
		}
		b.dial(t, rotated, session).leave()
		b.check(t, rotated, session, user)
		b.wantWho(t, rotated, session, id)
	})
	t.Run("a new password", func(t *testing.T) {
		_, old := login(ada)
		open := b.dial(t, asItIs, old)
		b.people.do(map[string]any{"do": "password", "username": ada, "password": password})
		open.wantClosed(4401)
		b.refused(t, asItIs, old, "hash_mismatch")
	})
	t.Run("inactive", func(t *testing.T) {
		_, session := login(ada)
		open := b.dial(t, asItIs, session)
		b.people.do(map[string]any{"do": "set", "username": ada, "is_active": false})
		open.wantClosed(4401)
		b.refused(t, asItIs, session, "inactive")
	})
	t.Run("ended", func(t *testing.T) {
		if !inCookie { // of which there is an older one now
			endsSoon.wantClosed(4401)
			b.waitEnded(t, brief)
		}
		b.refused(t, asItIs, brief, "expired", "unknown_session")
	})
	t.Run("flushed", func(t *testing.T) {
		if inCookie { // nobody can delete a cookie that somebody has
			isFlushed.quiet()
			b.dial(t, asItIs, gone).leave()
			b.wantWho(t, asItIs, gone, zoeID)
			return
		}
		isFlushed.wantClosed(4401)
		b.refused(t, asItIs, gone, "unknown_session", "revoked")
	})
}
