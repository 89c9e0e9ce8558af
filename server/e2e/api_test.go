package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/nats-io/nats.go"
)

// TestAPI: the calls of the HTTP API, made at one node, about conns of another.
func TestAPI(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, nil)
	a, b := nodes[0], nodes[1]
	s := dialUser(t, b, "kim")
	second := dialUser(t, b, "kim")
	app := service(t, a)

	post := func(path string, body any, status int) map[string]any {
		t.Helper()
		got, answer := a.call(adminKey, "POST", "/api/v1/"+path, body)
		if got != status {
			t.Fatalf("%s %v: %d %v, want %d", path, body, got, answer, status)
		}
		return answer
	}
	// group_send: to one, to many, in every format, with exclusions.
	s.add("room.1")
	second.add("room.1")
	second.add("room.2")
	post("group_send", map[string]any{"groups": []string{"room.1", "room.2"}, "data": map[string]any{"n": 1}}, 200)
	s.wantData("room.1", map[string]any{"n": 1})
	second.wantData("room.1", map[string]any{"n": 1})
	second.wantData("room.2", map[string]any{"n": 1})
	post("group_send", map[string]any{"group": "room.1", "data": "AAEC", "format": "binary", "exclude": []string{second.conID}}, 200)
	if m := s.wantData("room.1", "AAEC"); m.str("format") != "binary" {
		t.Errorf("got %v, want format binary", m)
	}
	post("group_send", map[string]any{"group": "room.1", "data": "plain ü", "format": "text"}, 200)
	s.wantData("room.1", "plain ü")
	second.wantData("room.1", "plain ü")
	post("group_send", `{"group":"room.1","data":{"z":1.0,  "a":[ ]}}`, 200)
	s.message("room.1")
	second.message("room.1")

	// The backend puts conns into groups that no grant covers, and takes them out.
	if answer := post("group_add", map[string]any{"group": "secret", "conn": s.conID}, 200); answer["conns"] != 1.0 {
		t.Errorf("group_add of a conn answered %v, want 1 conn", answer)
	}
	if m := s.must("group_added"); m.str("group") != "secret" {
		t.Errorf("got %v", m)
	}
	a.groupSend("secret", "psst")
	s.wantData("secret", "psst")
	if answer := post("group_add", map[string]any{"group": "secret", "user": "kim"}, 200); answer["conns"] != 2.0 {
		t.Errorf("group_add of a user answered %v, want 2 conns", answer)
	}
	second.must("group_added")
	post("revalidate", map[string]any{"user": "kim"}, 200)
	a.groupSend("secret", "survives revalidation")
	s.wantData("secret", "survives revalidation")
	second.wantData("secret", "survives revalidation")
	post("group_discard", map[string]any{"group": "secret", "user": "kim"}, 200)
	s.must("group_discarded")
	second.must("group_discarded")
	a.groupSend("secret", "too late")
	s.quiet()
	second.quiet()

	// Lists, from the other node.
	for path, key := range map[string]string{"groups": "groups", "connections?user=kim": "connections", "nodes": "nodes"} {
		status, answer := a.call(readKey, "GET", "/api/v1/"+path, nil)
		list, _ := answer[key].([]any)
		if status != 200 || len(list) < 2 {
			t.Errorf("GET %s: %d %v, want a list %q", path, status, answer, key)
		}
	}
	if status, answer := a.call(readKey, "GET", "/api/v1/info", nil); status != 200 || answer["node"] != "a" {
		t.Errorf("GET info: %d %v", status, answer)
	}
	for _, path := range []string{"presence?group=room.1", "history?group=room.1&limit=5"} {
		if status, answer := a.call(readKey, "GET", "/api/v1/"+path, nil); status != 503 || apiCode(answer) != "unavailable" {
			t.Errorf("GET %s: %d %v, want 503 until it exists", path, status, answer)
		}
	}

	// The same verbs through NATS.
	if answer := ingress(t, app, "gc.ctl.group_add", fmt.Appendf(nil, `{"group":"secret","conn":%q}`, s.conID)); answer["ok"] != true || answer["conns"] != 1.0 {
		t.Errorf("gc.ctl.group_add answered %v", answer)
	}
	s.must("group_added")
	if answer := ingress(t, app, "gc.ctl.group_discard", fmt.Appendf(nil, `{"group":"secret","conn":%q}`, s.conID)); answer["ok"] != true {
		t.Errorf("gc.ctl.group_discard answered %v", answer)
	}
	s.must("group_discarded")
	if answer := ingress(t, app, "gc.ctl.disconnect", []byte(`{"nobody":1}`)); apiCode(answer) != "bad_request" {
		t.Errorf("gc.ctl.disconnect of nothing answered %v, want bad_request", answer)
	}

	// disconnect: a conn with a code of the backend's own, then all of a user.
	if answer := post("disconnect", map[string]any{"conn": second.conID, "code": 4999, "reason": "bye ü"}, 200); answer["conns"] != 1.0 {
		t.Errorf("disconnect answered %v, want 1 conn", answer)
	}
	if c := second.wantClosed(4999); c.Reason != "bye ü" {
		t.Errorf("closed with %v, want the reason given", c)
	}
	kim := native(t, a, "kim", token(t, "kim"), nats.ClosedHandler(func(*nats.Conn) {}))
	post("disconnect", map[string]any{"user": "kim"}, 200)
	s.wantClosed(4410)
	eventually(t, patience, func() string { return "the user's NATS connection lives on" }, kim.IsClosed)

	// Refusals.
	for _, c := range []struct {
		key, method, path string
		body              any
		status            int
		code              string
	}{
		{"", "POST", "group_send", `{}`, 401, "unauthorized"},
		{"wrong", "POST", "group_send", `{}`, 401, "unauthorized"},
		{readKey, "POST", "group_send", `{"group":"x","data":1}`, 403, "forbidden"},
		{publishKey, "POST", "disconnect", `{"user":"kim"}`, 403, "forbidden"},
		{publishKey, "GET", "nodes", nil, 403, "forbidden"},
		{publishKey, "POST", "group_send", `{"group":"x"}`, 400, "bad_request"},
		{publishKey, "POST", "group_send", `{"group":"x","data":}`, 400, "bad_request"},
		{publishKey, "POST", "group_send", `{"group":"room.>","data":1}`, 400, "bad_group"},
		{publishKey, "POST", "group_send", `{"group":"a b","data":1}`, 400, "bad_group"},
		{publishKey, "POST", "group_send", `{"group":"x","data":"%%","format":"binary"}`, 400, "bad_request"},
		{publishKey, "POST", "group_send", `{"group":"x","data":1,"grupe":1}`, 400, "bad_request"},
		{adminKey, "POST", "disconnect", `{"user":"kim","code":1000}`, 400, "bad_request"},
		{adminKey, "POST", "group_add", `{"group":"x y","user":"kim"}`, 400, "bad_group"},
		{adminKey, "GET", "nothing", nil, 404, "not_found"},
		{adminKey, "GET", "disconnect", nil, 405, "method_not_allowed"},
	} {
		status, answer := a.call(c.key, c.method, "/api/v1/"+c.path, c.body)
		if status != c.status || apiCode(answer) != c.code {
			t.Errorf("%s %s %v with key %q: %d %v, want %d %s", c.method, c.path, c.body, c.key, status, answer, c.status, c.code)
		}
	}
	if status, _, err := a.get("/healthz"); err != nil || status != http.StatusOK {
		t.Errorf("/healthz: %d %v", status, err)
	}
}

// TestIngress: what services may say, and how it is answered.
func TestIngress(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, nil)
	app := service(t, nodes[0])
	s, other := dialUser(t, nodes[1], "kim"), dialUser(t, nodes[0], "lee")
	s.add("chat.1")
	other.add("chat.1")
	// Formats, exclusion, who sent it.
	if a := ingress(t, app, "gc.in.chat.1", []byte(`{"a": [1, 2]}`), "Gc-From: 42"); a["ok"] != true {
		t.Fatalf("answered %v", a)
	}
	if m := s.wantData("chat.1", map[string]any{"a": []int{1, 2}}); m.str("from") != "42" {
		t.Errorf("got %v, want from 42", m)
	}
	other.message("chat.1")
	if a := ingress(t, app, "gc.in.chat.1", []byte{0xff, 0}, "Gc-Format: binary", "Gc-Exclude: "+other.conID); a["ok"] != true {
		t.Fatalf("answered %v", a)
	}
	s.wantData("chat.1", "/wA=")
	if a := ingress(t, app, "gc.in.chat.1", []byte("héllo"), "Gc-Format: text"); a["ok"] != true {
		t.Fatalf("answered %v", a)
	}
	s.wantData("chat.1", "héllo")
	other.wantData("chat.1", "héllo")
	if a := ingress(t, app, "gc.in.chat.1", []byte("\x81\xa1a\x93\x01\xc3\xc4\x01\xff"), "Gc-Format: msgpack"); a["ok"] != true {
		t.Fatalf("answered %v", a)
	}
	s.wantData("chat.1", map[string]any{"a": []any{1, true, "/w=="}})
	other.message("chat.1")
	// An escaped name.
	if a := ingress(t, app, "gc.in.user.a=252Eb=2540x=252Ecom", []byte(`1`)); a["ok"] != true {
		t.Fatalf("answered %v", a)
	}
	for _, bad := range []struct {
		subject string
		body    string
		header  string
		code    string
	}{
		{"gc.in.chat.1", `{"a":`, "X: y", "bad_request"},
		{"gc.in.chat.1", ``, "X: y", "bad_request"},
		{"gc.in.chat.1", "\xff", "Gc-Format: text", "bad_request"},
		{"gc.in.chat.1", "1", "Gc-Format: yaml", "bad_request"},
		{"gc.in.chat.1", "\xc1", "Gc-Format: msgpack", "bad_request"},
		{"gc.in.chat=2", `1`, "X: y", "bad_group"},
		{"gc.in.chat=2a", `1`, "X: y", "bad_group"},
		{"gc.in.chat=20x", `1`, "X: y", "bad_group"},
	} {
		if a := ingress(t, app, bad.subject, []byte(bad.body), bad.header); a["ok"] != false || a["code"] != bad.code {
			t.Errorf("%s %q with %s answered %v, want %s", bad.subject, bad.body, bad.header, a, bad.code)
		}
	}
	s.quiet()
	other.quiet()
}
