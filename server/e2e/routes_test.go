package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"
)

// routesConf serves browser code that speaks no protocol of ours.
func routesConf() conf {
	return conf{
		"server.ping": "1s",
		"routes": []conf{
			{"path": "/ws/chat/{room}/", "groups": []string{"chat.{room}"}, "publish": "chat.{room}", "deliver": "data"},
			{"path": "/ws/watch/{room}/", "groups": []string{"chat.{room}", "room.of.{id}"}, "deliver": "envelope"},
		},
	}
}

// frameOf reads the next data frame of a raw socket.
func frameOf(t testing.TB, s *socket, wantOp byte, want string) {
	t.Helper()
	op, p, err := s.readMessage(time.Now().Add(patience))
	if err != nil {
		t.Fatalf("wait for %q: %v", want, err)
	}
	if op != wantOp || string(p) != want {
		t.Fatalf("got opcode %d %q, want %d %q", op, p, wantOp, want)
	}
}

// TestRawRoutes: what a page with an own WebSocket protocol sends and hears, byte for byte.
func TestRawRoutes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"epoll", "portable"} {
		t.Run(mode, func(t *testing.T) {
			n := startNode(t, "a", conf{"server.mode": mode}.over(routesConf()))
			one := dialRaw(t, n, "/ws/chat/lobby/", bearer(token(t, "one")))
			two := dialRaw(t, n, "/ws/chat/lobby/", append(bearer(token(t, "two")), "Sec-WebSocket-Protocol: graphql-ws, bearer.ignored"))
			if got := two.head.Header.Get("Sec-WebSocket-Protocol"); got != "graphql-ws" {
				t.Errorf("subprotocol %q was chosen, want graphql-ws", got)
			}
			watch := dialRaw(t, n, "/ws/watch/lobby/?x=1", bearer(token(t, "wat")))
			native := dialUser(t, n, "nat")
			native.add("chat.lobby")
			n.waitMemberships(t, 4+4+1) // their own groups, chat.lobby, room.of.wat

			one.frame(opText, []byte(`not JSON, ü`))
			frameOf(t, one, opText, `not JSON, ü`)
			frameOf(t, two, opText, `not JSON, ü`)
			native.wantData("chat.lobby", `not JSON, ü`)
			one.frame(opBinary, []byte{0, 1, 0xff})
			frameOf(t, one, opBinary, "\x00\x01\xff")
			frameOf(t, two, opBinary, "\x00\x01\xff")
			if m := native.wantData("chat.lobby", "AAH/"); m.str("format") != "binary" {
				t.Errorf("native got %v, want format binary", m)
			}
			native.groupSend("chat.lobby", map[string]any{"b": 1})
			frameOf(t, one, opText, `{"b":1}`)
			frameOf(t, two, opText, `{"b":1}`)
			n.groupSend("chat.lobby", map[string]any{"type": "websocket.send", "text": "for Channels"})
			frameOf(t, one, opText, "for Channels")
			frameOf(t, two, opText, "for Channels")

			// The envelope is the native message object.
			for range 4 {
				m := watch.must("message")
				if m.str("group") != "chat.lobby" {
					t.Fatalf("the watcher got %v", m)
				}
			}
			n.groupSend("room.of.wat", 5)
			watch.wantData("room.of.wat", 5)

			// A room with dots is one name all the same; a route whose group is not granted is refused.
			dots := dialRaw(t, n, "/ws/chat/a.b%20c/", bearer(token(t, "one")))
			if c := dots.end(); c.Code != 4403 {
				t.Errorf("a room with a space ended with %v, want 4403", c)
			}
			private := dialRaw(t, n, "/ws/chat/private.1/", bearer(token(t, "one")))
			if c := private.end(); c.Code != 4403 {
				t.Errorf("a denied room ended with %v, want 4403", c)
			}
			watch.frame(opText, []byte("x"))
			if c := watch.end(); c.Code != 4403 {
				t.Errorf("sending on a route without publish ended with %v, want 4403", c)
			}
			refusedHTTP(t, n, "/ws/chat/lobby", bearer(token(t, "one")), 404)
			refusedHTTP(t, n, "/ws/chat/a/b/", bearer(token(t, "one")), 404)
			refusedHTTP(t, n, "/ws/chat/lobby/", header{"Sec-WebSocket-Protocol: bearer." + token(t, "one")}, 400)

			// Pings come as WebSocket pings here, and who does not answer is closed.
			wantPing(t, one)
		})
	}
}

// wantPing reads frames until a WebSocket ping comes.
func wantPing(t testing.TB, s *socket) {
	t.Helper()
	for {
		op, _, p, err := s.readFrame(time.Now().Add(patience))
		if err != nil {
			t.Fatalf("no ping: %v", err)
		}
		if op == opPing {
			s.frame(opPong, p)
			return
		}
	}
}

// waitMemberships waits until the node has exactly that many memberships.
func (n *node) waitMemberships(t testing.TB, want int) {
	t.Helper()
	eventually(t, patience, func() string { return "memberships do not come together" }, func() bool {
		return int(n.metrics().sum("gatecast_memberships")) == want
	})
}

// TestPings: a native conn is pinged by the protocol's own op and closed with 4201 when it does not answer; a raw
// one by WebSocket pings.
func TestPings(t *testing.T) {
	heavy(t)
	t.Parallel()
	n := startNode(t, "a", routesConf())
	alive := dialUser(t, n, "alive")
	dead := dialUser(t, n, "dead")
	raw := dialRaw(t, n, "/ws/chat/lobby/", bearer(token(t, "raw")))
	began := time.Now()
	// Neither answers: frames are read without the client's reflexes.
	deadEnd := make(chan int, 2)
	for _, s := range []*socket{dead, raw} {
		go func() {
			for {
				op, _, p, err := s.readFrame(time.Now().Add(2 * time.Minute))
				if err != nil {
					deadEnd <- 1006
					return
				}
				if op == opClose {
					deadEnd <- int(p[0])<<8 | int(p[1])
					return
				}
			}
		}()
	}
	ended := 0
	for ended < 2 {
		m, err := alive.tryNext(time.Now().Add(time.Second)) // answers pings
		var ce *closedError
		if errors.As(err, &ce) {
			t.Fatalf("the conn that answers ended with %v", ce)
		}
		if err == nil {
			t.Fatalf("the conn that answers got %v", m)
		}
		select {
		case code := <-deadEnd:
			ended++
			if code != 4201 {
				t.Errorf("a conn that answers no ping ended with %d, want 4201", code)
			}
		default:
		}
		if time.Since(began) > time.Minute {
			t.Fatal("conns that answer no ping live on after a minute")
		}
	}
	if took := time.Since(began); took < 9*time.Second {
		t.Errorf("conns were closed %v after their last sign of life, want 10 s after the ping", took)
	}
	alive.ok(msg{"op": "ping"})
}

// TestWhatWentBeforeABreach: all that a page had sent when it broke RFC 6455 comes back to it, in order, before the close frame; what is
// behind the breach does not. On a node with its own broker, in a cluster, and on an existing NATS server.
func TestWhatWentBeforeABreach(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	startOrders(t, role(t, "broker", strconv.Itoa(port)))
	fast := conf{"server.limits.messages_per_second": 0}.over(routesConf())
	nodes := map[string]*node{
		"epoll":           startNode(t, "a", conf{"server.mode": "epoll"}.over(fast)),
		"portable":        startNode(t, "b", conf{"server.mode": "portable"}.over(fast)),
		"in a cluster":    startCluster(t, 2, fast)[0],
		"external broker": startNode(t, "x", fast.over(externalConf(port))),
	}
	for name, n := range nodes {
		t.Run(name, func(t *testing.T) {
			other := dialRaw(t, n, "/ws/chat/7/", bearer(token(t, "other")))
			other.frame(opText, []byte("first"))
			frameOf(t, other, opText, "first") // it has joined
			for round := range 20 {
				s := dialRaw(t, n, "/ws/chat/7/", bearer(token(t, "rash")))
				s.frame(opText, []byte("joined"))
				frameOf(t, s, opText, "joined")
				frameOf(t, other, opText, "joined")
				var b []byte
				for i := range 100 {
					b = appendFrame(b, 0x80|opText, fmt.Appendf(nil, "%d.%d", round, i))
				}
				b = appendFrame(b, 0x80|0x40|opText, []byte("with a reserved bit"))
				s.write(appendFrame(b, 0x80|opText, []byte("behind")))
				for i := range 100 {
					frameOf(t, s, opText, fmt.Sprintf("%d.%d", round, i))
					frameOf(t, other, opText, fmt.Sprintf("%d.%d", round, i))
				}
				s.wantClosed(1002)
			}
			other.frame(opText, []byte("last"))
			frameOf(t, other, opText, "last")
		})
	}
}
