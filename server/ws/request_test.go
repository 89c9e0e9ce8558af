package ws

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 §1.3

// handshake builds a header block; lines replace the default header with the same name, an empty value removes it.
func handshake(lines ...string) string {
	headers := []string{"Host: example.com", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: " + sampleKey, "Sec-WebSocket-Version: 13"}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ":")
		headers = slices.DeleteFunc(headers, func(h string) bool { return strings.HasPrefix(h, name+":") })
		if strings.TrimSpace(value) != "" {
			headers = append(headers, l)
		}
	}
	return "GET /ws HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
}

func reason(err error) string {
	var e *HTTPError
	if errors.As(err, &e) {
		return e.Reason
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestScan(t *testing.T) {
	block := handshake()
	tests := []struct {
		name   string
		in     string
		max    int
		n      int
		reason string
	}{
		{"whole block", block, 0, len(block), ""},
		{"frame behind the block stays", block + "\x81\x80abcd", 0, len(block), ""},
		{"nothing yet", "", 0, 0, ""},
		{"half a block", block[:40], 0, 0, ""},
		{"all but the last byte", block[:len(block)-1], 0, 0, ""},
		{"exactly at the limit", block, len(block), len(block), ""},
		{"one over the limit", block, len(block) - 1, 0, "header_too_large"},
		{"no line end", "GET /" + strings.Repeat("a", DefaultHeaderBytes), 0, 0, "header_too_large"},
		{"bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", 0, 0, "bare_lf"},
		{"LF first in a line", "GET / HTTP/1.1\r\n\nHost: a\r\n\r\n", 0, 0, "bare_lf"},
		{"empty line first", "\r\nGET / HTTP/1.1\r\n\r\n", 0, 0, "bad_request_line"},
		{"TLS hello", "\x16\x03\x01\x02\x00", 0, 0, "tls_on_plain_port"},
		{"binary", "\x00\x01", 0, 0, "bad_request_line"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := Scan([]byte(tt.in), tt.max)
			if n != tt.n || reason(err) != tt.reason {
				t.Errorf("Scan = %d, %q, want %d, %q", n, reason(err), tt.n, tt.reason)
			}
		})
	}
}

func TestScanOneByteAtATimeFindsTheSameEnd(t *testing.T) {
	block := []byte(handshake() + "rest")
	for i := range block {
		n, err := ScanFrom(block[:i+1], i, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			if want := len(block) - len("rest"); n != want || i+1 != n {
				t.Errorf("end %d found after %d bytes, want %d", n, i+1, want)
			}
			return
		}
	}
	t.Error("end never found")
}

func TestRequestIsRefused(t *testing.T) {
	get := "GET / HTTP/1.1\r\nHost: a\r\n"
	tests := []struct {
		name   string
		block  string
		reason string
		status int
	}{
		{"space before colon", handshake("Upgrade : websocket"), "space_before_colon", 400},
		{"tab before colon", handshake("X\t: 1"), "space_before_colon", 400},
		{"folded header", get + "X: a\r\n b\r\n\r\n", "folded_header", 400},
		{"folded with tab", get + "X: a\r\n\tb\r\n\r\n", "folded_header", 400},
		{"space before the first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded_header", 400},
		{"duplicate Host", get + "host: b\r\n\r\n", "duplicate_header", 400},
		{"duplicate Host, first empty", "GET / HTTP/1.1\r\nHost:\r\nHost: b\r\n\r\n", "duplicate_header", 400},
		{"duplicate key", get + "Sec-WebSocket-Key: a\r\nSec-Websocket-Key: a\r\n\r\n", "duplicate_header", 400},
		{"duplicate version", get + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n\r\n", "duplicate_header", 400},
		{"duplicate Origin", get + "Origin: http://a\r\nOrigin: http://b\r\n\r\n", "duplicate_header", 400},
		{"duplicate Authorization", get + "Authorization: a\r\nAuthorization: b\r\n\r\n", "duplicate_header", 400},
		{"bare LF", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "bare_lf", 400},
		{"bare CR in a value", get + "X: a\rb\r\n\r\n", "bare_cr", 400},
		{"bare CR in a name", get + "X\r: a\r\n\r\n", "bad_header_name", 400},
		{"NUL in a value", get + "X: a\x00b\r\n\r\n", "control_byte", 400},
		{"DEL in a value", get + "X: a\x7f\r\n\r\n", "control_byte", 400},
		{"escape in a cookie", get + "Cookie: a=\x1b[0m\r\n\r\n", "control_byte", 400},
		{"no colon", get + "nonsense\r\n\r\n", "bad_header_name", 400},
		{"empty name", get + ": a\r\n\r\n", "bad_header_name", 400},
		{"space in a name", get + "a b: c\r\n\r\n", "bad_header_name", 400},
		{"non-ASCII name", get + "é: c\r\n\r\n", "bad_header_name", 400},
		{"body", get + "Content-Length: 5\r\n\r\n", "body_refused", 400},
		{"signed length", get + "Content-Length: +0\r\n\r\n", "bad_content_length", 400},
		{"two lengths in one", get + "Content-Length: 0, 0\r\n\r\n", "bad_content_length", 400},
		{"empty length", get + "Content-Length:\r\n\r\n", "bad_content_length", 400},
		{"chunked", get + "Transfer-Encoding: chunked\r\n\r\n", "body_refused", 400},
		{"chunked in disguise", get + "Transfer-Encoding: identity\r\n\r\n", "body_refused", 400},
		{"POST", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed", 405},
		{"lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_allowed", 405},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", "http_version", 426},
		{"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\n", "http_version", 505},
		{"HTTP/0.9", "GET /\r\n\r\n", "bad_request_line", 400},
		{"no target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"two spaces", "GET / a HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line", 400},
		{"trailing space", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "bad_request_line", 400},
		{"tab for space", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line", 400},
		{"fragment", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"asterisk", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"authority form", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"other scheme", "GET file://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"absolute without path", "GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"absolute with another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "host_mismatch", 400},
		{"bad escape", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"half an escape", "GET /%a HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"broken UTF-8 in the path", "GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400},
		{"no Host", "GET / HTTP/1.1\r\nX: a\r\n\r\n", "missing_host", 400},
		{"empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", "missing_host", 400},
		{"path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "bad_host", 400},
		{"user in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "bad_host", 400},
		{"two hosts in one", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "bad_host", 400},
		{"Host with underscore twin only", "GET / HTTP/1.1\r\nHo_st: a\r\n\r\n", "missing_host", 400},
		{"101 headers", get + strings.Repeat("X: a\r\n", 100) + "\r\n", "too_many_headers", 431},
		{"too large", get + "X: " + strings.Repeat("a", DefaultHeaderBytes) + "\r\n\r\n", "header_too_large", 431},
		{"subprotocol with space", handshake("Sec-WebSocket-Protocol: a b"), "bad_subprotocol", 400},
		{"subprotocol with slash", handshake("Sec-WebSocket-Protocol: bearer.a/b="), "bad_subprotocol", 400},
		{"subprotocol that is not ASCII", handshake("Sec-WebSocket-Protocol: é"), "bad_subprotocol", 400},
		{"subprotocol twice", handshake("Sec-WebSocket-Protocol: a, a"), "duplicate_subprotocol", 400},
		{"33 subprotocols", handshake("Sec-WebSocket-Protocol: a" + numbered(32)), "too_many_subprotocols", 400},
		{"bytes behind the block", handshake() + "x", "bad_request_line", 400},
		{"no end", "GET / HTTP/1.1\r\nHost: a\r\n", "bad_request_line", 400},
		{"nothing", "", "bad_request_line", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseRequest([]byte(tt.block), Limits{})
			if reason(err) != tt.reason {
				t.Fatalf("ParseRequest = %+v, %q, want %q", r, reason(err), tt.reason)
			}
			if got := err.(*HTTPError).Status; got != tt.status {
				t.Errorf("status %d, want %d", got, tt.status)
			}
		})
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(", p" + string(rune('A'+i%26)) + string(rune('a'+i/26)))
	}
	return b.String()
}

func TestCheckUpgrade(t *testing.T) {
	tests := []struct {
		name   string
		block  string
		reason string
		status int
	}{
		{"browser", handshake(), "", 0},
		{"Firefox's Connection", handshake("Connection: keep-alive, Upgrade"), "", 0},
		{"other case", handshake("Upgrade: WebSocket", "Connection: upgrade"), "", 0},
		{"key of RFC 6455 §4.1 with stray bits", handshake("Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="), "", 0},
		{"empty body announced", handshake("Content-Length: 0"), "", 0},
		{"plain GET", handshake("Upgrade:"), "upgrade_required", 426},
		{"upgrade to h2c", handshake("Upgrade: h2c"), "upgrade_required", 426},
		{"Connection lost in a proxy", handshake("Connection: close"), "connection_not_upgrade", 400},
		{"no Connection", handshake("Connection:"), "connection_not_upgrade", 400},
		{"no version", handshake("Sec-WebSocket-Version:"), "bad_version", 426},
		{"version 8", handshake("Sec-WebSocket-Version: 8"), "bad_version", 426},
		{"two versions in one", handshake("Sec-WebSocket-Version: 13, 8"), "bad_version", 426},
		{"no key", handshake("Sec-WebSocket-Key:"), "missing_key", 400},
		{"key in a header with underscores", handshake("Sec-WebSocket-Key:", "Sec_WebSocket_Key: "+sampleKey), "missing_key", 400},
		{"short key", handshake("Sec-WebSocket-Key: YQ=="), "bad_key", 400},
		{"24 characters that are no base64", handshake("Sec-WebSocket-Key: ????????????????????????"), "bad_key", 400},
		{"18 bytes", handshake("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA"), "bad_key", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseRequest([]byte(tt.block), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			err = r.CheckUpgrade()
			if reason(err) != tt.reason {
				t.Fatalf("CheckUpgrade = %q, want %q", reason(err), tt.reason)
			}
			if err != nil && err.(*HTTPError).Status != tt.status {
				t.Errorf("status %d, want %d", err.(*HTTPError).Status, tt.status)
			}
		})
	}
}

func TestRequestFields(t *testing.T) {
	block := "GET /ws/ch%C3%A4t/a%2Fb?token=a%20b+c&group=x&group=y&empty&lone=100%&%67=h HTTP/1.1\r\n" +
		"hOST: example.com:8080\r\nOrigin: https://example.com\r\nCookie: a=1\r\nCOOKIE:\tb=\"2\" \r\nCookie:\r\n" +
		"Authorization: Bearer x\r\nUser-Agent: test\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n" +
		"X-Forwarded-Host: outer\r\nX-Forwarded-Proto: https\r\nX_Forwarded_Host: evil\r\nSec-Fetch-Site: same-origin\r\nLast-Event-ID: e:5\r\n" +
		"Sec-WebSocket-Protocol: gatecast.v1, bearer.abc\r\nSec-WebSocket-Protocol: ,c\r\nUpgrade: websocket\r\nX-Odd: caf\xe9 \t\r\nX-Odd: 2\r\n\r\n"
	r, err := ParseRequest([]byte(block), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ name, got, want string }{
		{"Method", r.Method, "GET"},
		{"Path", r.Path, "/ws/ch%C3%A4t/a%2Fb"},
		{"PathDecoded", r.PathDecoded(), "/ws/chät/a/b"},
		{"Host", r.Host, "example.com:8080"},
		{"Origin", r.Origin, "https://example.com"},
		{"Cookie", r.Cookie, `a=1; b="2"`},
		{"Authorization", r.Authorization, "Bearer x"},
		{"UserAgent", r.UserAgent, "test"},
		{"ForwardedFor", r.ForwardedFor, "10.0.0.1, 10.0.0.2"},
		{"ForwardedHost", r.ForwardedHost, "outer"},
		{"ForwardedProto", r.ForwardedProto, "https"},
		{"SecFetchSite", r.SecFetchSite, "same-origin"},
		{"LastEventID", r.LastEventID, "e:5"},
		{"Subprotocols", strings.Join(r.Subprotocols, " "), "gatecast.v1 bearer.abc c"},
		{"Header", r.Header("x-odd"), "caf\xe9, 2"},
		{"Header with underscore", r.Header("X_Forwarded_Host"), ""},
		{"Header that is missing", r.Header("Nope"), ""},
		{"Header that is a line's prefix", r.Header("X"), ""},
		{"Query token", r.Query("token"), "a b c"},
		{"Query group", r.Query("group"), "x"},
		{"Query empty", r.Query("empty"), ""},
		{"Query missing", r.Query("missing"), ""},
		{"Query with a lone percent", r.Query("lone"), "100%"},
		{"Query with an escaped name", r.Query("g"), "h"},
		{"QueryAll", strings.Join(r.QueryAll("group"), " "), "x y"},
	} {
		if f.got != f.want {
			t.Errorf("%s = %q, want %q", f.name, f.got, f.want)
		}
	}
	if !r.HasOrigin || !r.Upgrade {
		t.Errorf("HasOrigin %v, Upgrade %v, want true", r.HasOrigin, r.Upgrade)
	}
}

func TestAbsoluteTargetOfTheSameHost(t *testing.T) {
	r, err := ParseRequest([]byte("GET ws://Example.com/ws?a=b HTTP/1.1\r\nHost: example.com\r\n\r\n"), Limits{})
	if err != nil || r.Path != "/ws" || r.Query("a") != "b" || r.Host != "example.com" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestParsedStringsDoNotAliasTheBlock(t *testing.T) {
	block := []byte(handshake("Cookie: sessionid=abc"))
	r, err := ParseRequest(block, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	clear(block)
	if r.Cookie != "sessionid=abc" {
		t.Errorf("Cookie = %q after the block was reused", r.Cookie)
	}
}

func TestUnescape(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		ok       bool
	}{{"a", "a", true}, {"a%2fb", "a/b", true}, {"%", "", false}, {"%4", "", false}, {"%4g", "", false}, {"a+b", "a+b", true}, {"", "", true}} {
		if got, ok := Unescape(tt.in); got != tt.want || ok != tt.ok {
			t.Errorf("Unescape(%q) = %q, %v, want %q, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func TestUpgradeResponse(t *testing.T) {
	r := &Request{Key: sampleKey}
	got := string(AppendUpgradeResponse(nil, r, "gatecast.v1", "permessage-deflate"))
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: gatecast.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if s := string(AppendUpgradeResponse(nil, r, "", "")); strings.Contains(s, "Protocol:") || strings.Contains(s, "Extensions:") {
		t.Errorf("got %q, want no subprotocol", s)
	}
}

func TestHTTPResponse(t *testing.T) {
	got := string(AppendHTTPResponse([]byte("x"), 503, [][2]string{{"Retry-After", "5\r\nEvil: 1"}}, "later"))
	want := "xHTTP/1.1 503 Service Unavailable\r\nRetry-After: 5Evil: 1\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nlater"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got = string(AppendHTTPResponse(nil, 200, [][2]string{{"content-type", "text/html"}}, "<p>"))
	if strings.Contains(got, "text/plain") {
		t.Errorf("got %q, want one content type", got)
	}
}

func TestHTTPErrorsSayWhatWouldBeRight(t *testing.T) {
	for _, e := range HTTPErrors() {
		out := AppendHTTPError(nil, e)
		if !bytes.HasSuffix(out, []byte(e.Text+"\n")) || e.Reason == "" {
			t.Errorf("%s: %q", e.Reason, out)
		}
	}
	if out := string(AppendHTTPError(nil, errVersion)); !strings.Contains(out, "\r\nSec-WebSocket-Version: 13\r\n") || !strings.HasPrefix(out, "HTTP/1.1 426 Upgrade Required\r\n") {
		t.Errorf("bad version: %q", out)
	}
	if out := string(AppendHTTPError(nil, errMethod)); !strings.Contains(out, "\r\nAllow: GET\r\n") {
		t.Errorf("bad method: %q", out)
	}
}

// browserRequest is what a Chromium with a Django session sends.
var browserRequest = []byte("GET /ws?v=1 HTTP/1.1\r\nHost: chat.example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\nOrigin: https://chat.example.com\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n" +
	"Cookie: csrftoken=0123456789abcdef0123456789abcdef; sessionid=0123456789abcdef0123456789abcdef\r\n" +
	"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nSec-WebSocket-Protocol: gatecast.v1\r\n\r\n")

func TestHandshakeAllocations(t *testing.T) {
	out := make([]byte, 0, 512)
	wantAllocs(t, 2, func() {
		n, err := Scan(browserRequest, 0)
		if err != nil || n != len(browserRequest) {
			t.Fatal(n, err)
		}
		r, err := ParseRequest(browserRequest, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.CheckUpgrade(); err != nil {
			t.Fatal(err)
		}
		out = AppendUpgradeResponse(out[:0], r, r.Subprotocols[0], "")
	})
}

func BenchmarkHandshake(b *testing.B) {
	out := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		n, _ := Scan(browserRequest, 0)
		r, err := ParseRequest(browserRequest[:n], Limits{})
		if err != nil || r.CheckUpgrade() != nil {
			b.Fatal(err)
		}
		out = AppendUpgradeResponse(out[:0], r, r.Subprotocols[0], "")
	}
}
