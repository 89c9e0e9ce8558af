package authn_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
	"github.com/gatecast/gatecast/authn/breaker"
)

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// hashed is a verifier of session cookies; tells says whether it tells the session's hash before it looks.
func hashed(tells bool, answer func(ctx context.Context, key string) (*authn.Identity, error)) *authntest.Fake {
	f := &authntest.Fake{Cookie: "sessionid", Answer: func(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
		key, ok := c.Cookie("sessionid")
		if !ok {
			return nil, authn.ErrNotMine
		}
		id, err := answer(ctx, key)
		if id != nil {
			id.SessionHash = hashOf(key)
		}
		return id, err
	}}
	if tells {
		f.Hash = func(c authn.Credential) (string, bool) {
			key, ok := c.Cookie("sessionid")
			return hashOf(key), ok
		}
	}
	return f
}

func accept(_ context.Context, key string) (*authn.Identity, error) {
	return &authn.Identity{ID: "user-" + key}, nil
}

func one(v authn.Verifier) map[string]authn.Verifier { return map[string]authn.Verifier{"django": v} }

func onlyDjango(o *authn.Options) { o.Chain = []string{"django"} }

func cookie(key string) *authn.Request { return &authn.Request{Cookie: "sessionid=" + key} }

func TestAnswersAreKeptForAWhile(t *testing.T) {
	tests := []struct {
		name   string
		answer func(context.Context, string) (*authn.Identity, error)
		kept   time.Duration // 0 = not at all
	}{
		{"accepted", accept, 10 * time.Second},
		{"refused", func(context.Context, string) (*authn.Identity, error) { return nil, authn.Refuse("bad_signature", nil) }, time.Second},
		{"no login", func(context.Context, string) (*authn.Identity, error) { return nil, authn.ErrNoLogin }, time.Second},
		{"unavailable", func(context.Context, string) (*authn.Identity, error) { return nil, errors.New("down") }, 0},
		{"accepted, but not for long", func(_ context.Context, key string) (*authn.Identity, error) {
			return &authn.Identity{ID: key, Expires: time.Now().Add(3 * time.Second)}, nil
		}, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := hashed(true, tt.answer)
				c := newChain(t, onlyDjango, one(v))
				ask := func(want int, when string) {
					t.Helper()
					_, _ = c.Authenticate(t.Context(), cookie("k"))
					if v.Asked() != want {
						t.Errorf("%s: asked %d times, want %d", when, v.Asked(), want)
					}
				}
				ask(1, "at first")
				if tt.kept == 0 {
					ask(2, "at once")
					return
				}
				ask(1, "at once")
				advance(tt.kept - time.Millisecond)
				ask(1, "just before")
				advance(time.Millisecond)
				ask(2, "when it is old")
			})
		})
	}
}

func TestAnOutageIsNoRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		v := hashed(true, func(ctx context.Context, key string) (*authn.Identity, error) {
			if down.Load() {
				return nil, errors.New("down")
			}
			return accept(ctx, key)
		})
		c := newChain(t, onlyDjango, one(v))
		wants := func(key string, accepted bool, when string) {
			t.Helper()
			id, err := c.Authenticate(t.Context(), cookie(key))
			var refused *authn.Refused
			if accepted != (err == nil && id.ID == "user-"+key) || errors.As(err, &refused) {
				t.Errorf("%s %s = %v, %v; want accepted = %v, and no refusal", when, key, id, err, accepted)
			}
		}
		wants("known", true, "before")
		down.Store(true)
		wants("known", true, "during the outage")
		wants("new", false, "during the outage")
		advance(10 * time.Second)
		wants("known", false, "after cache_ttl")
		down.Store(false)
		wants("known", true, "at once when it is over")
		wants("new", true, "at once when it is over")
	})
}

// advance moves the clock of a synctest bubble.
func advance(d time.Duration) { <-time.After(d) }

func TestTheCacheKeepsCredentialsApart(t *testing.T) {
	v := hashed(false, accept)
	v.Cookie = "sessionid"
	w := tokens("jwt-")
	c := newChain(t, func(o *authn.Options) { o.Carriers = append(o.Carriers, "query") }, map[string]authn.Verifier{"django": v, "jwt": w})
	for _, r := range []*authn.Request{cookie("a"), cookie("b"), {Token: "jwt-a"}, {Authorization: "Bearer jwt-a"}, {Authorization: "Token jwt-a"}, {Authorization: "Bearer jwt-b"}} {
		for range 2 {
			if got := answer(c.Authenticate(t.Context(), r)); got == "unavailable" {
				t.Error(got)
			}
		}
	}
	if v.Asked() != 2+4 || w.Asked() != 4 {
		t.Errorf("asked %d and %d times, want 6 and 4", v.Asked(), w.Asked())
	}
	// Other cookies beside the one that counts change nothing.
	if _, err := c.Authenticate(t.Context(), &authn.Request{Cookie: "theme=dark; sessionid=a"}); err != nil || v.Asked() != 6 {
		t.Errorf("asked %d times, %v", v.Asked(), err)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	v := hashed(true, func(_ context.Context, key string) (*authn.Identity, error) {
		if key[0] == 'x' {
			return nil, authn.Refuse("bad_signature", nil)
		}
		return &authn.Identity{ID: key}, nil
	})
	c := newChain(t, func(o *authn.Options) { onlyDjango(o); o.CacheEntries = 10 }, one(v))
	for i := range 100 {
		_, _ = c.Authenticate(t.Context(), cookie(fmt.Sprint(i)))
	}
	if n := c.Stats().CacheEntries; n != 10 {
		t.Errorf("%d entries, want 10", n)
	}
	for i := range 2000 {
		_, _ = c.Authenticate(t.Context(), cookie(fmt.Sprint("x", i)))
	}
	if n := c.Stats().CacheEntries; n > 10+1024 {
		t.Errorf("%d entries, want at most %d", n, 10+1024)
	}
	asked := v.Asked()
	if _, err := c.Authenticate(t.Context(), cookie("99")); err != nil || v.Asked() != asked {
		t.Error("refusals pushed out a login")
	}
}

func TestPruneGivesBackWhatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t, onlyDjango, one(hashed(true, accept)))
		_, _ = c.Authenticate(t.Context(), cookie("a"))
		if c.Prune(); c.Stats().CacheEntries != 1 {
			t.Fatal("a login that is still good was given up")
		}
		advance(authn.DefaultOptions().CacheTTL)
		if c.Prune(); c.Stats().CacheEntries != 0 {
			t.Fatal("an old login was kept")
		}
	})
}

func TestAStormAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := hashed(true, func(ctx context.Context, key string) (*authn.Identity, error) {
			advance(time.Second)
			return &authn.Identity{ID: key}, nil
		})
		c := newChain(t, onlyDjango, one(v))
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got := answer(c.Authenticate(t.Context(), cookie("k"))); got != "k by cookie" {
					t.Error(got)
				}
			})
		}
		wg.Wait()
		if v.Asked() != 1 {
			t.Errorf("asked %d times, want once", v.Asked())
		}
		if s := c.Stats(); s.CacheShared != 99 || s.CacheMisses != 1 {
			t.Errorf("Stats = %+v", s)
		}
	})
}

func TestWhoGivesUpLeavesTheOthersWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cancelled atomic.Int32
		v := hashed(true, func(ctx context.Context, key string) (*authn.Identity, error) {
			select {
			case <-time.After(3 * time.Second):
				return &authn.Identity{ID: key}, nil
			case <-ctx.Done():
				cancelled.Add(1)
				return nil, ctx.Err()
			}
		})
		c := newChain(t, onlyDjango, one(v))
		start := func(patience time.Duration, key, want string) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if got := answer(c.Authenticate(ctx, cookie(key))); got != want {
					t.Errorf("%s with %v: %s, want %s", key, patience, got, want)
				}
			}()
			synctest.Wait()
		}
		start(time.Second, "a", "a by cookie") // leads, and goes on for the second
		start(time.Minute, "a", "a by cookie")
		start(2*time.Second, "a", "unavailable")
		start(time.Second, "b", "unavailable") // alone
		start(2*time.Second, "b", "unavailable")
		advance(10 * time.Second)
		if cancelled.Load() != 1 {
			t.Errorf("%d lookups were cancelled, want that of b", cancelled.Load())
		}
	})
}

func TestAVerifierHasLimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := hashed(true, func(ctx context.Context, _ string) (*authn.Identity, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		c := newChain(t, onlyDjango, one(v))
		start := time.Now()
		if _, err := c.Authenticate(t.Context(), cookie("a")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Authenticate = %v", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("it took %v, want authn.timeout", took)
		}
	})
}

// A verifier has to tell a login whose time was up from one that went away, also when the login's own time is what ends the question.
func TestAVerifierHearsWhyItIsCancelled(t *testing.T) {
	for _, want := range []error{context.DeadlineExceeded, context.Canceled} {
		synctest.Test(t, func(t *testing.T) {
			cause := make(chan error, 1)
			v := hashed(true, func(ctx context.Context, _ string) (*authn.Identity, error) {
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return nil, ctx.Err()
			})
			c := newChain(t, func(o *authn.Options) { onlyDjango(o); o.Timeout = 0 }, one(v))
			ctx, cancel := context.WithCancel(t.Context())
			if want == context.DeadlineExceeded {
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			}
			defer cancel()
			if want == context.Canceled {
				go cancel()
			}
			if _, err := c.Authenticate(ctx, cookie("a")); err == nil {
				t.Error("it was accepted")
			}
			if got := <-cause; !errors.Is(got, want) {
				t.Errorf("the verifier is cancelled because of %v, want %v", got, want)
			}
		})
	}
}

// While a verifier leaves a database alone, logins in the cache are good, and those that are sent away are counted apart.
func TestLeftAloneIsCountedApart(t *testing.T) {
	b := &breaker.Breaker{Name: "the database", Limit: 1, Pause: time.Hour}
	down := false
	v := hashed(true, func(ctx context.Context, key string) (id *authn.Identity, err error) {
		err = b.Ask(ctx, func() error {
			if down {
				return io.EOF
			}
			id, err = accept(ctx, key)
			return err
		})
		return id, err
	})
	c := newChain(t, onlyDjango, one(v))
	for _, key := range []string{"known", "first", "second", "third", "known"} {
		id, err := c.Authenticate(t.Context(), cookie(key))
		var refused *authn.Refused
		if (key == "known") != (err == nil && id.ID == "user-known") || errors.As(err, &refused) {
			t.Errorf("%s = %v, %v", key, id, err)
		}
		down = true
	}
	got := map[string]uint64{}
	for _, a := range c.Stats().Answers {
		got[fmt.Sprint(a.Outcome, " ", a.Reason)] = a.Count
	}
	if got["accepted "] != 2 || got["unavailable "] != 1 || got["unavailable left_alone"] != 2 {
		t.Errorf("Answers = %v", got)
	}
}

func TestRevokedSessionsAreRefusedUnread(t *testing.T) {
	for _, tells := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			v := hashed(tells, accept)
			c := newChain(t, onlyDjango, one(v))
			r := cookie("k")
			if got := answer(c.Authenticate(t.Context(), r)); got != "user-k by cookie" {
				t.Fatal(got)
			}
			c.RevokeSession(hashOf("k"), 0)
			asked := v.Asked()
			for range 2 {
				if got := answer(c.Authenticate(t.Context(), r)); got != "refused revoked" {
					t.Errorf("after the logout: %s", got)
				}
			}
			if tells && v.Asked() != asked {
				t.Error("the revoked session was read")
			}
			if got := answer(c.Authenticate(t.Context(), cookie("other"))); got != "user-other by cookie" {
				t.Errorf("another session: %s", got)
			}
			steps := c.Explain(t.Context(), r)
			if last := steps[len(steps)-1]; last.Reason != "revoked" {
				t.Errorf("Explain ends with %+v", last)
			}
			advance(10*time.Minute - time.Second)
			if got := answer(c.Authenticate(t.Context(), r)); got != "refused revoked" {
				t.Errorf("nearly ten minutes after: %s", got)
			}
			advance(2 * time.Second)
			if got := answer(c.Authenticate(t.Context(), r)); got != "user-k by cookie" {
				t.Errorf("after ten minutes: %s", got)
			}
			if s := c.Stats(); s.Revoked < 3 {
				t.Errorf("Stats = %+v", s)
			}
		})
	}
}

func TestTombstonesLastAsLongAsAVerifierNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := hashed(true, accept)
		v.TTL = 24 * time.Hour
		c := newChain(t, onlyDjango, one(v))
		c.RevokeSession(hashOf("k"), time.Hour)
		c.RevokeSession(hashOf("k"), time.Minute) // never shorter
		advance(23 * time.Hour)
		if got := answer(c.Authenticate(t.Context(), cookie("k"))); got != "refused revoked" {
			t.Errorf("after 23 hours: %s", got)
		}
	})
}

func TestTombstonesAreBounded(t *testing.T) {
	c := newChain(t, func(o *authn.Options) { onlyDjango(o); o.Tombstones = 100 }, one(hashed(true, accept)))
	for i := range 1000 {
		c.RevokeSession(hashOf(fmt.Sprint(i)), 0)
		c.RevokeSession(hashOf(fmt.Sprint(i)), 0)
	}
	for _, junk := range []string{"", "x", hashOf("k")[1:], hashOf("k") + "00", "zz" + hashOf("k")[2:]} {
		c.RevokeSession(junk, 0)
	}
	if n := c.Stats().Tombstones; n != 100 {
		t.Errorf("%d tombstones, want 100", n)
	}
	if got := answer(c.Authenticate(t.Context(), cookie("999"))); got != "refused revoked" {
		t.Errorf("the last one revoked: %s", got)
	}
}

func TestALookupBegunBeforeTheLogoutIsRefused(t *testing.T) {
	for _, tells := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			v := hashed(tells, func(_ context.Context, key string) (*authn.Identity, error) {
				advance(time.Second) // it has read the row, Django deletes it now
				return &authn.Identity{ID: key}, nil
			})
			c := newChain(t, onlyDjango, one(v))
			got := make(chan string, 2)
			for range 2 {
				go func() { got <- answer(c.Authenticate(t.Context(), cookie("k"))) }()
			}
			synctest.Wait()
			c.RevokeSession(hashOf("k"), 0)
			for range 2 {
				if got := <-got; got != "refused revoked" {
					t.Errorf("a lookup begun before: %s", got)
				}
			}
		})
	}
}

func TestForgetUserAsksAgain(t *testing.T) {
	testForget(t, func(c *authn.Chain) { c.ForgetUser("k") })
}

func TestForgetAllAsksAgain(t *testing.T) { testForget(t, (*authn.Chain).ForgetAll) }

func testForget(t *testing.T, forget func(*authn.Chain)) {
	synctest.Test(t, func(t *testing.T) {
		var kind atomic.Pointer[string]
		user, staff := authn.KindUser, authn.KindStaff
		kind.Store(&user)
		v := hashed(true, func(_ context.Context, key string) (*authn.Identity, error) {
			id := &authn.Identity{ID: key, Kind: *kind.Load()}
			advance(time.Second)
			return id, nil
		})
		c := newChain(t, onlyDjango, one(v))
		kinds := make(chan string, 3)
		ask := func() {
			id, err := c.Authenticate(t.Context(), cookie("k"))
			if err != nil {
				kinds <- err.Error()
				return
			}
			kinds <- id.Kind
		}
		go ask()
		go ask()
		synctest.Wait()
		kind.Store(&staff) // while two wait for an answer read before
		forget(c)
		c.ForgetUser("somebody else")
		for range 2 {
			if got := <-kinds; got != staff {
				t.Errorf("in flight: %s, want staff", got)
			}
		}
		kind.Store(&user)
		if ask(); <-kinds != staff {
			t.Error("the answer was not kept")
		}
		forget(c)
		if ask(); <-kinds != user {
			t.Error("the cached answer was not dropped")
		}
	})
}

func TestAUserWhoChangesAllTheTimeIsUnavailable(t *testing.T) {
	var c *authn.Chain
	v := hashed(true, func(_ context.Context, key string) (*authn.Identity, error) {
		c.ForgetUser(key)
		return &authn.Identity{ID: key}, nil
	})
	c = newChain(t, onlyDjango, one(v))
	if got := answer(c.Authenticate(t.Context(), cookie("k"))); got != "unavailable" || v.Asked() != 3 {
		t.Errorf("%s after %d times", got, v.Asked())
	}
}

func TestStatsCountAnswers(t *testing.T) {
	c := newChain(t, nil, nil)
	for _, key := range []string{"42", "42", "tampered", "down"} {
		_, _ = c.Authenticate(t.Context(), cookie(key))
	}
	got := map[string]uint64{}
	for _, a := range c.Stats().Answers {
		got[fmt.Sprint(a.Verifier, " ", a.Outcome, " ", a.Reason)] = a.Count
	}
	if got["django accepted "] != 2 || got["django refused bad_signature"] != 1 || got["django unavailable "] != 1 {
		t.Errorf("Answers = %v", got)
	}
}

func TestTheChainMayBeUsedConcurrently(t *testing.T) {
	c := newChain(t, func(o *authn.Options) { o.CacheEntries, o.Tombstones = 20, 20 }, map[string]authn.Verifier{"django": hashed(true, accept), "jwt": tokens("jwt-")})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				key := fmt.Sprint("k", (i*7+g)%50)
				id, err := c.Authenticate(t.Context(), &authn.Request{Cookie: "sessionid=" + key, Authorization: "Bearer jwt-" + key})
				switch {
				case err == nil && id.ID != "user-"+key:
					t.Errorf("user %q for %q", id.ID, key)
				case err == nil:
					_, _ = c.Grants(id, "c")
					c.Revalidate(t.Context(), []*authn.Identity{id})
				}
				switch i % 10 {
				case 0:
					c.RevokeSession(hashOf(fmt.Sprint("k", i%50)), 0)
				case 1:
					c.ForgetUser("user-" + key)
				case 2:
					c.Stats()
				}
			}
		})
	}
	wg.Wait()
}

func TestACachedLoginCostsLittle(t *testing.T) {
	c := newChain(t, onlyDjango, one(hashed(true, accept)))
	r := cookie("0123456789abcdefghijklmnopqrstuv")
	// The closure over the cookies, and what this verifier needs to tell the hash.
	got := testing.AllocsPerRun(200, func() {
		if _, err := c.Authenticate(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	})
	if got > 8 {
		t.Errorf("%v allocations, want at most 8", got)
	}
}

func BenchmarkAuthenticateCached(b *testing.B) {
	c := newChain(b, onlyDjango, one(hashed(true, accept)))
	r := cookie("0123456789abcdefghijklmnopqrstuv")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Authenticate(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
