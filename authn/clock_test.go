package authn

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// lasting is a verifier whose tokens are user ids, of logins that last an hour.
type lasting struct{ asked int }

func (v *lasting) Verify(_ context.Context, c Credential) (*Identity, error) {
	v.asked++
	return &Identity{ID: c.Value, Expires: time.Now().Round(0).Add(time.Hour), SessionHash: fmt.Sprintf("%064x", c.Value)}, nil
}

func (*lasting) Rows(context.Context, *Query, string) ([]string, error) { return []string{"1"}, nil }

func lastingChain(t *testing.T) (*Chain, *lasting) {
	t.Helper()
	rules, err := CompileRules([]Rule{{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Join: []string{"room.{row.room}"}}})
	if err != nil {
		t.Fatal(err)
	}
	o, v := DefaultOptions(), &lasting{}
	o.Chain = []string{"test"}
	c, err := NewChain(o, map[string]Verifier{"test": v}, rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.AskRows(v)
	return c, v
}

// What a chain remembers it remembers for as long as it says, whatever becomes of the wall clock: its times have a monotonic reading, by which Go compares
// them. A time that lost it (Round, Truncate, Unix, UTC of a database) would last longer, or not at all, once the clock is set.
func TestWhatAChainRemembersGoesByTheMonotonicClock(t *testing.T) {
	c, _ := lastingChain(t)
	if _, err := c.AuthenticateToken(t.Context(), "42"); err != nil {
		t.Fatal(err)
	}
	session := fmt.Sprintf("%064x", "43")
	c.RevokeSession(session, time.Hour)
	hash, _ := sessionBytes(session)
	for what, until := range map[string]time.Time{
		"a login in the cache": c.accepted.ages.first.until,
		"rows":                 c.recent.users["42"].until,
		"a tombstone":          c.graves.until[hash],
		"its place in line":    c.graves.queue[0].until,
	} {
		if until == until.Round(0) {
			t.Errorf("%s is remembered until %v, by the wall clock", what, until)
		}
	}
}

// The wall clock is set past the end of a login that is in the cache.
func TestALoginThatIsOverIsNotCached(t *testing.T) {
	c, v := lastingChain(t)
	login := func(asked int) {
		t.Helper()
		if id, err := c.AuthenticateToken(t.Context(), "42"); err != nil || !id.Expires.After(time.Now()) || v.asked != asked {
			t.Fatalf("AuthenticateToken = %+v, %v, asked %d times; want %d", id, err, v.asked, asked)
		}
	}
	login(1)
	if login(1); c.accepted.ages.first.id == nil {
		t.Fatal("nothing is cached")
	}
	c.accepted.ages.first.id.Expires = time.Now().Add(-time.Second)
	if _, err := c.CachedToken("42"); err != ErrNotCached {
		t.Errorf("CachedToken = %v, want ErrNotCached", err)
	}
	login(2)
	login(2)
}
