package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestFailedLogins: an address that fails too often is not looked at for a while, others are, and so is who is in the cache.
func TestFailedLogins(t *testing.T) {
	t.Parallel()
	c := conf{"server.trusted_proxies": []string{"127.0.0.1"}, "authn.failed_per_second": 5, "authn.cache_ttl": "30s"}
	for _, reject := range []string{"close", "http"} {
		t.Run(reject, func(t *testing.T) {
			n := startNode(t, "a", conf{"authn.reject": reject}.over(c))
			from := func(address string, h header) header { return append(header{"X-Forwarded-For: " + address}, h...) }
			known, fresh := bearer(token(t, "kim")), bearer(token(t, "lee"))
			dial(t, n, from("198.51.100.7", known)).leave()
			for i := range 20 { // more than one second's worth, also if this machine is slow
				s, err := tryDial(n.addr, "/ws", from("198.51.100.7", bearer(fmt.Sprintf("%s%d", strings.TrimPrefix(fresh[0], "Authorization: Bearer "), i))))
				if err == nil {
					s.t = t
					s.end()
				}
			}
			n.logs.waitLine(t, 0, "failed_per_second", "198.51.100.7")
			before := n.metrics()
			if reject == "http" {
				if r := refusedHTTP(t, n, "/ws", from("198.51.100.7", bearer("x"+token(t, "x"))), http.StatusTooManyRequests); r.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			} else if ended := refusedClose(t, n, "/ws", from("198.51.100.7", bearer("x"+token(t, "x"))), 4100, "unavailable"); ended.Op["retry"] == nil {
				t.Errorf("ended with %v, want a retry hint", ended)
			}
			n.waitGrew(t, before, mHandshakes, "result=refused", "reason=failed_per_second")
			dial(t, n, from("198.51.100.7", known)).leave() // in the cache
			dial(t, n, from("198.51.100.8", bearer(token(t, "ann")))).leave()
			// It passes by itself.
			eventually(t, patience, func() string { return "the address is never looked at again" }, func() bool {
				s, err := tryDial(n.addr, "/ws", from("198.51.100.7", fresh))
				if err != nil {
					return false
				}
				defer s.conn.Close()
				s.t = t
				_, err = s.tryFind(func(m msg) bool { return m.str("op") == "welcome" })
				return err == nil
			})
		})
	}
}

// TestQueryTokensAreShownNowhere: a token in an address is in no log, no metric, no list and no error.
func TestQueryTokensAreShownNowhere(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", conf{"authn.carriers": []string{"query", "header"}, "routes": []conf{{"path": "/chat/{room}/", "groups": []string{"chat.{room}"}}}})
	good := token(t, "kim")
	secrets := []string{good[strings.LastIndex(good, ".")+1:], "an-unknown-token-0123", "not%2Da%2Dpath-0123"}
	dial0 := dialRaw(t, n, "/ws?token="+good, nil)
	dial0.must("welcome")
	dialRaw(t, n, "/chat/1/?token="+good, nil)
	bad := dialRaw(t, n, "/ws?token="+secrets[1], nil)
	closed := bad.wantClosed(4401)
	tampered := dialRaw(t, n, "/ws?token="+good+"x", nil).wantClosed(4401)
	refusedHTTP(t, n, "/nowhere?token="+secrets[1], nil, http.StatusNotFound)
	refusedHTTP(t, n, "/ws?token="+good, header{"Sec-WebSocket-Protocol: other"}, http.StatusBadRequest)
	texts := map[string]string{"the closes": fmt.Sprint(closed, tampered), "the log": n.logs.String()}
	for _, path := range []string{"/api/v1/connections", "/api/v1/info", "/metrics", "/", "/readyz"} {
		_, body, err := n.tryCall(adminKey, "GET", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(body)
	}
	for where, text := range texts {
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %q", where, secret)
			}
		}
	}
}
