package server

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Headers of a proxy for 203.0.113.9:4711.
const (
	proxyLine   = "PROXY TCP4 203.0.113.9 127.0.0.1 4711 443\r\n"
	proxyBinary = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x7f\x00\x00\x01\x12\x67\x01\xbb"
	proxyLocal  = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
)

// proxyModes runs a test on plain and on TLS listeners, in both modes.
func proxyModes(t *testing.T, f func(t *testing.T, c Config, secure bool)) {
	bothModes(t, func(t *testing.T, mode string) {
		for _, secure := range []bool{false, true} {
			t.Run(map[bool]string{false: "plain", true: "TLS"}[secure], func(t *testing.T) {
				c := testConfig(t, mode)
				c.Server.ProxyProtocol, c.Server.TrustedProxies = true, []string{"127.0.0.1", "10.0.0.0/8"}
				if secure {
					c.Server.TLS = writePair(t, t.TempDir(), 1)
				}
				f(t, c, secure)
			})
		}
	})
}

// upgradeRequest is a whole handshake of a user.
func upgradeRequest(user, more string) string {
	return "GET /ws HTTP/1.1\r\n" + upgradeHeaders + "Cookie: who=" + user + "\r\n" + more + "\r\n"
}

// behind connects as a proxy would: head, then TLS if secure.
func behind(t testing.TB, n *Node, head string, secure bool) *sock {
	t.Helper()
	if secure {
		conn, err := overTLS(n, head, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return &sock{t, conn, bufio.NewReader(conn)}
	}
	return request(t, n, head)
}

// handshakes counts those refused for reason.
func handshakes(n *Node, reason string) int {
	count := 0
	n.counters.handshakes.each(func(key [2]string, v uint64) {
		if key == [2]string{"refused", reason} {
			count = int(v)
		}
	})
	return count
}

// connsOf lists the conns of a user.
func connsOf(t testing.TB, n *Node, user string) []ConnInfo {
	t.Helper()
	all, err := n.Connections(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return all.([]ConnInfo)
}

func TestTheProxyHeaderSaysTheAddress(t *testing.T) {
	proxyModes(t, func(t *testing.T, c Config, secure bool) {
		c.Server.Limits.ConnsPerAddress = 1
		n, _ := startAlone(t, c)
		for _, tt := range []struct {
			name, head, more, addr string
		}{
			{"a line", proxyLine, "", "203.0.113.9"},
			{"binary", proxyBinary, "", "203.0.113.9"},
			{"forwarded headers of a client that is no proxy are hearsay", proxyLine, "X-Forwarded-For: 6.6.6.6\r\n", "203.0.113.9"},
			{"a proxy behind the proxy", "PROXY TCP4 10.1.1.1 127.0.0.1 1 2\r\n", "X-Forwarded-For: 6.6.6.6, 198.51.100.7\r\n", "198.51.100.7"},
			{"the proxy for itself", proxyLocal, "", "127.0.0.1"},
			{"a line of unknown origin", "PROXY UNKNOWN\r\n", "", "127.0.0.1"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				s := behind(t, n, tt.head, secure)
				if _, err := io.WriteString(s, upgradeRequest("a", tt.more)); err != nil {
					t.Fatal(err)
				}
				if got, _ := s.status(); got != 101 {
					t.Fatalf("status %d, want 101", got)
				}
				s.want(`{"op":"welcome"}`)
				if got := connsOf(t, n, "a"); len(got) != 1 || got[0].Addr != tt.addr {
					t.Fatalf("connections %+v, want one from %s", got, tt.addr)
				}
				second := behind(t, n, tt.head, secure)
				_, _ = io.WriteString(second, upgradeRequest("b", tt.more))
				if got, _ := second.status(); got != 429 {
					t.Errorf("a second conn of the address: status %d, want 429", got)
				}
				s.Close()
				second.Close()
				eventually(t, "the end of both", func() bool { return n.conns.Load() == 0 })
			})
		}
	})
}

func TestABadProxyHeaderClosesTheConn(t *testing.T) {
	proxyModes(t, func(t *testing.T, c Config, secure bool) {
		c.Server.Limits.HandshakeTimeout = time.Second
		n, _ := startAlone(t, c)
		for name, head := range map[string]string{
			"a malformed line":        "PROXY TCP4 203.0.113.999 127.0.0.1 1 2\r\n",
			"no header":               upgradeRequest("a", ""),
			"a TLS handshake at once": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
			"a line without end":      "PROXY UNKNOWN " + strings.Repeat("x", 5000),
			"a header of 64 KB":       "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("x", 5000),
			"a header that stops":     proxyBinary[:20],
		} {
			t.Run(name, func(t *testing.T) {
				refused := handshakes(n, "proxy_header")
				s := request(t, n, head)
				if b, _ := io.ReadAll(s.r); len(b) > 0 {
					t.Errorf("answered %q, want nothing", b)
				}
				if got := handshakes(n, "proxy_header"); got != refused+1 {
					t.Errorf("counted %d times, want once", got-refused)
				}
			})
		}
		eventually(t, "the end of all conns", func() bool { return n.conns.Load() == 0 })
	})
}

func TestAProxyHeaderByteByByte(t *testing.T) {
	proxyModes(t, func(t *testing.T, c Config, secure bool) {
		n, _ := startAlone(t, c)
		raw, err := net.Dial("tcp", n.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(patience))
		for i := range proxyBinary {
			if _, err := raw.Write([]byte(proxyBinary[i : i+1])); err != nil {
				t.Fatal(err)
			}
		}
		var conn net.Conn = raw
		if secure {
			conn = tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		}
		if _, err := io.WriteString(conn, upgradeRequest("a", "")); err != nil {
			t.Fatal(err)
		}
		s := &sock{t, conn, bufio.NewReader(conn)}
		if got, _ := s.status(); got != 101 {
			t.Fatalf("status %d, want 101", got)
		}
		s.want(`{"op":"welcome"}`)
	})
}

func TestAProxyHeaderOfAStrangerIsRefused(t *testing.T) {
	proxyModes(t, func(t *testing.T, c Config, secure bool) {
		c.Server.TrustedProxies = []string{"10.0.0.0/8"}
		n, _ := startAlone(t, c)
		for _, head := range []string{proxyLine, proxyBinary} {
			if secure { // it is no TLS handshake
				if conn, err := overTLS(n, head, nil); err == nil {
					conn.Close()
					t.Fatalf("TLS behind %q was served", head)
				}
				continue
			}
			if got, _ := request(t, n, head+upgradeRequest("a", "")).status(); got != 400 {
				t.Errorf("status %d behind %q, want 400", got, head)
			}
		}
		s := behind(t, n, "", secure) // but may come without
		_, _ = io.WriteString(s, upgradeRequest("a", "X-Forwarded-For: 6.6.6.6\r\n"))
		if got, _ := s.status(); got != 101 {
			t.Fatalf("status %d, want 101", got)
		}
		s.want(`{"op":"welcome"}`)
		if got := connsOf(t, n, "a"); len(got) != 1 || got[0].Addr != "127.0.0.1" {
			t.Errorf("connections %+v, want one from 127.0.0.1", got)
		}
	})
}

func TestProxyProtocolNeedsProxies(t *testing.T) {
	o := DefaultOptions()
	o.ProxyProtocol = true
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "server.proxy_protocol") {
		t.Errorf("Validate() = %v, want an error of server.proxy_protocol", err)
	}
}

func TestForwardedAddressesOfStrangersAreHearsay(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Server.TrustedProxies = []string{"127.0.0.1", "10.0.0.0/8"}
		n, _ := startAlone(t, c)
		for _, tt := range []struct{ name, headers, addr string }{
			{"one entry", "X-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7"},
			{"a spoofed entry on the left", "X-Forwarded-For: 6.6.6.6, 198.51.100.7\r\n", "198.51.100.7"},
			{"a spoofed proxy on the left", "X-Forwarded-For: 10.1.1.1, 198.51.100.7\r\n", "198.51.100.7"},
			{"a spoofed line above", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7"},
			{"a chain of proxies", "X-Forwarded-For: 6.6.6.6, 198.51.100.7, 10.1.1.1\r\n", "198.51.100.7"},
			{"nonsense where the client should stand", "X-Forwarded-For: 6.6.6.6, unknown\r\n", "127.0.0.1"},
			{"no entry", "", "127.0.0.1"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				s := request(t, n, upgradeRequest("a", tt.headers))
				if got, _ := s.status(); got != 101 {
					t.Fatalf("status %d, want 101", got)
				}
				s.want(`{"op":"welcome"}`)
				if got := connsOf(t, n, "a"); len(got) != 1 || got[0].Addr != tt.addr {
					t.Fatalf("connections %+v, want one from %s", got, tt.addr)
				}
				s.Close()
				eventually(t, "its end", func() bool { return n.conns.Load() == 0 })
			})
		}
	})
}
