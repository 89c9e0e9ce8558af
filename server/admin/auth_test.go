package admin

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

func TestEveryRouteAsksForItsRole(t *testing.T) {
	s := newTestServer(t, &fakeNode{})
	opens := map[string]map[role]bool{
		"publish-key": {rolePublish: true},
		"read-key":    {roleRead: true},
		"admin-key":   {rolePublish: true, roleRead: true, roleAdmin: true},
	}
	for name, route := range apiRoutes {
		request := route.method + " " + apiPrefix + name
		for key, roles := range opens {
			got := do(s, request, key, "{").Code
			if refused := got == 403; refused == roles[route.role] || got == 401 {
				t.Errorf("%s with the %s: status %d", request, key, got)
			}
		}
		for _, key := range []string{"", "wrong", "admin-ke", "admin-keyy", "ADMIN-KEY"} {
			if got := do(s, request, key, "{").Code; got != 401 {
				t.Errorf("%s with key %q: status %d, want 401", request, key, got)
			}
		}
	}
}

func TestRolesAreTheDesigns(t *testing.T) {
	want := map[string]role{"group_send": rolePublish,
		"group_add": roleAdmin, "group_discard": roleAdmin, "disconnect": roleAdmin, "revalidate": roleAdmin, "drain": roleAdmin, "reload": roleAdmin,
		"groups": roleRead, "connections": roleRead, "nodes": roleRead, "info": roleRead, "presence": roleRead, "history": roleRead, "explain": roleRead}
	if len(want) != len(apiRoutes) {
		t.Errorf("there are %d routes, want %d", len(apiRoutes), len(want))
	}
	for name, role := range want {
		r := apiRoutes[name]
		if r.role != role || (r.method == http.MethodGet) != (role == roleRead && name != "explain") { // a credential has no place in an address
			t.Errorf("%s asks for %s by %s, want %s", name, r.role, r.method, role)
		}
	}
}

func TestAuthorizationHeader(t *testing.T) {
	s := newTestServer(t, &fakeNode{})
	for header, status := range map[string]int{
		"Bearer read-key":   200,
		"bearer  read-key ": 200,
		"Bearer":            401,
		"Bearer ":           401,
		"Token read-key":    401,
		"read-key":          401,
		"Basic cmVhZC1rZXk": 401,
	} {
		w := do(s, "GET /api/v1/info", "", "", func(r *http.Request) { r.Header.Set("Authorization", header) })
		if w.Code != status {
			t.Errorf("%q: status %d, want %d", header, w.Code, status)
		}
		if status == 401 && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%q: no WWW-Authenticate", header)
		}
	}
}

func TestWithoutKeysTheAnswerIsAdvice(t *testing.T) {
	s := newTestServer(t, &fakeNode{}, withoutKeys)
	want(t, do(s, "GET /api/v1/info", "anything", ""), 401,
		`{"error":{"code":"unauthorized","message":"no admin key is configured: add [[admin.keys]] with key and role to config.toml"}}`)
}

func TestDevWithoutKeysAnswersThisMachineOnly(t *testing.T) {
	s := newTestServer(t, &fakeNode{}, inDev)
	for _, tt := range []struct {
		host, remote string
		status       int
	}{
		{"127.0.0.1:8081", "127.0.0.1:5", 200},
		{"localhost:8081", "[::1]:5", 200},
		{"[::1]:8081", "127.0.0.1:5", 200},
		{"[::1]", "127.0.0.1:5", 200},
		{"evil.example:8081", "127.0.0.1:5", 403}, // DNS rebinding
		{"127.0.0.1.evil.example", "127.0.0.1:5", 403},
		{"", "127.0.0.1:5", 403},
		{"127.0.0.1:8081", "10.0.0.9:5", 403},
	} {
		w := do(s, "GET /api/v1/info", "", "", func(r *http.Request) { r.Host, r.RemoteAddr = tt.host, tt.remote })
		if w.Code != tt.status {
			t.Errorf("host %q from %s: status %d, want %d", tt.host, tt.remote, w.Code, tt.status)
		}
	}
}

func TestDevWithKeysAsksForThem(t *testing.T) {
	s := newTestServer(t, &fakeNode{}, func(_ *Options, d *Deps) { d.Dev = true })
	if w := do(s, "GET /api/v1/info", "", ""); w.Code != 401 {
		t.Errorf("status %d, want 401", w.Code)
	}
}

func TestPagesOfOtherSitesCannotPost(t *testing.T) {
	n := &fakeNode{}
	s := newTestServer(t, n, inDev)
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
		w := do(s, "POST /api/v1/drain", "", "", func(r *http.Request) { r.Header.Set(header, value) })
		want(t, w, 403, `{"error":{"code":"forbidden","message":"requests from pages of other sites are refused"}}`)
	}
	if n.drained != 0 {
		t.Error("the node drained")
	}
}

func TestSetKeysReplacesThem(t *testing.T) {
	s := newTestServer(t, &fakeNode{})
	if err := s.SetKeys([]Key{{Key: "new", Role: "boss"}}); err == nil {
		t.Error("SetKeys took an unknown role")
	}
	if w := do(s, "GET /api/v1/info", "read-key", ""); w.Code != 200 {
		t.Errorf("after a bad SetKeys the old key: status %d", w.Code)
	}
	if err := s.SetKeys([]Key{{Key: "new", Role: "read"}}); err != nil {
		t.Fatal(err)
	}
	if w := do(s, "GET /api/v1/info", "read-key", ""); w.Code != 401 {
		t.Errorf("the old key: status %d", w.Code)
	}
	if w := do(s, "GET /api/v1/info", "new", ""); w.Code != 200 {
		t.Errorf("the new key: status %d", w.Code)
	}
}

func TestLogsNameTheKeyNeverShowIt(t *testing.T) {
	var log bytes.Buffer
	s := newTestServer(t, &fakeNode{}, func(_ *Options, d *Deps) { d.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	do(s, "POST /api/v1/revalidate", "admin-key", `{"user":"42"}`)
	do(s, "POST /api/v1/revalidate", "publish-key", `{"user":"42"}`)
	do(s, "POST /api/v1/revalidate", "guessed-key", `{"user":"42"}`)
	if got := log.String(); strings.Contains(got, "-key") || !strings.Contains(got, "key=admin") || strings.Count(got, "refused") != 2 {
		t.Errorf("log: %s", got)
	}
}
