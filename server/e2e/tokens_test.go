package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// tokenConf is a node's config for the tokens of a site, whose keys it does not get.
func tokenConf(s *site, knoxVersion int) conf {
	c := conf{
		"authn.chain": []string{"token"}, "authn.jwt.secret": nil, "authn.cache_ttl": "30s",
		"authn.revalidate": "1h", // no sweep, unless a test asks for one: deletions are known by push alone
		"grants": []conf{
			{"to": "authenticated", "subscribe": []string{"chat.>"}, "publish": []string{"chat.>"}},
			{"to": "group:Editors", "join": []string{"desk"}},
		},
	}
	for k, v := range s.gatecastConf() {
		switch k {
		case "authn.django.database", "authn.django.user_table", "authn.django.user_id_column", "authn.django.use_tz", "authn.django.time_zone",
			"authn.token.kinds", "authn.token.knox_version", "authn.token.knox_prefix":
			c[k] = v
		}
	}
	if got, want := fmt.Sprintf("%v %v", c["authn.token.kinds"], c["authn.token.knox_version"]), fmt.Sprintf("[drf knox] %d", knoxVersion); got != want {
		s.t.Errorf("gatecast_keys printed kinds and version of tokens %s, want %s", got, want)
	}
	return c
}

func scheme(word, token string) header { return header{"Authorization: " + word + " " + token} }

// TestTokens: tokens that the real packages made, on every release of Django.
func TestTokens(t *testing.T) {
	heavy(t)
	t.Parallel()
	for i, r := range releases {
		t.Run(r.name, func(t *testing.T) {
			natsB := freeAddr(t)
			o, version := siteOptions{release: r, tokens: "acme_", nats: "nats://" + natsB}, 5
			switch i {
			case 0:
				o.tokens, version = "-", 4
			case 1:
				o.postgres = pgtest.Start(t)
			case 2:
				o.customUser = true
			}
			s := newSite(t, o)
			routes := []string{"nats://" + freeAddr(t), "nats://" + freeAddr(t)}
			c := tokenConf(s, version)
			a := launchNode(t, "a", c.over(clusterConf(routes, 0)))
			b := launchNode(t, "b", conf{"authn.reject": "http", "broker.listen": natsB}.over(c.over(clusterConf(routes, 1))))
			for _, n := range []*node{a, b} {
				n.waitReady()
				n.waitPeers(2)
			}
			testTokens(t, s, a, b)
		})
	}
}

func testTokens(t *testing.T, s *site, a, b *node) {
	give := func(who, kind string, more ...any) string {
		order := map[string]any{"do": "token", "username": who, "kind": kind}
		for i := 0; i+1 < len(more); i += 2 {
			order[more[i].(string)] = more[i+1]
		}
		token, _ := s.people.do(order)["token"].(string)
		t.Cleanup(func() {
			for _, n := range []*node{a, b} {
				if strings.Contains(n.logs.String(), token) {
					t.Errorf("the log of node %s shows a token", n.name)
				}
			}
		})
		return token
	}
	ed := s.create("ed", password, map[string]any{"groups": []string{"Editors"}})
	for _, kind := range []string{"drf", "knox"} {
		t.Run(kind, func(t *testing.T) {
			token := give("ed", kind)
			onA := dialRaw(t, a, "/ws", scheme("Token", token))
			if w := onA.must("welcome"); w.str("user") != ed || len(w["groups"].([]any)) != 2 || (w.num("expires") > 0) != (kind == "knox") {
				t.Errorf("welcome is %v, want user %s in two groups", w, ed)
			}
			onB := dial(t, b, bearer(token))
			byMessage := dialRaw(t, a, "/ws", nil)
			byMessage.ok(msg{"op": "auth", "token": token})
			byMessage.must("welcome")
			onA.add("chat.1")
			onB.groupSend("chat.1", "hi")
			onA.wantData("chat.1", "hi")

			for name, bad := range map[string]string{
				"changed": token[:len(token)-1] + flip(token[len(token)-1]), "too long": token + "0", "its beginning": token[:len(token)-2],
			} {
				t.Run(name, func(t *testing.T) { refusedClose(t, a, "/ws", scheme("Token", bad), 4401, "unauthorized") })
			}

			// The packages' own deletion closes every socket of the token.
			s.people.do(map[string]any{"do": "drop_tokens", "username": "ed", "kind": kind})
			began := time.Now()
			for _, socket := range []*socket{onA, onB, byMessage} {
				socket.wantClosed(4401)
			}
			t.Logf("the sockets closed %v after the deletion", time.Since(began))
			refusedClose(t, a, "/ws", scheme("Token", token), 4401, "unauthorized")
			refusedHTTP(t, b, "/ws", scheme("Token", token), 401)
			a.logs.waitLine(t, 0, "handshake refused", "unknown_token")
		})
	}
	t.Run("inactive", func(t *testing.T) {
		s.create("gone", password, nil)
		token := give("gone", "drf")
		open := dial(t, a, scheme("Token", token))
		s.people.do(map[string]any{"do": "set", "username": "gone", "is_active": false})
		refusedHTTP(t, b, "/ws", scheme("Token", token), 401)
		s.people.do(map[string]any{"do": "revalidate", "username": "gone"})
		open.wantClosed(4401)
	})
	t.Run("expiry", func(t *testing.T) {
		s.create("brief", password, nil)
		token := give("brief", "knox", "seconds", 5)
		dial(t, a, scheme("Token", token)).wantClosed(4401)
		// The socket may close up to a second early: welcome.expires has whole seconds.
		eventually(t, patience, func() string { return "an expired token is let in" }, func() bool {
			socket, err := tryDial(b.addr, "/ws", scheme("Token", token))
			if err == nil {
				socket.conn.Close()
			}
			var r *rejected
			return errors.As(err, &r) && r.Status == http.StatusUnauthorized
		})
	})
}

func flip(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}

// TestTokenKeyword: the word before the token is the site's to choose, and a deletion that sends no signal is found by the next sweep.
func TestTokenKeyword(t *testing.T) {
	heavy(t)
	t.Parallel()
	s := newSite(t, siteOptions{release: releases[1], tokens: "-"})
	s.create("ada", password, nil)
	token := s.people.do(map[string]any{"do": "token", "username": "ada", "kind": "drf"})["token"].(string)
	n := startNode(t, "a", conf{"authn.schemes": []string{"Acme"}, "authn.carriers": []string{"header"}, "authn.revalidate": "1s"}.over(tokenConf(s, 5)))
	open := dial(t, n, scheme("acme", token))
	refusedClose(t, n, "/ws", scheme("Token", token), 4401, "unauthorized")
	s.people.do(map[string]any{"do": "drop_tokens", "username": "ada", "kind": "drf", "quietly": true})
	open.wantClosed(4401)
}
