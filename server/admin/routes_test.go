package admin

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestGroupSend(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       GroupSend
	}{
		{"JSON byte for byte", `{"group":"chat.7","data": {"b" : 1.0,"a":"<\u00e9>\/"} }`, GroupSend{Groups: []string{"chat.7"}, Data: []byte(`{"b" : 1.0,"a":"<\u00e9>\/"}`), Format: "json"}},
		{"null", `{"group":"a","data":null,"format":"json"}`, GroupSend{Groups: []string{"a"}, Data: []byte(`null`), Format: "json"}},
		{"several groups", `{"groups":["a","b"],"data":1}`, GroupSend{Groups: []string{"a", "b"}, Data: []byte(`1`), Format: "json"}},
		{"text", `{"group":"a","data":"<h1>\u00e9","format":"text"}`, GroupSend{Groups: []string{"a"}, Data: []byte("<h1>é"), Format: "text"}},
		{"binary", `{"group":"a","data":"AAH/","format":"binary"}`, GroupSend{Groups: []string{"a"}, Data: []byte{0, 1, 255}, Format: "binary"}},
		{"msgpack", `{"group":"a","data":"gaFhAQ==","format":"msgpack"}`, GroupSend{Groups: []string{"a"}, Data: []byte{0x81, 0xa1, 'a', 1}, Format: "msgpack"}},
		{"all fields", `{"group":"a","data":1,"exclude":["c1","c2"],"msg_id":"m"}`, GroupSend{Groups: []string{"a"}, Data: []byte(`1`), Format: "json", Exclude: []string{"c1", "c2"}, MsgID: "m"}},
		{"one conn to exclude", `{"group":"a","data":1,"exclude":"c1"}`, GroupSend{Groups: []string{"a"}, Data: []byte(`1`), Format: "json", Exclude: []string{"c1"}}},
		{"nulls as absent", `{"group":"a","data":1,"exclude":null,"msg_id":null,"format":null}`, GroupSend{Groups: []string{"a"}, Data: []byte(`1`), Format: "json"}},
	} {
		n := &fakeNode{}
		w := do(newTestServer(t, n), "POST /api/v1/group_send", "publish-key", tt.body)
		want(t, w, 200, `{"ok":true}`)
		if len(n.sent) != 1 {
			t.Errorf("%s: %d messages", tt.name, len(n.sent))
			continue
		}
		got := n.sent[0]
		if strings.Join(got.Groups, " ") != strings.Join(tt.want.Groups, " ") || string(got.Data) != string(tt.want.Data) || got.Format != tt.want.Format ||
			strings.Join(got.Exclude, " ") != strings.Join(tt.want.Exclude, " ") || got.MsgID != tt.want.MsgID {
			t.Errorf("%s: got %+v, want %+v", tt.name, *got, tt.want)
		}
	}
}

func TestGroupSendAnswersTheSequenceOfADurableGroup(t *testing.T) {
	w := do(newTestServer(t, &fakeNode{seq: 46}), "POST /api/v1/group_send", "publish-key", `{"group":"a","data":1}`)
	want(t, w, 200, `{"ok":true,"seq":46}`)
}

func TestGroupSendRefusesBadBodies(t *testing.T) {
	n := &fakeNode{}
	s := newTestServer(t, n)
	for _, tt := range []struct{ body, message string }{
		{``, "the body is not a JSON object…"},
		{`[]`, "the body is not a JSON object…"},
		{`{`, "the body is not JSON: it ends too early"},
		{`{"group":"a","data":}`, "the body is not JSON: …"},
		{`{"group":"a","data":1`, "the body is not JSON: it ends too early"},
		{`{"group":"a","data":1}}`, "there is something behind…"},
		{`{"group":"a","data":1} x`, "there is something behind…"},
		{"{\"group\":\"a\",\"data\":\"\xff\"}", "the body is not UTF-8"},
		{`{"group":"a","data":1,"grup":"b"}`, `unknown field \"grup\"; there are group, groups, data, format, exclude, msg_id`},
		{`{"Group":"a","data":1}`, `unknown field \"Group\"…`},
		{`{"group":"a","data":1,"data":2}`, `field \"data\" is there twice`},
		{`{"data":1}`, `field \"group\" is missing`},
		{`{"group":"","data":1}`, `field \"group\" is missing`},
		{`{"group":7,"data":1}`, `field \"group\" must be a string, not a number: quote it`},
		{`{"group":["a"],"data":1}`, `field \"group\" must be a string, not a list`},
		{`{"group":"a","groups":["b"],"data":1}`, "give only one of group, groups"},
		{`{"groups":[],"data":1}`, `field \"groups\" is empty`},
		{`{"groups":[1],"data":1}`, `field \"groups\" must be a list of strings`},
		{`{"group":"a"}`, `field \"data\" is missing; to send nothing, send null`},
		{`{"group":"a","data":1,"format":"xml"}`, `format \"xml\" is unknown…`},
		{`{"group":"a","data":1,"format":"text"}`, `with format \"text\", data must be a string`},
		{`{"group":"a","data":"*","format":"binary"}`, `with format \"binary\", data must be a string of base64 (with padding)`},
		{`{"group":"a","data":{},"format":"msgpack"}`, `with format \"msgpack\", data…`},
		{`{"group":"a","data":1,"exclude":[1]}`, `field \"exclude\" must be a list of strings`},
		{`{"group":"a","data":1,"exclude":["c1,c2"]}`, `field \"exclude\": \"c1,c2\" is no conn id`},
		{`{"group":"a","data":1,"exclude":["a\nb"]}`, `field \"exclude\"…`},
		{`{"group":"a","data":1,"exclude":[""]}`, `field \"exclude\"…`},
		{`{"group":"a","data":1,"msg_id":true}`, `field \"msg_id\" must be a string, not true or false`},
		{`{"group":"a","data":1,"msg_id":"` + strings.Repeat("m", 257) + `"}`, `field \"msg_id\" has 257 bytes, at most 256`},
	} {
		want(t, do(s, "POST /api/v1/group_send", "publish-key", tt.body), 400, `{"error":{"code":"bad_request","message":"`+ended(tt.message))
	}
	want(t, do(s, "POST /api/v1/group_send", "publish-key", `{"groups":["a"`+strings.Repeat(`,"a"`, 1000)+`],"data":1}`), 413, `{"error":{"code":"too_large","message":"at most 1000 groups in one group_send"}}`)
	if len(n.sent) > 0 {
		t.Errorf("the node got %+v", *n.sent[0])
	}
}

// ended completes the JSON of an error whose message is given whole; a message that ends in … stays open.
func ended(message string) string {
	if strings.HasSuffix(message, "…") {
		return message
	}
	return message + `"}}`
}

func TestBodyLimit(t *testing.T) {
	body := `{"group":"a","data":"` + strings.Repeat("x", 1000) + `"}`
	small := func(o *Options, _ *Deps) { o.BodyBytes = 1000 }
	want(t, do(newTestServer(t, &fakeNode{}, small), "POST /api/v1/group_send", "publish-key", body), 413,
		`{"error":{"code":"too_large","message":"the body is larger than admin.body_bytes = 1000"}}`)
	none := func(o *Options, _ *Deps) { o.BodyBytes = 0 }
	want(t, do(newTestServer(t, &fakeNode{}, none), "POST /api/v1/group_send", "publish-key", body), 200, `{"ok":true}`)
}

func TestNodeErrorsBecomeStatus(t *testing.T) {
	for code, status := range statusOf {
		w := do(newTestServer(t, &fakeNode{sendErr: &Error{code, "why"}}), "POST /api/v1/group_send", "publish-key", `{"group":"a","data":1}`)
		want(t, w, status, `{"error":{"code":"`+code+`","message":"why"}}`)
		if retry := w.Header().Get("Retry-After") != ""; retry != (status == 503 || status == 429) {
			t.Errorf("%s: Retry-After %v", code, retry)
		}
	}
	w := do(newTestServer(t, &fakeNode{sendErr: errBoom}), "POST /api/v1/group_send", "publish-key", `{"group":"a","data":1}`)
	want(t, w, 500, `{"error":{"code":"internal","message":"the node could not do this; its log says why"}}`)
}

func TestCalls(t *testing.T) {
	session := strings.Repeat("0f", 32)
	for _, tt := range []struct{ verb, body, message string }{ // message "" = accepted
		{"group_add", `{"group":"a","conn":"c1"}`, ""},
		{"group_add", `{"group":"a","user":"42"}`, ""},
		{"group_add", `{"group":"a"}`, "give one of conn, user"},
		{"group_add", `{"group":"a","conn":"c1","user":"42"}`, "give only one of conn, user"},
		{"group_add", `{"user":"42"}`, `field \"group\" is missing`},
		{"group_add", `{"group":"a","user":42}`, `field \"user\" must be a string, not a number: quote it`},
		{"group_discard", `{"group":"a","user":"42"}`, ""},
		{"group_discard", `{"group":"a","session":"x"}`, `unknown field \"session\"; there are group, conn, user`},
		{"disconnect", `{"conn":"c1"}`, ""},
		{"disconnect", `{"user":"42","code":4410,"reason":"moderated"}`, ""},
		{"disconnect", `{"session":"` + session + `","code":4401}`, ""},
		{"disconnect", `{"user":"42","code":null,"reason":null}`, ""},
		{"disconnect", `{}`, "give one of conn, user, session"},
		{"disconnect", `{"session":"abc"}`, `field \"session\" must be the hex SHA-256 of the session key, 64 digits`},
		{"disconnect", `{"user":"42","code":1000}`, `field \"code\" must be a close code from 3000 to 4999`},
		{"disconnect", `{"user":"42","code":"4401"}`, `field \"code\"…`},
		{"disconnect", `{"user":"42","code":4401.0}`, `field \"code\"…`},
		{"disconnect", `{"user":"42","reason":"` + strings.Repeat("é", 62) + `"}`, `field \"reason\" has 124 bytes, a close frame holds 123`},
		{"revalidate", `{"user":"42"}`, ""},
		{"revalidate", `{"users":["42","43"]}`, ""},
		{"revalidate", `{"users":[]}`, `field \"users\" has 0 users; give 1 to 1000`},
		{"revalidate", `{"users":["42",""]}`, `field \"users\" has a user without an id`},
		{"revalidate", `{"users":[42]}`, `field \"users\" must be a list of strings`},
		{"revalidate", `{"user":"42","users":["43"]}`, `give only one of user, users`},
		{"revalidate", `{}`, `field \"user\" is missing`},
		{"revalidate", `{"user":"42","code":4401}`, `unknown field \"code\"; there are user, users`},
	} {
		n := &fakeNode{}
		w := do(newTestServer(t, n), "POST /api/v1/"+tt.verb, "admin-key", tt.body)
		if tt.message != "" {
			want(t, w, 400, `{"error":{"code":"bad_request","message":"`+ended(tt.message))
			continue
		}
		want(t, w, 200, `{"ok":true,"conns":2}`)
		if len(n.calls) != 1 || n.calls[0] != tt.verb+" "+tt.body {
			t.Errorf("the node was asked %q", n.calls)
		}
	}
	if err := CheckCall("drop_tables", []byte(`{}`)); err == nil {
		t.Error("CheckCall accepts any verb")
	}
}

func TestAnswersOfCalls(t *testing.T) {
	for _, tt := range []struct {
		answer string
		status int
		want   string
	}{
		{`{"ok":true,"conns":0}`, 200, `{"ok":true,"conns":0}`},
		{`{"ok":false,"code":"timeout","message":"a node was silent"}`, 504, `{"error":{"code":"timeout","message":"a node was silent"}}`},
		{`{"ok":false,"code":"brand_new","message":"x"}`, 400, `{"error":{"code":"brand_new","message":"x"}}`},
		{`{"ok":false}`, 500, `{"error":{"code":"internal"…`},
		{`oops`, 500, `{"error":{"code":"internal"…`},
	} {
		w := do(newTestServer(t, &fakeNode{answer: tt.answer}), "POST /api/v1/revalidate", "admin-key", `{"user":"42"}`)
		want(t, w, tt.status, tt.want)
	}
}

func TestGets(t *testing.T) {
	n := &fakeNode{}
	s := newTestServer(t, n)
	want(t, do(s, "GET /api/v1/groups", "read-key", ""), 200, `{"groups":[{"group":"chat.7","members":2}]}`)
	want(t, do(s, "GET /api/v1/nodes", "read-key", ""), 200, `{"nodes":[{"name":"n1"}]}`)
	want(t, do(s, "GET /api/v1/info", "read-key", ""), 200, `{"node":"n1"}`)
	want(t, do(s, "GET /api/v1/connections", "read-key", ""), 200, `{"connections":[{"conn":"c1","user":""}]}`)
	want(t, do(s, "GET /api/v1/connections?user=a%40b.c", "read-key", ""), 200, `{"connections":[{"conn":"c1","user":"a@b.c"}]}`)
	want(t, do(s, "POST /api/v1/explain", "admin-key", `{"group":"chat.7","token":"t"}`), 200, `{"logins":[{"Group":"chat.7","Conn":"","User":"","Cookie":"","Token":"t"}]}`)
	want(t, do(s, "POST /api/v1/explain", "read-key", `{"group":"chat.7","user":"1"}`), 200, `{"logins":[{"Group":"chat.7","Conn":"","User":"1","Cookie":"","Token":""}]}`)
	for _, credential := range []string{`"token":"t"`, `"cookie":"a=b"`} {
		want(t, do(s, "POST /api/v1/explain", "read-key", `{"group":"chat.7",`+credential+`}`), 403, `{"error":{"code":"forbidden"…`)
	}
	want(t, do(s, "POST /api/v1/explain", "admin-key", `{"group":"chat.7","cookie":"abc"}`), 400, `{"error":{"code":"bad_request","message":"cookie is a Cookie header, name=value: such as \"sessionid=…\""}}`)
	want(t, do(s, "POST /api/v1/explain", "read-key", `{"group":"chat.7"}`), 400, `{"error":{"code":"bad_request","message":"give one of conn, user, cookie, token"}}`)
	want(t, do(s, "POST /api/v1/explain", "read-key", `{"group":"chat.7","user":"1","cookie":"a=b"}`), 400, `{"error":{"code":"bad_request","message":"give only one of conn, user, cookie, token"}}`)
	want(t, do(s, "POST /api/v1/explain", "read-key", `{"user":"1"}`), 400, `{"error":{"code":"bad_request","message":"field \"group\" is missing"}}`)
	want(t, do(s, "GET /api/v1/connections?usr=42", "read-key", ""), 400, `{"error":{"code":"bad_request","message":"unknown parameter \"usr\""}}`)
	want(t, do(s, "GET /api/v1/connections?user=1&user=2", "read-key", ""), 400, `{"error":{"code":"bad_request","message":"parameter \"user\" is there twice"}}`)
	want(t, do(s, "GET /api/v1/connections?user=%zz", "read-key", ""), 400, `{"error":{"code":"bad_request","message":"the query is malformed…`)
	for _, name := range []string{"groups", "nodes", "info"} {
		want(t, do(s, "GET /api/v1/"+name+"?x=1", "read-key", ""), 400, `{"error":{"code":"bad_request"…`)
	}
	n.listErr = &Error{CodeTimeout, "node n2 did not answer"}
	for _, name := range []string{"groups", "nodes", "info", "connections"} {
		want(t, do(s, "GET /api/v1/"+name, "read-key", ""), 504, `{"error":{"code":"timeout","message":"node n2 did not answer"}}`)
	}
	for _, call := range []string{"presence?group=a", "history?group=a&limit=5"} {
		want(t, do(s, "GET /api/v1/"+call, "read-key", ""), 503, `{"error":{"code":"unavailable"…`)
	}
}

func TestDrainAndReload(t *testing.T) {
	n := &fakeNode{}
	var reloadErr error
	s := newTestServer(t, n, func(_ *Options, d *Deps) { d.Reload = func(context.Context) error { return reloadErr } })
	want(t, do(s, "POST /api/v1/drain", "admin-key", ""), 200, `{"ok":true}`)
	want(t, do(s, "POST /api/v1/drain", "admin-key", "{}"), 200, `{"ok":true}`)
	want(t, do(s, "POST /api/v1/drain", "admin-key", `{"now":true}`), 400, `{"error":{"code":"bad_request","message":"this call takes no fields"}}`)
	if n.drained != 2 {
		t.Errorf("drained %d times, want 2", n.drained)
	}
	want(t, do(s, "POST /api/v1/reload", "admin-key", ""), 200, `{"ok":true}`)
	reloadErr = errors.New(`unknown key "brokr" at config.toml:12`)
	want(t, do(s, "POST /api/v1/reload", "admin-key", ""), 400, `{"error":{"code":"bad_request","message":"nothing was changed: unknown key \"brokr\" at config.toml:12"}}`)
	s = newTestServer(t, n, func(_ *Options, d *Deps) { d.Reload = nil })
	want(t, do(s, "POST /api/v1/reload", "admin-key", ""), 503, `{"error":{"code":"unavailable"…`)
}

func TestMethodsAndPaths(t *testing.T) {
	s := newTestServer(t, &fakeNode{})
	for _, tt := range []struct {
		request string
		status  int
		allow   string
	}{
		{"GET /api/v1/group_send", 405, "POST"},
		{"PUT /api/v1/group_send", 405, "POST"},
		{"OPTIONS /api/v1/group_send", 405, "POST"},
		{"POST /api/v1/groups", 405, "GET, HEAD"},
		{"HEAD /api/v1/groups", 200, ""},
		{"POST /healthz", 405, "GET, HEAD"},
		{"HEAD /healthz", 200, ""},
		{"DELETE /", 405, "GET, HEAD"},
		{"GET /api/v1/", 404, ""},
		{"GET /api/v1/groups/", 404, ""},
		{"GET /api/v2/groups", 404, ""},
		{"GET /debug/pprof/", 404, ""},
		{"GET /favicon.ico", 404, ""},
	} {
		w := do(s, tt.request, "admin-key", "")
		if w.Code != tt.status || w.Header().Get("Allow") != tt.allow {
			t.Errorf("%s: %d, Allow %q, want %d, %q", tt.request, w.Code, w.Header().Get("Allow"), tt.status, tt.allow)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: there must be no CORS", tt.request)
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	n := &fakeNode{}
	s := newTestServer(t, n, withoutKeys)
	want(t, do(s, "GET /healthz", "", ""), 200, "ok")
	want(t, do(s, "GET /readyz", "", ""), 200, "ok")
	n.notReady = errors.New("draining")
	want(t, do(s, "GET /readyz", "", ""), 503, "draining")
	want(t, do(s, "GET /healthz", "", ""), 200, "ok")
}

func TestPageMayLoadNothing(t *testing.T) {
	s := newTestServer(t, &fakeNode{}, withoutKeys)
	w := do(s, "GET /", "", "")
	want(t, w, 200, "<!doctype html>…")
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("Content-Security-Policy: %s", policy)
	}
	for _, tag := range []string{"<style", "<script"} {
		if strings.Count(w.Body.String(), tag) != 1 {
			t.Errorf("the page needs exactly one %s> for its hash", tag)
		}
	}
	for _, bad := range []string{"http://", "https://", "src=", "href=", "onclick", "innerHTML", "style="} {
		if strings.Contains(w.Body.String(), bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
}

func TestSecurityHeadersEverywhere(t *testing.T) {
	s := newTestServer(t, &fakeNode{})
	for _, request := range []string{"GET /", "GET /healthz", "GET /metrics", "GET /nothing", "GET /api/v1/info", "POST /api/v1/group_send"} {
		h := do(s, request, "", "").Header()
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
			if h.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", request, name, h.Get(name), value)
			}
		}
		if h.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: no Content-Security-Policy", request)
		}
	}
}

func FuzzGroupSendBody(f *testing.F) {
	f.Add([]byte(`{"group":"chat.7","data":{"a":[1,"x"]},"exclude":["c1"],"msg_id":"m"}`))
	f.Add([]byte(`{"groups":["a","b"],"data":"AAH/","format":"binary"}`))
	f.Add([]byte(`{"group":"a","data":1,"data":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := decodeGroupSend(body)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		if len(m.Groups) == 0 || m.Format == "" || m.Format == "json" && !strings.Contains(string(body), string(m.Data)) {
			t.Errorf("decodeGroupSend(%q) = %+v", body, m)
		}
	})
}

func FuzzCallBody(f *testing.F) {
	f.Add("disconnect", []byte(`{"user":"42","code":4410,"reason":"x"}`))
	f.Add("group_add", []byte(`{"group":"a","conn":"c1"}`))
	f.Add("revalidate", []byte(`{"user":"42"}`))
	f.Add("revalidate", []byte(`{"users":["42","43"]}`))
	f.Fuzz(func(t *testing.T, verb string, body []byte) {
		var e *Error
		if err := CheckCall(verb, body); err != nil && !errors.As(err, &e) {
			t.Errorf("CheckCall(%q, %q) = %v, no *Error", verb, body, err)
		}
	})
}
