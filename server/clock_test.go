package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/loop"
)

// setClock is a wall clock that goes as the machine's does until it is set. Every other clock goes on as it was.
type setClock struct{ by atomic.Int64 }

func (c *setClock) now() time.Time       { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *setClock) set(by time.Duration) { c.by.Store(int64(by)) }

// tokens is a verifier whose logins end by themselves, with the time in their cookie.
type tokens struct{ cookieVerifier }

func (v tokens) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	id, err := v.cookieVerifier.Verify(ctx, c)
	if err != nil {
		return nil, err
	}
	id.SessionHash = ""
	if lasts, err := time.ParseDuration(id.ID); err == nil {
		id.Expires = time.Now().Add(lasts)
	}
	return id, nil
}

// ticks waits until every loop has ticked that often.
func ticks(t testing.TB, n *Node, count uint32) {
	t.Helper()
	now := func() (at []uint32) {
		at = make([]uint32, len(n.owners))
		n.onLoops(func(o *owner) { at[o.loop.Index()] = o.loop.Now() })
		return at
	}
	before := now()
	eventually(t, "ticks of all loops", func() bool {
		for i, at := range now() {
			if at < before[i]+count {
				return false
			}
		}
		return true
	})
}

func TestTheWallClockIsSet(t *testing.T) {
	t.Parallel() // it waits for ticks
	clock := &setClock{}
	c := testConfig(t, loop.ModeAuto)
	c.wall = clock.now
	c.Server.Ping = 0                            // else pings look at a conn every now and then
	c.Server.Limits.MessageTimeout = time.Minute // by the loop's time
	var err error
	c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": tokens{}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n, _ := startAlone(t, c)
	hour, ever, half, soon := dial(t, n, "/ws", "1h"), dial(t, n, "/ws", "ever"), dial(t, n, "/ws", "half"), dial(t, n, "/ws", "4s")
	for _, s := range []*sock{hour, ever, half, soon} {
		s.want(`{"op":"welcome"}`)
	}
	alive := func(s *sock) {
		t.Helper()
		s.send(`{"op":"ping","id":1}`)
		s.want(`{"op":"ok","id":1}`)
	}
	if _, err := half.Write([]byte{0x81, 0x85}); err != nil { // the beginning of a frame
		t.Fatal(err)
	}

	clock.set(-24 * time.Hour) // the login of 4 s has 24 h more to go
	ticks(t, n, 7)
	alive(soon)

	clock.set(0) // it is over
	soon.want(`{"op":"close","code":4401}`)
	soon.wantClose(closeUnauthorized)
	alive(hour)

	clock.set(2 * time.Hour)
	hour.want(`{"op":"close","code":4401}`)
	hour.wantClose(closeUnauthorized)
	alive(ever)
	if _, err := half.Write([]byte{0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'}); err != nil { // no message_timeout came early
		t.Fatal(err)
	}
	half.want(`{"op":"close","code":4400}`) // for it is no JSON
}

// A native user's login ends by the wall clock too. NATS's own timer does not know when that is set.
func TestTheWallClockIsSetForUsersByNATS(t *testing.T) {
	t.Parallel() // it waits for ticks
	clock := &setClock{}
	c := testConfig(t, loop.ModeAuto)
	c.wall = clock.now
	var err error
	c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": tokens{}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n := startNode(t, c)
	clients := make(map[string]*nats.Conn)
	for _, token := range []string{"1h", "48h", "ever"} {
		if clients[token], err = nats.Connect(n.broker.ClientURL(), nats.Token(token), nats.NoReconnect()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(clients[token].Close)
	}
	clock.set(-24 * time.Hour)
	ticks(t, n, 3)
	if users := n.broker.NativeUsers(); len(users) != 3 {
		t.Errorf("set back: in are %v", users)
	}
	clock.set(2 * time.Hour)
	eventually(t, "the end of the login of an hour", clients["1h"].IsClosed)
	if clients["48h"].IsClosed() || clients["ever"].IsClosed() {
		t.Error("others were ended too")
	}
}

// It is set while the node starts, when it has loops and no broker yet.
func TestTheWallClockIsSetDuringTheStart(t *testing.T) {
	t.Parallel() // it waits for ticks
	clock := &setClock{}
	c := testConfig(t, loop.ModeAuto)
	c.wall = clock.now
	b := &loopback{count: map[string]int{}}
	n, err := open(t.Context(), c, func(n *Node) (Broker, error) {
		b.node = n
		ticks(t, n, 2)
		clock.set(24 * time.Hour)
		ticks(t, n, 2)
		return b, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	runNode(t, n)
	dial(t, n, "/ws", "a").want(`{"op":"welcome"}`)
}

// apart is how wrong the clocks of the nodes below are, either way.
const apart = 10 * time.Minute

// wrongClocks starts three nodes of one cluster, the clocks of the first and last apart from that between.
func wrongClocks(t *testing.T, v authn.Verifier) (nodes []*Node) {
	t.Helper()
	var routes []string
	for i, by := range []time.Duration{-apart, 0, apart} {
		c := testConfig(t, loop.ModeAuto)
		clock := &setClock{}
		clock.set(by)
		c.wall = clock.now
		c.Broker.Name = string(rune('a' + i))
		c.Broker.Cluster = broker.ClusterOptions{Listen: "127.0.0.1:0", Routes: routes, Token: "0123456789abcdef"}
		var err error
		if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": v}, nil, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		var b *broker.Broker
		n, err := open(t.Context(), c, func(n *Node) (Broker, error) {
			b, err = broker.Open(t.Context(), c.Broker, n, n.log)
			return b, err
		})
		if err != nil {
			t.Fatal(err)
		}
		runNode(t, n)
		nodes, routes = append(nodes, n), append(routes, "nats://"+b.ClusterAddr())
	}
	for _, n := range nodes {
		eventually(t, "all nodes", func() bool { return len(n.broker.Nodes()) == len(nodes) })
	}
	return nodes
}

func TestRevocationsByClocksThatDiffer(t *testing.T) {
	t.Parallel()
	nodes := wrongClocks(t, cookieVerifier{})
	for i, teller := range nodes { // each in turn tells the others
		user := "u" + teller.broker.Name()
		in := func(token string) (socks []*sock) {
			t.Helper()
			for _, n := range nodes {
				s := dial(t, n, "/ws", token)
				s.want(`{"op":"welcome"}`)
				socks = append(socks, s)
			}
			return socks
		}
		call := func(verb, body string, conns int) {
			t.Helper()
			if got, want := string(teller.Call(t.Context(), verb, []byte(body))), fmt.Sprintf(`{"ok":true,"conns":%d}`, conns); got != want {
				t.Fatalf("%s %s, told by %s, answered %s, want %s", verb, body, teller.broker.Name(), got, want)
			}
		}
		socks := in(user)
		call("revalidate", `{"user":"`+user+`"}`, len(nodes))
		for _, s := range socks { // still in
			s.send(`{"op":"ping","id":1}`)
			s.want(`{"op":"ok","id":1}`)
		}
		call("disconnect", `{"user":"`+user+`","code":4410}`, len(nodes))
		for _, s := range socks {
			s.wantClose(closeDisconnected)
		}
		socks = in("session" + user)
		call("disconnect", `{"session":"`+sessionHash("session"+user)+`","code":4401}`, len(nodes))
		for _, s := range socks {
			s.wantClose(closeUnauthorized)
		}
		for k, n := range nodes { // no clock is so far ahead that a tombstone is over, or so far behind that it has not begun
			if !n.chain.Revoked(sessionHash("session" + user)) {
				t.Errorf("told by node %d, node %d has no tombstone", i, k)
			}
			dial(t, n, "/ws", "session"+user).wantClose(closeUnauthorized)
		}
	}
}

// A login with an end ends when its issuer said so, by the clock of the node that it is on and no other's.
func TestALoginEndsByTheClockOfItsNode(t *testing.T) {
	t.Parallel()
	nodes := wrongClocks(t, tokens{})
	var socks []*sock
	for _, n := range nodes {
		s := dial(t, n, "/ws", "5m")
		s.want(`{"op":"welcome"}`)
		socks = append(socks, s)
	}
	socks[2].want(`{"op":"close","code":4401}`) // ten minutes ahead, where it is over
	ticks(t, nodes[0], 2)
	for _, s := range socks[:2] {
		s.send(`{"op":"ping","id":1}`)
		s.want(`{"op":"ok","id":1}`)
	}
}

func TestTimersRunThoughTheWallClockStands(t *testing.T) {
	t.Parallel()
	stopped := time.Now()
	c := testConfig(t, loop.ModeAuto)
	c.wall = func() time.Time { return stopped }
	c.Server.Limits.HandshakeTimeout, c.Server.Limits.MessageTimeout = time.Second, time.Second
	n, _ := startAlone(t, c)
	s, silent := dial(t, n, "/ws", "a"), request(t, n, "GET /ws HTTP/1.1\r\n")
	s.want(`{"op":"welcome"}`)
	if _, err := s.Write([]byte{0x81, 0x85}); err != nil {
		t.Fatal(err)
	}
	if got, _ := silent.status(); got != 408 {
		t.Errorf("half a handshake was answered %d, want 408", got)
	}
	s.wantClose(closeProtocol)
}
