//go:build !race

package server

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/hub"
	"github.com/gatecast/gatecast/server/wire"
)

// The race detector allocates, so these are built without it only: make test runs them in its short pass.

// wantAllocs fails the test if f allocates more than want times a run, on all goroutines together.
func wantAllocs(t *testing.T, want float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, f); got > want {
		t.Fatalf("%v allocations a run, want %v at most", got, want)
	}
}

// readExactly reads what f is expected to make the server send.
func (s *sock) readExactly(buf []byte) {
	s.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(s.r, buf); err != nil {
		s.t.Fatal(err)
	}
}

func TestDeliveryToMembersDoesNotAllocate(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		const members = 20
		socks := make([]*sock, members)
		for i := range socks {
			socks[i] = dial(t, n, "/ws", fmt.Sprint(i))
			socks[i].want(`{"op":"welcome"}`)
			socks[i].send(`{"op":"group_add","id":1,"group":"chat.7"}`)
			socks[i].want(`{"op":"ok","id":1}`)
		}
		m := &broker.Message{Group: []byte("chat.7"), Data: []byte(`{"text":"hello"}`), From: []byte("42")}
		text, err := wire.AppendMessage(nil, &wire.Message{Group: m.Group, Data: m.Data, From: m.From})
		if err != nil {
			t.Fatal(err)
		}
		frame := ws.MustCompileFrame(ws.NewTextFrame(text))
		buf := make([]byte, len(frame))
		want := 0.0
		if mode == "portable" {
			want = members // a writer goroutine for each conn that has something to write
		}
		wantAllocs(t, want, func() {
			n.Deliver(m)
			for _, s := range socks {
				s.readExactly(buf)
			}
		})
		if !bytes.Equal(buf, frame) {
			t.Fatalf("got %q, want %q", buf, frame)
		}
	})
}

func TestPingPongDoesNotAllocate(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Server.Limits.PingsPerSecond = 0
		n, _ := startAlone(t, c)
		s := dial(t, n, "/echo/r/", "a")
		ping := ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame([]byte("p"))))
		pong := make([]byte, 3)
		want := 0.0
		if mode == "portable" {
			want = 1 // the writer goroutine
		}
		wantAllocs(t, want, func() {
			if _, err := s.Write(ping); err != nil {
				t.Fatal(err)
			}
			s.readExactly(pong)
		})
	})
}

// nullBroker takes every message and keeps none.
type nullBroker struct{ *broker.Broker }

func (nullBroker) Publish(*broker.Message) error { return nil }

func TestGroupSendDoesNotAllocateUpToTheRelay(t *testing.T) {
	c := testConfig(t, "auto")
	id, err := cookieVerifier{}.Verify(t.Context(), credential("42"))
	if err != nil {
		t.Fatal(err)
	}
	grants, err := c.Chain.Grants(id, "")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{started: time.Now(), broker: nullBroker{}}
	n.SetLimits(c.Server.Limits)
	o := &owner{node: n, hub: hub.New(), logins: newLogins()}
	conn := o.conns.grow(1)
	conn.login = o.logins.enter(id, grants.Sets)
	conn.state = stateOpen
	frame := []byte(`{"op":"group_send","group":"chat.7","data":{"text":"hello"},"echo":false}`)
	work := bytes.Clone(frame)
	wantAllocs(t, 0, func() {
		copy(work, frame)
		o.readOps(1, conn, work)
	})
	if n.counters.published.Load() == 0 {
		t.Fatal("nothing was published")
	}
}

// maxHandshakeAllocs is what a handshake may cost, from the request's bytes to the welcome with its group joined.
const maxHandshakeAllocs = 24

func TestAHandshakeAllocatesLittle(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		const conns, batch = 300, 50
		request := []byte("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: who=42\r\nSec-WebSocket-Protocol: gatecast.v1\r\n\r\n")
		buf := make([]byte, 4096)
		shake := func(c net.Conn) {
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			for got := 0; !bytes.HasSuffix(buf[:got], []byte("}")); {
				c.SetReadDeadline(time.Now().Add(patience))
				k, err := c.Read(buf[got:])
				if err != nil {
					t.Fatalf("after %q: %v", buf[:got], err)
				}
				got += k
			}
		}
		// Connected beforehand, so that the client's own allocations do not count.
		socks := make([]net.Conn, conns)
		for i := range socks {
			c, err := net.Dial("tcp", n.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			socks[i] = c
		}
		for _, c := range socks[:2*batch] { // tables grow, caches fill
			shake(c)
		}
		// The least of several batches: what a node does by the clock counts to the others.
		got := math.Inf(1)
		for some := range slices.Chunk(socks[2*batch:], batch) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, c := range some {
				shake(c)
			}
			runtime.ReadMemStats(&after)
			got = min(got, float64(after.Mallocs-before.Mallocs)/batch)
		}
		t.Logf("%.1f allocations a handshake", got)
		if got > maxHandshakeAllocs {
			t.Fatalf("%.1f allocations a handshake, want %d at most", got, maxHandshakeAllocs)
		}
	})
}
