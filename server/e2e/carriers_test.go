package e2e

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// TestCarriers: the same token by every way there is, and what the handshake answers to the subprotocols offered.
func TestCarriers(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", conf{"authn.carriers": []string{"cookie", "header", "subprotocol", "query", "message"}, "authn.timeout": "2s"})
	tok := token(t, "kim")
	tok64 := base64.RawURLEncoding.EncodeToString([]byte(tok))
	for _, c := range []struct {
		name, path string
		head       header
		protocol   string // that the answer must choose
	}{
		{"header", "/ws", bearer(tok), ""},
		{"header, other case", "/ws", header{"authorization: bearer " + tok}, ""},
		{"subprotocol", "/ws", header{"Sec-WebSocket-Protocol: gatecast.v1, bearer." + tok}, "gatecast.v1"},
		{"subprotocol in base64", "/ws", header{"Sec-WebSocket-Protocol: bearer64." + tok64 + ", gatecast.v1"}, "gatecast.v1"},
		{"two subprotocol lines", "/ws", header{"Sec-WebSocket-Protocol: bearer64." + tok64, "Sec-WebSocket-Protocol: gatecast.v1"}, "gatecast.v1"},
		{"query", "/ws?token=" + url.QueryEscape(tok), nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := dialRaw(t, n, c.path, c.head)
			if w := s.must("welcome"); w.str("user") != "kim" || w.str("node") != "a" || w.num("ping") != 25 || w.num("expires") == 0 {
				t.Errorf("welcome is %v", w)
			}
			if got := s.head.Header.Get("Sec-WebSocket-Protocol"); got != c.protocol {
				t.Errorf("the answer chose %q, want %q", got, c.protocol)
			}
		})
	}
	t.Run("message", func(t *testing.T) {
		s := dialRaw(t, n, "/ws", header{"Sec-WebSocket-Protocol: gatecast.v1"})
		s.refused("unauthorized", msg{"op": "group_add", "group": "room.x"})
		s.ok(msg{"op": "auth", "token": tok})
		if w := s.must("welcome"); w.str("user") != "kim" {
			t.Errorf("welcome is %v", w)
		}
		s.add("room.x")
		// A new token of the same user is taken, another user's is not, and a bad one changes nothing.
		s.ok(msg{"op": "auth", "token": token(t, "kim")})
		s.refused("forbidden", msg{"op": "auth", "token": token(t, "lee")})
		s.refused("unauthorized", msg{"op": "auth", "token": tok + "x"})
		s.groupSend("room.x", 1)
		if m := s.wantData("room.x", 1); m.str("from") != "kim" {
			t.Errorf("got %v, want from kim", m)
		}
	})
	t.Run("bad message", func(t *testing.T) {
		s := dialRaw(t, n, "/ws", nil)
		s.send(msg{"op": "auth", "id": 1, "token": "garbage"})
		s.wantClosed(4401)
	})
	t.Run("no message", func(t *testing.T) {
		began := time.Now()
		s := dialRaw(t, n, "/ws", nil)
		if c := s.wantClosed(4408); c.Error != "unauthorized" {
			t.Errorf("ended with %v, want an error frame unauthorized", c)
		}
		if took := time.Since(began); took < 1500*time.Millisecond {
			t.Errorf("closed after %v, want authn.timeout, 2s", took)
		}
	})
	t.Run("malformed subprotocol", func(t *testing.T) {
		refusedClose(t, n, "/ws", header{"Sec-WebSocket-Protocol: gatecast.v1, bearer64.!!!"}, 4401, "unauthorized")
		// A browser fails where none of what it offered is chosen, and a credential never is.
		refusedHTTP(t, n, "/ws", header{"Sec-WebSocket-Protocol: bearer." + tok}, http.StatusBadRequest)
	})
}

// TestAnonymous: who has no login may be somebody without a name, who can log in once; a bad login never counts
// as none.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", conf{"authn.anonymous": true, "grants": []conf{
		{"to": "anonymous", "subscribe": []string{"news.>"}},
		{"to": "authenticated", "subscribe": []string{"room.>"}, "publish": []string{"news.>"}},
	}})
	s := dialRaw(t, n, "/ws", nil)
	if w := s.must("welcome"); w.str("user") != "" {
		t.Errorf("welcome is %v, want user \"\"", w)
	}
	s.add("news.1")
	s.refused("forbidden", msg{"op": "group_add", "group": "room.1"})
	s.refused("forbidden", msg{"op": "group_send", "group": "news.1", "data": 1})
	s.ok(msg{"op": "auth", "token": token(t, "kim")})
	if m := s.must("group_added"); m.str("group") != "user.kim" {
		t.Errorf("got %v, want group_added of user.kim", m)
	}
	s.add("room.1")
	s.refused("forbidden", msg{"op": "auth", "token": token(t, "lee")})
	refusedClose(t, n, "/ws", bearer(token(t, "kim")+"x"), 4401, "unauthorized")
}

// TestExpiry: a login ends when its token does, unless a newer one came in time.
func TestExpiry(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", nil)
	until := func(d time.Duration) string {
		return token(t, "kim", map[string]any{"exp": time.Now().Add(d).Unix()})
	}
	began := time.Now()
	ends, goes := dial(t, n, bearer(until(6*time.Second))), dial(t, n, bearer(until(6*time.Second)))
	goes.ok(msg{"op": "auth", "token": until(time.Hour)})
	ends.wantClosed(4401)
	if took := time.Since(began); took < 4*time.Second { // exp has whole seconds, and one may be taken off
		t.Errorf("closed after %v, want about 6s", took)
	}
	goes.quiet()
}
