package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
)

// silent is a verifier whose logins may end without a word to anybody. Before they do it may be down.
type silent struct {
	cookieVerifier
	mu          sync.Mutex
	ended, down bool // guarded by mu
	looks       int  // at logins; guarded by mu
}

func (v *silent) set(ended, down bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended, v.down = ended, down
}

func (v *silent) answer() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.down:
		return errors.New("down")
	case v.ended:
		return authn.Refuse("inactive", nil)
	}
	return nil
}

func (v *silent) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	if err := v.answer(); err != nil {
		return nil, err
	}
	return v.cookieVerifier.Verify(ctx, c)
}

func (v *silent) Revalidate(_ context.Context, ids []*authn.Identity) []authn.Recheck {
	v.mu.Lock()
	v.looks++
	v.mu.Unlock()
	out := make([]authn.Recheck, len(ids))
	for i := range out {
		out[i].Err = v.answer()
	}
	return out
}

func (v *silent) looked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.looks
}

// startSilent starts a node that never sweeps by itself, with a conn of user 42. Logins of the verifier "other" can always be asked about.
func startSilent(t *testing.T) (*Node, *loopback, *silent, *sock) {
	t.Helper()
	c, v := testConfig(t, "auto"), &silent{}
	c.Authn.Revalidate, c.Authn.Chain = 0, []string{"test", "other"}
	var err error
	if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": v, "other": deactivating{}}, nil, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	n, b := startAlone(t, c)
	s := dial(t, n, "/ws", "42")
	s.want(`{"op":"welcome"}`)
	return n, b, v, s
}

// What the backend says while the verifier is down is said once: the node looks again by itself.
func TestARevalidationInVainIsTriedAgain(t *testing.T) {
	n, _, v, s := startSilent(t)
	v.set(true, true)
	if got := n.revalidateUsers(t.Context(), []string{"42"}); got.OK {
		t.Fatalf("answered %+v, want that it could not look", got)
	}
	v.set(true, false)
	s.wantClose(4401)
}

// A login that can be asked about stays as it is while another of its user cannot: a client by NATS would have to come in again and again.
func TestDoubtsLeaveOtherLoginsAlone(t *testing.T) {
	n, b, v, s := startSilent(t)
	v.set(true, true)
	if got := n.revalidateUsers(t.Context(), []string{"42"}); got.OK {
		t.Fatalf("answered %+v, want that it could not look", got)
	}
	b.mu.Lock()
	b.natives = []broker.NativeUser{{ID: "42", Login: &nativeLogin{id: &authn.Identity{ID: "42", Kind: authn.KindUser, Verifier: "other"}}}}
	b.mu.Unlock()
	before := v.looked()
	eventually(t, "two more looks", func() bool { return v.looked() >= before+2 })
	v.set(true, false)
	s.wantClose(4401)
	if got := b.NativeUsers(); len(got) != 1 {
		t.Errorf("by NATS are %v, want the login that did not change", got)
	}
}

// A node that others had given up has missed what they were told meanwhile: no old login is taken from the cache, and no conn by one stays.
func TestANodeThatWasGivenUpLooksAtAllLogins(t *testing.T) {
	n, _, v, s := startSilent(t)
	v.set(true, false)
	dial(t, n, "/ws", "42").want(`{"op":"welcome"}`) // from the cache
	n.Missed()
	dial(t, n, "/ws", "42").wantClose(4401)
	s.wantClose(4401)
}
