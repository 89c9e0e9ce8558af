package server

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
)

// deactivating is a verifier that refuses the user "gone" at every later look.
type deactivating struct{ cookieVerifier }

func (deactivating) Revalidate(_ context.Context, ids []*authn.Identity) []authn.Recheck {
	out := make([]authn.Recheck, len(ids))
	for i, id := range ids {
		if id.ID == "gone" {
			out[i].Err = authn.Refuse("inactive", nil)
		}
	}
	return out
}

func TestASweepReachesUsersWhoCameByNATS(t *testing.T) {
	c := testConfig(t, "auto")
	c.Authn.Revalidate = 20 * time.Millisecond
	var err error
	c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": deactivating{}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n, b := startAlone(t, c)
	var users []broker.NativeUser
	for _, token := range []string{"gone", "stays"} {
		u, err := n.AuthenticateNative(t.Context(), token, "127.0.0.1:1", nil)
		if err != nil {
			t.Fatal(err)
		}
		users = append(users, u)
	}
	b.mu.Lock()
	b.natives = users
	b.mu.Unlock()
	eventually(t, "the end of the refused user", func() bool { return len(b.NativeUsers()) < 2 })
	if left := b.NativeUsers(); len(left) != 1 || left[0].ID != "stays" {
		t.Fatalf("left are %v, want stays alone", left)
	}
}

// A login by NATS that is on its way in when a sweep or a reload looks at those that are in is looked at again.
func TestWhatOvertakesALoginByNATS(t *testing.T) {
	c := testConfig(t, "auto")
	var err error
	c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": deactivating{}}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	n, b := startAlone(t, c)
	login := func(token string) broker.NativeUser {
		t.Helper()
		u, err := n.AuthenticateNative(t.Context(), token, "127.0.0.1:1", nil)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	b.mu.Lock()
	b.natives = []broker.NativeUser{login("gone"), login("stays")}
	b.mu.Unlock()
	gone, stays := login("gone"), login("stays")
	n.sweepLogins(t.Context())
	if !n.NativeOvertaken(gone) || n.NativeOvertaken(stays) {
		t.Errorf("a sweep overtook gone: %v, stays: %v; want true and false", n.NativeOvertaken(gone), n.NativeOvertaken(stays))
	}
	rules, err := authn.CompileRules(nil)
	if err != nil {
		t.Fatal(err)
	}
	if n.SetRules(rules); !n.NativeOvertaken(stays) || n.NativeOvertaken(login("stays")) {
		t.Error("of a reload it wants to be true for who came before it, and for nobody else")
	}
}
