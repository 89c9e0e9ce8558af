package server

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/loop"
)

const patience = 10 * time.Second

// cookieVerifier takes the cookie "who" for the user's id; "bad" is refused, "down" cannot be verified.
type cookieVerifier struct{}

func (cookieVerifier) Verify(_ context.Context, c authn.Credential) (*authn.Identity, error) {
	who, ok := c.Cookie("who")
	if !ok {
		who = c.Value
	}
	switch who {
	case "":
		return nil, authn.ErrNotMine
	case "bad":
		return nil, authn.Refuse("bad_signature", nil)
	case "down":
		return nil, io.ErrUnexpectedEOF
	}
	return &authn.Identity{ID: who, Kind: authn.KindUser, SessionHash: sessionHash(who)}, nil
}

func sessionHash(who string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(who))) }

func (cookieVerifier) CookieName() string { return "who" }

// testConfig is a node on free ports where everybody logged in may hear and say chat.>.
func testConfig(t testing.TB, mode string) Config {
	t.Helper()
	rules, err := authn.CompileRules([]authn.Rule{
		{To: "authenticated", Subscribe: []string{"chat.>", "echo.*"}, Publish: []string{"chat.>", "echo.*"}, Deny: []string{"chat.private.>"}},
		{To: "anonymous", Subscribe: []string{"open.>"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ao := authn.DefaultOptions()
	ao.Chain = []string{"test"}
	ao.Carriers = []string{"cookie", "header", "message"}
	ao.Timeout = 2 * time.Second
	chain, err := authn.NewChain(ao, map[string]authn.Verifier{"test": cookieVerifier{}}, rules, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Server: DefaultOptions(), Drain: DefaultDrainOptions(), Authn: ao, Broker: broker.DefaultOptions(), Chain: chain}
	c.Server.Listen, c.Server.Mode = "127.0.0.1:0", mode
	if mode == loop.ModeAuto {
		c.Server.Mode = cmp.Or(os.Getenv("GATECAST_TEST_MODE"), mode) // make portable
	}
	c.Server.Loops = 2 // 0 would leave the few conns of a test on one of them
	c.Server.Limits.MessagesPerSecond, c.Server.Limits.BytesPerSecond = 0, 0
	c.Broker.Listen = "127.0.0.1:0"
	c.Routes = []Route{{Path: "/echo/{room}/", Groups: []string{"echo.{room}"}, Publish: "echo.{room}"}}
	return c
}

// startNode runs a node until the test ends.
func startNode(t testing.TB, c Config) *Node {
	t.Helper()
	n, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	runNode(t, n)
	return n
}

// runNode accepts until the test ends, then closes the node.
func runNode(t testing.TB, n *Node) {
	ran := make(chan error, 1)
	go func() { ran <- n.Run() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// bothModes runs a test in epoll and in portable mode.
func bothModes(t *testing.T, f func(t *testing.T, mode string)) {
	for _, mode := range []string{loop.ModeAuto, loop.ModePortable} {
		t.Run(mode, func(t *testing.T) { f(t, mode) })
	}
}

// sock is a test's WebSocket.
type sock struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// dial upgrades with a cookie of the user; "" sends none.
func dial(t testing.TB, n *Node, path, user string) *sock {
	t.Helper()
	header := ws.HandshakeHeaderHTTP{}
	if user != "" {
		header["Cookie"] = []string{"who=" + user}
	}
	d := ws.Dialer{Header: header, Timeout: patience}
	conn, br, _, err := d.Dial(t.Context(), "ws://"+n.Addr().String()+path)
	if err != nil {
		t.Fatalf("dial as %q: %v", user, err)
	}
	return newSock(t, conn, br)
}

// newSock closes conn when the test ends. br is what the dialer has read beyond the upgrade, or nil.
func newSock(t testing.TB, conn net.Conn, br *bufio.Reader) *sock {
	if br == nil {
		br = bufio.NewReader(conn)
	}
	t.Cleanup(func() { conn.Close() })
	return &sock{t, conn, br}
}

func (s *sock) send(format string, args ...any) {
	s.t.Helper()
	if err := wsutil.WriteClientText(s.Conn, fmt.Appendf(nil, format, args...)); err != nil {
		s.t.Fatal(err)
	}
}

// frame reads one frame.
func (s *sock) frame() ws.Frame {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	h, err := ws.ReadHeader(s.r)
	if err != nil {
		s.t.Fatalf("read: %v", err)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(s.r, f.Payload); err != nil {
		s.t.Fatalf("read: %v", err)
	}
	return f
}

// want reads a text frame and compares the fields that are given with it.
func (s *sock) want(fields string) map[string]any {
	s.t.Helper()
	f := s.frame()
	if f.Header.OpCode == ws.OpClose {
		code, reason := ws.ParseCloseFrameData(f.Payload)
		s.t.Fatalf("got a close frame %d %q, want %s", code, reason, fields)
	}
	var got, want map[string]any
	if err := json.Unmarshal(f.Payload, &got); err != nil {
		s.t.Fatalf("got %q: %v", f.Payload, err)
	}
	if err := json.Unmarshal([]byte(fields), &want); err != nil {
		s.t.Fatal(err)
	}
	for k, v := range want {
		if fmt.Sprint(got[k]) != fmt.Sprint(v) {
			s.t.Fatalf("got %s, want %s", f.Payload, fields)
		}
	}
	return got
}

// wantClose reads up to the close frame and compares its code.
func (s *sock) wantClose(code int) {
	s.t.Helper()
	for {
		f := s.frame()
		if f.Header.OpCode == ws.OpClose {
			if got, reason := ws.ParseCloseFrameData(f.Payload); int(got) != code {
				s.t.Fatalf("closed with %d %q, want %d", got, reason, code)
			}
			return
		}
	}
}

func TestANodeOnItsEmbeddedBroker(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n := startNode(t, testConfig(t, mode))
		a, b := dial(t, n, "/ws", "a"), dial(t, n, "/ws", "b")
		for _, s := range []*sock{a, b} {
			s.want(`{"op":"welcome"}`)
			s.send(`{"op":"group_add","id":1,"group":"chat.7"}`)
			s.want(`{"op":"ok","id":1}`)
		}
		for i := range 1000 {
			a.send(`{"op":"group_send","group":"chat.7","data":%d,"echo":false}`, i)
		}
		for i := range 1000 {
			b.want(fmt.Sprintf(`{"op":"message","group":"chat.7","data":%d,"from":"a"}`, i))
		}
		if err := n.Ready(); err != nil {
			t.Fatal(err)
		}
		rows, err := n.Groups(t.Context())
		if got := fmt.Sprint(rows); err != nil || got != "[{chat.7 2} {user.a 1} {user.b 1}]" {
			t.Fatalf("Groups = %v, %v", got, err)
		}
	})
}

func TestAWelcomeNamesTheUserAndItsGroups(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		got := dial(t, n, "/ws", "42").want(`{"op":"welcome","user":"42","groups":["user.42"],"ping":25}`)
		if got["conn"] == "" || got["node"] == "" {
			t.Fatalf("welcome without conn or node: %v", got)
		}
	})
}

func TestAMessageReachesTheMembersAndNobodyElse(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		a, b, c := dial(t, n, "/ws", "a"), dial(t, n, "/ws", "b"), dial(t, n, "/ws", "c")
		for _, s := range []*sock{a, b, c} {
			s.want(`{"op":"welcome"}`)
		}
		a.send(`{"op":"group_add","id":1,"group":"chat.7"}`)
		a.want(`{"op":"ok","id":1,"group":"chat.7"}`)
		b.send(`[{"op":"group_add","id":1,"groups":["chat.7","chat.private.x","bad name"]},{"op":"ping","id":2}]`)
		got := b.want(`{"op":"ok","id":1}`)
		b.want(`{"op":"ok","id":2}`)
		if s := fmt.Sprint(got["groups"]); !strings.Contains(s, "forbidden") || !strings.Contains(s, "bad_group") {
			t.Fatalf("groups = %v, want one ok, one forbidden, one bad_group", s)
		}
		c.send(`{"op":"group_send","id":9,"group":"chat.7","data":{"text":"hi \u00e9"}}`)
		c.want(`{"op":"ok","id":9}`)
		for _, s := range []*sock{a, b} {
			s.want(`{"op":"message","group":"chat.7","data":{"text":"hi é"},"from":"c"}`)
		}
		a.send(`{"op":"group_send","group":"chat.7","data":1,"echo":false}`)
		b.want(`{"op":"message","data":1,"from":"a"}`)
		a.send(`{"op":"group_discard","id":3,"group":"chat.7"}`)
		a.want(`{"op":"ok","id":3}`) // and no message before it, for echo was off
		c.send(`{"op":"group_send","id":10,"group":"chat.7","data":2}`)
		c.want(`{"op":"ok","id":10}`)
		b.want(`{"op":"message","data":2}`)
		a.send(`{"op":"ping","id":4}`)
		a.want(`{"op":"ok","id":4}`)
		c.send(`{"op":"group_send","id":11,"group":"chat.private.x","data":2}`)
		c.want(`{"op":"error","id":11,"code":"forbidden"}`)
		c.send(`{"op":"nonsense","id":12}`)
		c.want(`{"op":"error","id":12,"code":"unknown_op"}`)
		c.send(`{"op":"history","id":13,"group":"chat.7"}`)
		c.want(`{"op":"error","id":13,"code":"unavailable"}`)
	})
}

func TestAnOpWaitsForTheEarlierOneOnItsGroup(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		for i := range 50 {
			g := fmt.Sprintf("chat.%d", i)
			s.send(`[{"op":"group_add","id":1,"group":%q},{"op":"group_send","id":2,"group":%q,"data":7},{"op":"group_discard","id":3,"group":%q},{"op":"group_send","id":4,"group":%q,"data":8}]`, g, g, g, g)
			s.want(`{"op":"ok","id":1}`)
			s.want(`{"op":"ok","id":2}`)
			s.want(`{"op":"ok","id":3}`) // the message comes after the discard, if at all
			s.want(`{"op":"ok","id":4}`)
		}
		s.send(`{"op":"ping","id":5}`)
		s.want(`{"op":"ok","id":5}`)
	})
}

func TestRefusedLogins(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "bad")
		s.want(`{"op":"error","code":"unauthorized"}`)
		s.want(`{"op":"close","code":4401}`)
		s.wantClose(4401)
		s = dial(t, n, "/ws", "down")
		s.want(`{"op":"error","code":"unavailable"}`)
		if got := s.want(`{"op":"close","code":4100}`); got["retry"] == nil {
			t.Fatalf("close 4100 without retry: %v", got)
		}
		s.wantClose(4100)
	})
}

func TestLoginByMessage(t *testing.T) {
	t.Parallel() // it waits, others need not
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "")
		s.send(`[{"op":"auth","id":1,"token":"42"},{"op":"group_add","id":2,"group":"chat.1"}]`)
		s.send(`{"op":"ping","id":3}`)
		s.want(`{"op":"ok","id":1}`)
		s.want(`{"op":"welcome","user":"42"}`)
		seen := map[any]bool{}
		for range 2 {
			seen[s.want(`{"op":"ok"}`)["id"]] = true
		}
		if !seen[2.0] || !seen[3.0] {
			t.Fatalf("got replies %v, want to 2 and 3", seen)
		}
		s.send(`{"op":"auth","id":4,"token":"43"}`)
		s.want(`{"op":"error","id":4,"code":"forbidden"}`)
		s.send(`{"op":"auth","id":5,"token":"42"}`)
		s.want(`{"op":"ok","id":5}`)
		late := dial(t, n, "/ws", "")
		late.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		late.want(`{"op":"error","id":1,"code":"unauthorized"}`)
		late.want(`{"op":"error","code":"unauthorized"}`)
		late.want(`{"op":"close","code":4408}`)
		late.wantClose(4408)
	})
}

func TestARawRouteEchoesTextAndBinary(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/echo/r1/", "a")
		for _, f := range []ws.Frame{ws.NewTextFrame([]byte("hello")), ws.NewBinaryFrame([]byte{0, 255})} {
			payload := bytes.Clone(f.Payload)
			if err := ws.WriteFrame(s.Conn, ws.MaskFrame(f)); err != nil {
				t.Fatal(err)
			}
			got := s.frame()
			if got.Header.OpCode != f.Header.OpCode || !bytes.Equal(got.Payload, payload) {
				t.Fatalf("echoed %v %q, want %v %q", got.Header.OpCode, got.Payload, f.Header.OpCode, payload)
			}
		}
		if err := ws.WriteFrame(s.Conn, ws.MaskFrame(ws.NewPingFrame([]byte("p")))); err != nil {
			t.Fatal(err)
		}
		if got := s.frame(); got.Header.OpCode != ws.OpPong || string(got.Payload) != "p" {
			t.Fatalf("got %v %q, want the pong", got.Header.OpCode, got.Payload)
		}
		dial(t, n, "/echo/bad%20name/", "a").wantClose(4403)
	})
}

func TestControlReachesTheConns(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		call := func(verb, body, want string) {
			t.Helper()
			if got := string(n.Call(t.Context(), verb, []byte(body))); got != want {
				t.Fatalf("%s %s = %s, want %s", verb, body, got, want)
			}
		}
		s, other := dial(t, n, "/ws", "42"), dial(t, n, "/ws", "43")
		s.want(`{"op":"welcome"}`)
		other.want(`{"op":"welcome"}`)
		call("group_add", `{"group":"backend.only","user":"42"}`, `{"ok":true,"conns":1}`)
		s.want(`{"op":"group_added","group":"backend.only"}`)
		if err := n.broker.Publish(&broker.Message{Group: []byte("backend.only"), Data: []byte(`"x"`)}); err != nil {
			t.Fatal(err)
		}
		s.want(`{"op":"message","group":"backend.only","data":"x"}`)
		call("revalidate", `{"user":"42"}`, `{"ok":true,"conns":1}`)
		call("group_discard", `{"group":"backend.only","user":"42"}`, `{"ok":true,"conns":1}`)
		s.want(`{"op":"group_discarded","group":"backend.only"}`)
		call("disconnect", `{"session":"`+sessionHash("42")+`","code":4401}`, `{"ok":true,"conns":1}`)
		s.wantClose(4401)
		call("disconnect", `{"user":"43","reason":"bye"}`, `{"ok":true,"conns":1}`)
		other.wantClose(4410)
		call("disconnect", `{"user":"43"}`, `{"ok":true,"conns":0}`)
	})
}
