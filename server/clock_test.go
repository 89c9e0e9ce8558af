package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
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
