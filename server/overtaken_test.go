package server

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/gatecast/gatecast/authn"
)

// onceVerifier is a verifier whose tokens are good for one login. meanwhile runs while it verifies the first.
type onceVerifier struct {
	deactivating
	mu        sync.Mutex
	used      map[string]bool // guarded by mu, as is meanwhile
	meanwhile func()
}

func (v *onceVerifier) OneTime(c authn.Credential) bool { return c.Value != "" }

func (v *onceVerifier) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	v.mu.Lock()
	used := v.used[c.Value]
	v.used[c.Value] = true
	meanwhile := v.meanwhile
	v.mu.Unlock()
	if used {
		return nil, authn.Refuse("ticket_used", nil)
	}
	meanwhile()
	return v.cookieVerifier.Verify(ctx, c)
}

// A revalidation that comes while a ticket is verified looks at the login again, not at the ticket.
func TestARevalidationDoesNotUseUpATicket(t *testing.T) {
	for name, tt := range map[string]struct {
		token     string
		meanwhile func(n *Node)
		want      string
	}{
		"still good":    {"42", func(n *Node) { n.revalidateUsers(t.Context(), []string{"42"}) }, `{"op":"ok","id":1}`},
		"deactivated":   {"gone", func(n *Node) { n.revalidateUsers(t.Context(), []string{"gone"}) }, `{"op":"error","code":"unauthorized"}`},
		"logged out":    {"43", func(n *Node) { n.revoked.session(sessionHash("43")); n.chain.RevokeSession(sessionHash("43"), 0) }, `{"op":"error","code":"unauthorized"}`},
		"somebody else": {"44", func(n *Node) { n.revalidateUsers(t.Context(), []string{"45"}) }, `{"op":"ok","id":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(t, "auto")
			v := &onceVerifier{used: map[string]bool{}}
			var err error
			if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": v}, nil, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			n, _ := startAlone(t, c)
			v.mu.Lock()
			v.meanwhile = func() { tt.meanwhile(n) }
			v.mu.Unlock()
			s := dial(t, n, "/ws", "")
			s.send(`{"op":"auth","id":1,"token":"%s"}`, tt.token)
			s.want(tt.want)
		})
	}
}

// A login that is in the cache is not held up by failures of others behind the same address, by whatever door it comes.
func TestCachedLoginsAreNotHeldUpByFailures(t *testing.T) {
	c := testConfig(t, "auto")
	c.Authn.FailedPerSecond = 1
	c.Server.TrustedProxies = []string{"127.0.0.1"}
	n, _ := startAlone(t, c)
	from := func() *sock {
		d := ws.Dialer{Header: ws.HandshakeHeaderHTTP{"X-Forwarded-For": {"192.0.2.1"}}, Timeout: patience}
		conn, r, _, err := d.Dial(t.Context(), "ws://"+n.Addr().String()+"/ws")
		if err != nil {
			t.Fatal(err)
		}
		return newSock(t, conn, r)
	}
	first := from()
	first.send(`{"op":"auth","id":1,"token":"42"}`)
	first.want(`{"op":"ok","id":1}`)
	first.want(`{"op":"welcome","user":"42"}`)
	if _, err := n.AuthenticateNative(t.Context(), "42", "192.0.2.1:4222", nil); err != nil {
		t.Fatal(err)
	}

	// As many failures as it takes, for a second is short.
	over := netip.MustParseAddr("192.0.2.1")
	fail := func() {
		for !n.attempts.over(over) {
			n.countAttempt(over, bad)
		}
	}
	fail()
	if _, err := n.AuthenticateNative(t.Context(), "42", "192.0.2.1:4222", nil); err != nil {
		t.Errorf("a cached login by NATS: %v", err)
	}
	fail()
	if _, err := n.AuthenticateNative(t.Context(), "43", "192.0.2.1:4222", nil); err != errAttempts {
		t.Errorf("a new login by NATS: %v, want %v", err, errAttempts)
	}
	fail()
	first.send(`{"op":"auth","id":2,"token":"42"}`)
	first.want(`{"op":"ok","id":2}`)
	second := from()
	second.send(`{"op":"auth","id":1,"token":"42"}`)
	second.want(`{"op":"ok","id":1}`)
}
