package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// hook is an application that answers who somebody is, by the session in a cookie or a token.
type hook struct {
	*httptest.Server
	asked atomic.Int32

	mu     sync.Mutex
	users  map[string]string // by session or token
	grants string            // of user mod
	down   bool
}

const hookSecret = "hook-secret-0123456789-0123456789"

func newHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{users: map[string]string{"ada-session": "ada", "ada-token": "ada", "boss-session": "boss"}}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.Add(1)
		var q struct {
			Token   string
			Cookies map[string]string
			Path    string
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		switch err := json.NewDecoder(r.Body).Decode(&q); {
		case h.down:
			w.WriteHeader(http.StatusBadGateway)
			return
		case err != nil || r.Header.Get("Authorization") != "Bearer "+hookSecret:
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		user, ok := h.users[q.Token+q.Cookies["appsession"]]
		switch {
		case !ok:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"message":"log in first"}`)
		case user == "boss":
			fmt.Fprintf(w, `{"user":"boss","kind":"superuser","grants":{"join":["board"],"publish":["board"]},"attrs":{"path":%q}}`, q.Path)
		case user == "mod":
			fmt.Fprintf(w, `{"user":"mod","grants":%s}`, h.grants)
		default:
			fmt.Fprintf(w, `{"user":%q}`, user)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) set(session, user string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users[session] = user; user == "" {
		delete(h.users, session)
	}
}

// grant says what the user mod may from now on.
func (h *hook) grant(grants string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users["mod-session"], h.grants = "mod", grants
}

func (h *hook) setDown(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// TestWebhook: the application says who somebody is, is asked once for many sockets, and again by revalidate; while it fails nobody new comes in and
// nobody is thrown out.
func TestWebhook(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	n := startNode(t, "a", conf{
		"authn.chain": []string{"webhook"}, "authn.jwt.secret": nil, "authn.cache_ttl": "30s", "authn.webhook.url": h.URL + "/who?key=in-the-address", "authn.webhook.secret": hookSecret,
		"authn.webhook.cookies": []string{"appsession"}, "authn.webhook.failures": 2, "authn.webhook.open_for": "1s", "authn.token_headers": []string{"X-Session-Token"},
	})
	cookie := func(session string) header {
		return header{"Cookie: theme=dark; appsession=" + session, "Origin: http://" + n.addr}
	}
	t.Cleanup(func() {
		for _, secret := range []string{hookSecret, "in-the-address", "ada-session", "ada-token"} {
			if strings.Contains(n.logs.String(), secret) {
				t.Errorf("the log shows %q", secret)
			}
		}
	})
	var socks []*socket
	for range 5 {
		s := dial(t, n, cookie("ada-session"))
		if s.user != "ada" {
			t.Fatalf("welcome says %q", s.user)
		}
		socks = append(socks, s)
	}
	if asked := h.asked.Load(); asked != 1 {
		t.Errorf("the application was asked %d times for one session, want once", asked)
	}
	dial(t, n, bearer("ada-token"))
	dial(t, n, header{"X-Session-Token: ada-token", "Origin: https://elsewhere.example"})
	byMessage := dialRaw(t, n, "/ws", nil)
	byMessage.ok(msg{"op": "auth", "token": "ada-token"})
	byMessage.must("welcome")
	boss := dial(t, n, cookie("boss-session"))
	boss.groupSend("board", "x")
	boss.wantData("board", "x")
	// Grants in the answer: deny wins over [[grants]], and revalidate puts what changed into force.
	h.grant(`{"join":["desk"],"subscribe":["extra.*"],"publish":["desk"],"deny":["chat.secret"]}`)
	mod := dial(t, n, cookie("mod-session"))
	mod.add("extra.1")
	mod.add("chat.1")
	mod.groupSend("desk", "x")
	mod.wantData("desk", "x")
	mod.refused("forbidden", msg{"op": "group_add", "group": "chat.secret"})
	mod.refused("forbidden", msg{"op": "group_send", "group": "chat.secret", "data": 1})
	h.grant(`{"join":["desk"],"deny":["chat.>"]}`)
	if status, answer := n.call(adminKey, "POST", "/api/v1/revalidate", map[string]any{"user": "mod"}); status != http.StatusOK {
		t.Fatalf("revalidate = %v", answer)
	}
	for lost := map[string]bool{"extra.1": true, "chat.1": true}; len(lost) > 0; {
		group := mod.must("group_discarded").str("group")
		if !lost[group] {
			t.Fatalf("left %s", group)
		}
		delete(lost, group)
	}
	mod.refused("forbidden", msg{"op": "group_send", "group": "desk", "data": 1})
	h.grant(`{"denied":["chat.>"]}`) // a misspelt deny is no answer
	if status, answer := n.call(adminKey, "POST", "/api/v1/revalidate", map[string]any{"user": "mod"}); apiCode(answer) != "unavailable" {
		t.Errorf("revalidate with a misspelt deny = %d %v", status, answer)
	}
	mod.refused("forbidden", msg{"op": "group_add", "group": "chat.1"})
	refusedClose(t, n, "/ws", cookie("nobody"), 4401, "unauthorized")
	n.logs.waitLine(t, 0, "handshake refused", "webhook_refused", "log in first")
	refusedHTTP(t, n, "/ws", header{"Cookie: appsession=ada-session", "Origin: https://evil.example"}, http.StatusForbidden)

	h.setDown(true)
	for range 3 {
		refusedClose(t, n, "/ws", cookie("another"), 4100, "unavailable")
	}
	asked := h.asked.Load()
	refusedClose(t, n, "/ws", cookie("yet-another"), 4100, "unavailable")
	if h.asked.Load() != asked {
		t.Error("an application that fails is not left alone")
	}
	eventually(t, patience, func() string { return "ready though the application fails" }, func() bool {
		status, body, err := n.get("/readyz")
		return err == nil && status == http.StatusServiceUnavailable && strings.Contains(body, "webhook")
	})
	dial(t, n, cookie("ada-session")).leave() // from the cache
	if status, answer := n.call(adminKey, "POST", "/api/v1/revalidate", map[string]any{"user": "ada"}); status == http.StatusOK {
		t.Errorf("revalidate while it fails = %v", answer)
	}
	for _, s := range socks {
		s.quiet()
	}
	h.setDown(false)
	h.set("ada-session", "")
	eventually(t, patience, func() string { return "nobody is let in again" }, func() bool {
		s, err := tryDial(n.addr, "/ws", cookie("boss-session"))
		if err != nil {
			return false
		}
		defer s.conn.Close()
		status, _ := n.call(adminKey, "POST", "/api/v1/revalidate", map[string]any{"user": "ada"})
		return status == http.StatusOK
	})
	for _, s := range socks {
		s.wantClosed(4401)
	}
	byMessage.quiet() // by the token, which is still good
	n.waitReady()

	// One that nobody answers at is unavailable, not a refusal.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	gone := startNode(t, "b", conf{"authn.chain": []string{"webhook"}, "authn.jwt.secret": nil, "authn.reject": "http", "authn.webhook.url": "http://" + l.Addr().String(), "authn.webhook.failures": 0})
	if r := refusedHTTP(t, gone, "/ws", header{"Cookie: sessionid=x", "Origin: http://" + gone.addr}, http.StatusServiceUnavailable); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
