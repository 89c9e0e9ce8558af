package admin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fakeNode records what the API asks of it.
type fakeNode struct {
	mu       sync.Mutex
	sent     []*GroupSend
	calls    []string // "verb body"
	drained  int
	seq      uint64
	sendErr  error
	listErr  error
	notReady error
	answer   string // of Call
	user     string // of Connections
}

func (n *fakeNode) GroupSend(_ context.Context, m *GroupSend) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sent = append(n.sent, m)
	return n.seq, n.sendErr
}

func (n *fakeNode) Call(_ context.Context, verb string, body []byte) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls = append(n.calls, verb+" "+string(body))
	if n.answer != "" {
		return []byte(n.answer)
	}
	return []byte(`{"ok":true,"conns":2}`)
}

func (n *fakeNode) Groups(context.Context) (any, error) {
	return []map[string]any{{"group": "chat.7", "members": 2}}, n.listErr
}

func (n *fakeNode) Connections(_ context.Context, user string) (any, error) {
	n.user = user
	return []map[string]any{{"conn": "c1", "user": user}}, n.listErr
}

func (n *fakeNode) Nodes(context.Context) (any, error) {
	return []map[string]any{{"name": "n1"}}, n.listErr
}

func (n *fakeNode) Info(context.Context) (any, error) {
	return map[string]any{"node": "n1"}, n.listErr
}

func (n *fakeNode) Explain(_ context.Context, q *Explain) (any, error) {
	return map[string]any{"logins": []Explain{*q}}, n.listErr
}

func (n *fakeNode) Ready() error { return n.notReady }

func (n *fakeNode) Drain() { n.drained++ }

// testKeys has one key of each role.
var testKeys = []Key{
	{Name: "django", Key: "publish-key", Role: "publish"},
	{Name: "grafana", Key: "read-key", Role: "read"},
	{Key: "admin-key", Role: "admin"},
}

func newTestServer(t *testing.T, n *fakeNode, change ...func(*Options, *Deps)) *Server {
	t.Helper()
	o, d := DefaultOptions(), Deps{Node: n, Reload: func(context.Context) error { return nil }}
	o.Keys = testKeys
	for _, c := range change {
		c(&o, &d)
	}
	s, err := New(o, d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func withoutKeys(o *Options, _ *Deps) { o.Keys = nil }

func inDev(o *Options, d *Deps) { o.Keys, d.Dev = nil, true }

var errBoom = errors.New("the disk is on fire")

// do sends a request straight to the handler: "POST /path", a key, a body.
func do(s *Server, request, key, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequest(method, "http://127.0.0.1:8081"+path, io.Reader(strings.NewReader(body)))
	r.RemoteAddr = "127.0.0.1:5555"
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// want checks status and body; a body that ends in … is a prefix.
func want(t *testing.T, w *httptest.ResponseRecorder, status int, body string) {
	t.Helper()
	got := strings.TrimSuffix(w.Body.String(), "\n")
	prefix, isPrefix := strings.CutSuffix(body, "…")
	if w.Code != status || isPrefix && !strings.HasPrefix(got, prefix) || !isPrefix && got != body {
		t.Errorf("got %d %s\nwant %d %s", w.Code, got, status, body)
	}
}
