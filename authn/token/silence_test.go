package token

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
	"github.com/gatecast/gatecast/authn/breaker"
)

// A table of tokens that hangs costs the first logins query_timeout, and no others; tokens of another table are as good as ever, and it is found out that the table is back.
func TestATableThatHangsIsLeftAlone(t *testing.T) {
	s := newPostgresSite(t, "integer")
	s.addUser("42")
	s.addDRF(aliceToken, "42")
	s.addKnox(knoxToken, "42", time.Now().Add(time.Hour))
	s.limit = time.Second
	v := s.open(t)
	login := func() error {
		_, err := v.Verify(t.Context(), authntest.WithBearer(aliceToken))
		return err
	}
	id, how := verify(t, v, aliceToken)
	if how != "accepted" {
		t.Fatal(how)
	}
	tx, err := s.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("LOCK TABLE authtoken_token IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	var first sync.WaitGroup
	for range 8 {
		first.Go(func() {
			if err := login(); err == nil || isRefusal(err) || errors.Is(err, breaker.ErrOpen) {
				t.Errorf("Verify of those that are first = %v, want that there was no answer", err)
			}
		})
	}
	first.Wait()
	alone := false
	for tries := 0; tries < 10 && !alone; tries++ { // a machine that stands still for a second makes a login that comes after a probe
		alone = errors.Is(login(), breaker.ErrOpen) && errors.Is(v.Ping(t.Context()), breaker.ErrOpen)
	}
	if !alone {
		t.Error("those that come after wait as well, or the node is ready")
	}
	if _, how := verify(t, v, knoxToken); how != "accepted" {
		t.Errorf("a token of another table: %s", how)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); login() != nil; <-tick.C {
		if time.Now().After(end) {
			t.Fatal("it is not found out that the table answers again")
		}
	}
	if a := v.Revalidate(context.Background(), []*authn.Identity{id}); a[0].Err != nil {
		t.Errorf("a sweep = %v", a[0].Err)
	}
	if err := v.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
