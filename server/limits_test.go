package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// request sends raw bytes to the node and returns the connection.
func request(t testing.TB, n *Node, raw string) *sock {
	t.Helper()
	c, err := net.Dial("tcp", n.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(patience))
	return &sock{t, c, bufio.NewReader(c)}
}

// status reads an HTTP response and returns its status.
func (s *sock) status() (int, http.Header) {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	r, err := http.ReadResponse(s.r, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode, r.Header
}

const upgradeHeaders = "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func TestRequestsThatAreNoHandshake(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		for _, tt := range []struct {
			name, raw string
			want      int
		}{
			{"an unknown path", "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404},
			{"no upgrade", "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 426},
			{"another method", "POST /ws HTTP/1.1\r\nHost: x\r\n\r\n", 405},
			{"another origin with a cookie", "GET /ws HTTP/1.1\r\n" + upgradeHeaders + "Origin: https://evil.example\r\nCookie: who=a\r\n\r\n", 403},
			{"a foreign subprotocol", "GET /ws HTTP/1.1\r\n" + upgradeHeaders + "Cookie: who=a\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", 400},
			{"a header block without end", "GET /ws HTTP/1.1\r\n" + strings.Repeat("X-Long: "+strings.Repeat("y", 1000)+"\r\n", 20), 431},
			{"no HTTP at all", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400},
		} {
			t.Run(tt.name, func(t *testing.T) {
				if got, _ := request(t, n, tt.raw).status(); got != tt.want {
					t.Fatalf("status %d, want %d", got, tt.want)
				}
			})
		}
	})
}

func TestRejectHTTPAnswersWithAStatus(t *testing.T) {
	c := testConfig(t, "auto")
	c.Authn.Reject = "http"
	n, _ := startAlone(t, c)
	for cookie, want := range map[string]int{"bad": 401, "down": 503} {
		got, header := request(t, n, "GET /ws HTTP/1.1\r\n"+upgradeHeaders+"Cookie: who="+cookie+"\r\n\r\n").status()
		if got != want || want == 503 && header.Get("Retry-After") == "" {
			t.Errorf("cookie %q: status %d %v, want %d", cookie, got, header, want)
		}
	}
}

func TestAFrameBehindTheHandshakeIsRead(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		ping := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(`{"op":"ping","id":1}`))))
		s := request(t, n, "GET /ws HTTP/1.1\r\n"+upgradeHeaders+"Cookie: who=a\r\n\r\n"+string(ping))
		if got, _ := s.status(); got != 101 {
			t.Fatalf("status %d, want 101", got)
		}
		s.want(`{"op":"welcome"}`)
		s.want(`{"op":"ok","id":1}`)
	})
}

func TestLimitsOfConns(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Server.Limits.ConnsPerUser, c.Server.Limits.ConnsPerUserPolicy = 1, "replace"
		c.Server.Limits.ConnsPerAddress = 3
		n, _ := startAlone(t, c)
		first := dial(t, n, "/ws", "a")
		first.want(`{"op":"welcome"}`)
		second := dial(t, n, "/ws", "a")
		second.want(`{"op":"welcome"}`)
		first.wantClose(closeReplaced)
		first.Close()
		eventually(t, "the end of the first", func() bool { return n.conns.Load() == 1 })
		for _, user := range []string{"b", "c"} {
			dial(t, n, "/ws", user).want(`{"op":"welcome"}`)
		}
		if got, header := request(t, n, "GET /ws HTTP/1.1\r\n"+upgradeHeaders+"Cookie: who=d\r\n\r\n").status(); got != 429 || header.Get("Retry-After") == "" {
			t.Fatalf("status %d %v, want 429 with Retry-After", got, header)
		}
	})
}

func TestLimitsOfOps(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Server.Limits.MessagesPerSecond, c.Server.Limits.GroupsPerConn = 5, 3
		n, _ := startAlone(t, c)
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`) // in user.a already
		s.send(`{"op":"group_add","id":1,"groups":["chat.1","chat.2","chat.3"]}`)
		if got := fmt.Sprint(s.want(`{"op":"ok","id":1}`)["groups"]); strings.Count(got, "limit") == 0 {
			t.Fatalf("groups = %s, want the third refused", got)
		}
		limited := false
		for i := range 20 {
			s.send(`{"op":"ping","id":%d}`, i)
		}
		for range 20 {
			limited = s.want(`{}`)["code"] == "rate_limited" || limited
		}
		if !limited {
			t.Fatal("20 ops at once passed a limit of 5 a second")
		}
	})
}

func TestBadFramesEndTheConnAlone(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		bystander := dial(t, n, "/ws", "z")
		bystander.want(`{"op":"welcome"}`)
		big := append([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1, 2, 3, 4)
		for _, tt := range []struct {
			name string
			raw  []byte
			want int
		}{
			{"unmasked", []byte{0x81, 0x01, 'x'}, closeProtocol},
			{"a length with the top bit set", big, closeProtocol},
			{"20 MB", []byte{0x81, 0xff, 0, 0, 0, 0, 0x01, 0x40, 0, 0, 1, 2, 3, 4}, closeTooLarge},
			{"invalid UTF-8", []byte{0x81, 0x81, 0, 0, 0, 0, 0xff}, closeInvalid},
			{"binary", []byte{0x82, 0x81, 0, 0, 0, 0, 'x'}, closeBadFrame},
			{"no JSON", []byte{0x81, 0x81, 0, 0, 0, 0, 'x'}, closeBadFrame},
		} {
			t.Run(tt.name, func(t *testing.T) {
				s := dial(t, n, "/ws", "a")
				s.want(`{"op":"welcome"}`)
				if _, err := s.Write(tt.raw); err != nil {
					t.Fatal(err)
				}
				s.wantClose(tt.want)
			})
		}
		bystander.send(`{"op":"ping","id":1}`)
		bystander.want(`{"op":"ok","id":1}`)
	})
}

func TestASlowConnIsClosedAndTheOthersAreNot(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, b := startAlone(t, testConfig(t, mode))
		slow, quick := dial(t, n, "/ws", "a"), dial(t, n, "/ws", "b")
		for _, s := range []*sock{slow, quick} {
			s.want(`{"op":"welcome"}`)
			s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
			s.want(`{"op":"ok","id":1}`)
		}
		m := message("chat.1", `"`+strings.Repeat("x", 60<<10)+`"`)
		for i := 0; n.counters.slow.Load() == 0; i++ {
			if i > 2000 {
				t.Fatal("120 MB went to a conn that reads nothing")
			}
			if err := b.Publish(m); err != nil {
				t.Fatal(err)
			}
			quick.want(`{"op":"message"}`)
		}
		quick.send(`{"op":"ping","id":2}`)
		quick.want(`{"op":"ok","id":2}`)
		slow.Close()
		eventually(t, "the end of the slow conn", func() bool { return n.conns.Load() == 1 })
	})
}

func TestDrainTellsEveryConnWhenToComeBack(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Drain.Window = 100 * time.Millisecond
		n, _ := startAlone(t, c)
		var socks []*sock
		for i := range 20 {
			s := dial(t, n, "/ws", fmt.Sprint(i))
			s.want(`{"op":"welcome"}`)
			socks = append(socks, s)
		}
		left := make(chan error, 1)
		go func() { left <- n.Leave(t.Context()) }()
		for _, s := range socks {
			if got := s.want(`{"op":"close","code":4200}`); got["retry"] == nil {
				t.Fatalf("close 4200 without retry: %v", got)
			}
			s.wantClose(closeDrain)
			s.Close()
		}
		if err := <-left; err != nil {
			t.Fatal(err)
		}
		if n.Ready() == nil {
			t.Fatal("a drained node says it is ready")
		}
	})
}
