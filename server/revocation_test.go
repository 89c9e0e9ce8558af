package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
)

func TestARevocationIsKnownEverywhereBeforeAConnEnds(t *testing.T) {
	n, b := startAlone(t, testConfig(t, "auto"))
	for body, want := range map[[2]string][]string{
		{"disconnect", `{"session":"` + sessionHash("42") + `"}`}: {"forget", "disconnect"},
		{"disconnect", `{"user":"42"}`}:                           {"forget", "disconnect"},
		{"disconnect", `{"conn":"42"}`}:                           {"disconnect"}, // its login stays good
		{"revalidate", `{"user":"42"}`}:                           {"forget", "revalidate"},
		{"group_discard", `{"group":"a","user":"42"}`}:            {"group_discard"},
	} {
		b.mu.Lock()
		b.asked = nil
		b.mu.Unlock()
		n.Call(t.Context(), body[0], []byte(body[1]))
		b.mu.Lock()
		if !slices.Equal(b.asked, want) {
			t.Errorf("%s %s asked every node %v, want %v", body[0], body[1], b.asked, want)
		}
		b.mu.Unlock()
	}
}

func TestANodeThatDoesNotConfirmHoldsUpNoRevocation(t *testing.T) {
	n, b := startAlone(t, testConfig(t, "auto"))
	s := dial(t, n, "/ws", "42")
	s.want(`{"op":"welcome"}`)
	b.mu.Lock()
	b.silent = verbForget
	b.mu.Unlock()
	if got, want := string(n.Call(t.Context(), "disconnect", []byte(`{"session":"`+sessionHash("42")+`","code":4401}`))), `{"ok":true,"conns":1}`; got != want {
		t.Fatalf("disconnect answered %s, want %s", got, want)
	}
	s.wantClose(4401)
}

func TestASessionIsRefusedWhileItsConnsAreStillOpen(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "42")
		s.want(`{"op":"welcome"}`)
		if _, err := n.Ask(t.Context(), verbForget, []byte(`{"session":"`+sessionHash("42")+`"}`)); err != nil {
			t.Fatal(err)
		}
		dial(t, n, "/ws", "42").wantClose(4401)
		s.send(`{"op":"ping","id":1}`)
		s.want(`{"op":"ok","id":1}`)
	})
}

func TestManyUsersAreRevalidatedByOneCall(t *testing.T) {
	n, b := startAlone(t, testConfig(t, "auto"))
	for _, user := range []string{"42", "42", "43", "44"} {
		dial(t, n, "/ws", user).want(`{"op":"welcome"}`)
	}
	if got, want := string(n.Call(t.Context(), "revalidate", []byte(`{"users":["42","43","45"]}`))), `{"ok":true,"conns":3}`; got != want {
		t.Fatalf("revalidate answered %s, want %s", got, want)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if want := []string{"forget", "revalidate"}; !slices.Equal(b.asked, want) {
		t.Errorf("it asked every node %v, want %v", b.asked, want)
	}
}

// overtaking is a verifier during whose sweeps the user is revalidated by somebody else, a few times.
type overtaking struct {
	cookieVerifier
	mu     sync.Mutex
	times  int    // guarded by mu, as is the rest
	looked int    // sweeps
	by     func() // overtakes one
}

func (v *overtaking) Revalidate(_ context.Context, ids []*authn.Identity) []authn.Recheck {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.looked++
	if v.looked <= v.times {
		v.by()
	}
	return make([]authn.Recheck, len(ids))
}

func TestAnOvertakenLoginIsLookedAtAgain(t *testing.T) {
	for _, tt := range []struct {
		times, looked int
		ok            bool
	}{{0, 1, true}, {1, 2, true}, {2, 3, true}, {3, 3, false}} {
		t.Run(fmt.Sprint(tt.times), func(t *testing.T) {
			c := testConfig(t, "auto")
			v := &overtaking{times: tt.times}
			var err error
			if c.Chain, err = authn.NewChain(c.Authn, map[string]authn.Verifier{"test": v}, nil, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			n, _ := startAlone(t, c)
			v.mu.Lock()
			v.by = func() { n.chain.ForgetUser("42") }
			v.mu.Unlock()
			dial(t, n, "/ws", "42").want(`{"op":"welcome"}`)
			got := n.revalidateUsers(t.Context(), []string{"42"})
			v.mu.Lock()
			defer v.mu.Unlock()
			if got.OK != tt.ok || v.looked != tt.looked {
				t.Errorf("answered %+v after %d sweeps, want ok %v after %d", got, v.looked, tt.ok, tt.looked)
			}
		})
	}
}

// What was revoked is known for a minute at least, and against every login that began before, whatever becomes of the wall clock.
func TestRevocationsGoByTheMonotonicClock(t *testing.T) {
	var r revocations
	r.user("42")
	for what, at := range map[string]time.Time{"the time of a revocation": r.recent["user 42"], "the age of the map": r.turned} {
		if at == at.Round(0) {
			t.Errorf("%s is %v, by the wall clock", what, at)
		}
	}
}
