package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"github.com/gatecast/gatecast/authn"
)

// silent is a verifier whose logins may end without a word to anybody. Before they do it may be down.
type silent struct {
	cookieVerifier
	mu          sync.Mutex
	ended, down bool // guarded by mu
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
	out := make([]authn.Recheck, len(ids))
	for i := range out {
		out[i].Err = v.answer()
	}
	return out
}

// startSilent starts a node that never sweeps by itself, with a conn of user 42.
func startSilent(t *testing.T) (*Node, *silent, *sock) {
	t.Helper()
	c, v := testConfig(t, "auto"), &silent{}
	c.Authn.Revalidate = 0
	var err error
	if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": v}, nil, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	n, _ := startAlone(t, c)
	s := dial(t, n, "/ws", "42")
	s.want(`{"op":"welcome"}`)
	return n, v, s
}

// What the backend says while the verifier is down is said once: the node looks again by itself.
func TestARevalidationInVainIsTriedAgain(t *testing.T) {
	n, v, s := startSilent(t)
	v.set(true, true)
	if got := n.revalidateUsers(t.Context(), []string{"42"}); got.OK {
		t.Fatalf("answered %+v, want that it could not look", got)
	}
	v.set(true, false)
	s.wantClose(4401)
}

// A node that others had given up has missed what they were told meanwhile: no old login is taken from the cache, and no conn by one stays.
func TestANodeThatWasGivenUpLooksAtAllLogins(t *testing.T) {
	n, v, s := startSilent(t)
	v.set(true, false)
	dial(t, n, "/ws", "42").want(`{"op":"welcome"}`) // from the cache
	n.Missed()
	dial(t, n, "/ws", "42").wantClose(4401)
	s.wantClose(4401)
}
