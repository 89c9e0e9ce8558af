//go:build linux

package raw

import (
	"bytes"
	"testing"
)

func TestRequestIsCutWhole(t *testing.T) {
	const one = "POST /publish HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
	for _, tt := range []struct {
		in, body string
		n        int
		ok       bool
	}{
		{one, "abc", len(one), true},
		{one + one, "abc", len(one), true},
		{one[:len(one)-1], "", 0, true},
		{one[:20], "", 0, true},
		{"PO", "", 0, true},
		{"", "", 0, true},
		{"GET / HTTP/1.1\r\n\r\n", "", 0, false},
		{"GET", "", 0, false},
		{"POST / HTTP/1.1\r\n\r\n", "", 0, false},
		{"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "", 0, false},
		{"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", "", 0, false},
	} {
		body, n, ok := request([]byte(tt.in))
		if string(body) != tt.body || n != tt.n || ok != tt.ok {
			t.Errorf("request(%q) = %q, %d, %v, want %q, %d, %v", tt.in, body, n, ok, tt.body, tt.n, tt.ok)
		}
	}
}

// FuzzRequest: whatever comes, what is cut is a part of it, and never more than there is.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST /publish HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST"))
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, n, ok := request(b)
		if n < 0 || n > len(b) || !ok && n > 0 || !bytes.HasSuffix(b[:n], body) {
			t.Errorf("request(%q) = %q, %d, %v", b, body, n, ok)
		}
	})
}
