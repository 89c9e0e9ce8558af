package authn_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatecast/gatecast/authn"
)

// recheck puts a Recheck into a word.
func recheck(r authn.Recheck) string {
	var refused *authn.Refused
	switch {
	case errors.As(r.Err, &refused):
		return "gone " + refused.Reason
	case r.Err != nil:
		return "kept"
	case r.Identity != nil:
		return "now " + r.Identity.Kind
	}
	return "same"
}

func TestRevalidate(t *testing.T) {
	django := hashed(true, accept)
	django.Sweep = func(_ context.Context, ids []*authn.Identity) []authn.Recheck {
		answers := make([]authn.Recheck, 0, len(ids))
		for _, id := range ids {
			switch id.ID {
			case "inactive":
				answers = append(answers, authn.Recheck{Err: authn.Refuse("inactive", nil)})
			case "promoted":
				answers = append(answers, authn.Recheck{Identity: &authn.Identity{ID: "promoted", Kind: authn.KindStaff}})
			case "itself":
				answers = append(answers, authn.Recheck{Identity: id})
			case "swapped":
				answers = append(answers, authn.Recheck{Identity: &authn.Identity{ID: "other"}})
			case "down":
				answers = append(answers, authn.Recheck{Err: errors.New("down")})
			case "renewed":
				answers = append(answers, authn.Recheck{Identity: &authn.Identity{ID: "renewed", Expires: time.Now().Add(time.Hour)}})
			case "panic":
				panic(id.ID)
			case "cut":
				return answers
			default:
				answers = append(answers, authn.Recheck{})
			}
		}
		return answers
	}
	c := newChain(t, nil, map[string]authn.Verifier{"django": django, "jwt": struct{ authn.Verifier }{tokens("jwt-")}})
	past := time.Now().Add(-time.Second)
	identity := func(id string) *authn.Identity {
		return &authn.Identity{ID: id, Kind: authn.KindUser, Verifier: "django", Carrier: authn.CarrierCookie, SessionHash: hashOf(id)}
	}
	c.RevokeSession(hashOf("revoked"), 0)
	expired, renewed, jwt, jwtPast, stranger := identity("expired"), identity("renewed"), identity("j"), identity("jp"), identity("s")
	expired.Expires, renewed.Expires, jwtPast.Expires = past, past, past
	jwt.Verifier, jwtPast.Verifier, stranger.Verifier = "jwt", "jwt", "gone"
	ids := []*authn.Identity{
		identity("good"), identity("inactive"), identity("promoted"), identity("itself"), identity("swapped"), identity("down"), identity("revoked"),
		expired, renewed, jwt, jwtPast, stranger, {Kind: authn.KindAnonymous},
	}
	ids = append(ids, ids[2])
	want := []string{"same", "gone inactive", "now staff", "same", "gone other_user", "kept", "gone revoked", "gone expired", "now user", "same", "gone expired", "kept", "same", "now staff"}
	answers := c.Revalidate(t.Context(), ids)
	for i, a := range answers {
		if got := recheck(a); got != want[i] {
			t.Errorf("%s: %s, want %s", ids[i].ID, got, want[i])
		}
		if a.Identity != nil && (a.Identity.Verifier != "django" || a.Identity.Carrier != authn.CarrierCookie) {
			t.Errorf("%s: not completed: %+v", ids[i].ID, a.Identity)
		}
	}
	for _, cut := range []string{"cut", "panic"} {
		answers := c.Revalidate(t.Context(), []*authn.Identity{identity("good"), identity(cut), identity("good2")})
		if len(answers) != 3 || recheck(answers[1]) != "kept" || recheck(answers[2]) != "kept" {
			t.Errorf("a sweep that ends early by %s: %v", cut, answers)
		}
	}
	if len(c.Revalidate(t.Context(), nil)) != 0 {
		t.Error("answers for nobody")
	}
}

func TestASweepIsOvertakenByWhatHappensMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := hashed(true, accept)
		v.Sweep = func(_ context.Context, ids []*authn.Identity) []authn.Recheck {
			answers := make([]authn.Recheck, len(ids))
			for i, id := range ids {
				answers[i] = authn.Recheck{Identity: &authn.Identity{ID: id.ID, Kind: authn.KindStaff}}
			}
			advance(time.Second)
			return answers
		}
		c := newChain(t, onlyDjango, one(v))
		var ids []*authn.Identity
		for _, id := range []string{"revoked", "changed", "other"} {
			ids = append(ids, &authn.Identity{ID: id, Kind: authn.KindUser, Verifier: "django", SessionHash: hashOf(id)})
		}
		done := make(chan []authn.Recheck)
		go func() { done <- c.Revalidate(t.Context(), ids) }()
		synctest.Wait()
		c.RevokeSession(hashOf("revoked"), 0)
		c.ForgetUser("changed")
		answers := <-done
		if got := fmt.Sprint(recheck(answers[0]), ", ", recheck(answers[1]), ", ", recheck(answers[2])); got != "gone revoked, kept, now staff" {
			t.Errorf("Revalidate = %s", got)
		}
	})
}

func TestASweepCorrectsTheCache(t *testing.T) {
	v := hashed(true, accept)
	c := newChain(t, onlyDjango, one(v))
	id, err := c.Authenticate(t.Context(), cookie("k"))
	if err != nil {
		t.Fatal(err)
	}
	v.Sweep = func(context.Context, []*authn.Identity) []authn.Recheck {
		return []authn.Recheck{{Err: authn.Refuse("inactive", nil)}}
	}
	if got := recheck(c.Revalidate(t.Context(), []*authn.Identity{id})[0]); got != "gone inactive" {
		t.Fatal(got)
	}
	if _, err := c.Authenticate(t.Context(), cookie("k")); err != nil || v.Asked() != 2 {
		t.Errorf("asked %d times, want the cached login dropped", v.Asked())
	}
}
