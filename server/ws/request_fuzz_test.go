package ws

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// FuzzParseRequest checks that what we accept net/http accepts too and reads the same way. We refuse more than it does: see refuse.go.
func FuzzParseRequest(f *testing.F) {
	f.Add(browserRequest)
	f.Add([]byte(handshake("Upgrade : websocket")))
	f.Add([]byte("GET ws://a:80/%20?q=%zz&a=b+c HTTP/1.1\r\nHost: a:80\r\nCookie: a=b\r\nCookie: c=d\r\nX_Y: 1\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := Scan(b, 0)
		if err != nil || n == 0 {
			ParseRequest(b, Limits{}) // must not panic on what Scan did not bless
			return
		}
		if again, _ := ScanFrom(b, n-1, 0); again != n {
			t.Fatalf("ScanFrom(%d) = %d, Scan = %d", n-1, again, n)
		}
		r, err := ParseRequest(b[:n], Limits{})
		if err != nil {
			return
		}
		r.CheckUpgrade()
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:n])))
		if err != nil {
			if acceptedOnlyHere(r) {
				return
			}
			t.Fatalf("accepted %q, net/http: %v", b[:n], err)
		}
		check := func(name, got, want string) {
			if got != want {
				t.Fatalf("%s = %q, net/http %q in %q", name, got, want, b[:n])
			}
		}
		check("PathDecoded", r.PathDecoded(), want.URL.Path)
		check("RawQuery", r.RawQuery, want.URL.RawQuery)
		if !strings.EqualFold(r.Host, want.Host) {
			check("Host", r.Host, want.Host)
		}
		check("Origin", r.Origin, want.Header.Get("Origin"))
		check("Authorization", r.Authorization, want.Header.Get("Authorization"))
		check("Key", r.Key, want.Header.Get("Sec-WebSocket-Key"))
		check("Version", r.Version, want.Header.Get("Sec-WebSocket-Version"))
		check("Cookie", r.Cookie, joinFull(want.Header["Cookie"], "; "))
		check("ForwardedFor", r.ForwardedFor, joinFull(want.Header["X-Forwarded-For"], ", "))
		for name, values := range want.Header {
			switch {
			case name == "Cache-Control": // net/http makes it up from Pragma
			case strings.Contains(name, "_"):
				check(name, r.Header(name), "")
			default:
				check(name, r.Header(name), joinFull(values, ", "))
			}
		}
		if !strings.ContainsAny(r.RawQuery, ";%") { // net/url drops such pairs, we keep them
			for name, values := range want.URL.Query() {
				check("query "+name, r.Query(name), values[0])
				check("query "+name, strings.Join(r.QueryAll(name), "&"), strings.Join(values, "&"))
			}
		}
	})
}

// joinFull joins values that are not empty.
func joinFull(values []string, sep string) (s string) {
	for _, v := range values {
		join(&s, v, sep)
	}
	return s
}

// acceptedOnlyHere names what net/http refuses and we take: hosts in targets of absolute form that net/url cannot split. They equal the Host header, which the
// Origin check then judges.
func acceptedOnlyHere(r *Request) bool {
	return strings.ContainsAny(r.Host, "%[]:")
}
