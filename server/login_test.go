package server

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
)

func sets(t *testing.T, rules ...authn.Rule) authn.Sets {
	t.Helper()
	r, err := authn.CompileRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.GrantsFor(&authn.Identity{ID: "x", Kind: authn.KindUser}, "")
	if err != nil {
		t.Fatal(err)
	}
	return g.Sets
}

func TestConnsThatLoggedInAlikeShareALogin(t *testing.T) {
	logins := newLogins()
	hears, speaks := sets(t, authn.Rule{To: "authenticated", Subscribe: []string{"chat.>"}}), sets(t, authn.Rule{To: "authenticated", Publish: []string{"chat.>"}})
	base := authn.Identity{ID: "42", Kind: authn.KindUser, Verifier: "jwt", Expires: time.Unix(1800000000, 5)}
	with := func(change func(id *authn.Identity)) *authn.Identity {
		id := base
		change(&id)
		return &id
	}
	first := logins.enter(&base, hears)
	if again := logins.enter(with(func(*authn.Identity) {}), hears); again != first {
		t.Fatalf("an equal login is %d, want %d", again, first)
	}
	seen := map[uint32]string{first: "the first"}
	for name, id := range map[string]*authn.Identity{
		"another user":    with(func(id *authn.Identity) { id.ID = "43" }),
		"another kind":    with(func(id *authn.Identity) { id.Kind = authn.KindStaff }),
		"another expiry":  with(func(id *authn.Identity) { id.Expires = time.Unix(1800000000, 6) }),
		"no expiry":       with(func(id *authn.Identity) { id.Expires = time.Time{} }),
		"another session": with(func(id *authn.Identity) { id.Ref = "abc" }),
		"attributes":      with(func(id *authn.Identity) { id.Attrs = map[string][]string{"a": {"b"}} }),
		"anonymous":       {Kind: authn.KindAnonymous},
	} {
		i := logins.enter(id, hears)
		if other, taken := seen[i]; taken {
			t.Errorf("%s is login %d, as %s", name, i, other)
		}
		seen[i] = name
	}
	if i := logins.enter(&base, speaks); seen[i] != "" {
		t.Errorf("other grants are login %d, as %s", i, seen[i])
	} else {
		seen[i] = "other grants"
	}

	if id := logins.identity(first); id.ID != "42" || !id.Expires.Equal(base.Expires) || id.Verifier != "jwt" {
		t.Errorf("identity = %+v", id)
	}
	if g := logins.grants(first); !g.CanSubscribe([]byte("chat.7")) || !g.CanSubscribe([]byte("user.42")) || g.CanPublish([]byte("chat.7")) {
		t.Error("grants are not those it was entered with")
	}
	logins.leave(first)
	if user := logins.user(first); string(user) != "42" {
		t.Errorf("with one conn left user = %q", user)
	}
	for i := range seen {
		logins.leave(i)
	}
	if logins.index.Len() != 0 || logins.texts.Len() != 0 {
		t.Errorf("%d logins, %d texts are left", logins.index.Len(), logins.texts.Len())
	}
	if i := logins.enter(&base, hears); int(i) > len(seen) {
		t.Errorf("login %d is new though all were free", i)
	}
}

// The grants of many rows are there once for all conns of a login, and no longer than these.
func TestConnsOfManyRowsShareALogin(t *testing.T) {
	rules, err := authn.CompileRules([]authn.Rule{{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Subscribe: []string{"room.{row.room}"}}})
	if err != nil {
		t.Fatal(err)
	}
	enter := func(logins *logins, rooms int) (uint32, authn.Sets) {
		id := &authn.Identity{ID: "42", Kind: authn.KindUser, Rows: []authn.Rows{{Query: rules.Queries()[0].Key()}}}
		for i := range rooms {
			id.Rows[0].Values = append(id.Rows[0].Values, fmt.Sprint(i))
		}
		g, err := rules.GrantsFor(id, "")
		if err != nil {
			t.Fatal(err)
		}
		return logins.enter(id, g.Sets), g.Sets
	}
	one, other := newLogins(), newLogins()
	i, sets := enter(&one, 1000)
	j, again := enter(&one, 1000)
	if i != j || sets != again {
		t.Errorf("two conns of a login have logins %d and %d", i, j)
	}
	if _, there := enter(&other, 1000); there != sets {
		t.Error("conns of two loops do not share the grants")
	}
	if k, fewer := enter(&one, 999); k == i || fewer == sets {
		t.Error("another row makes no difference")
	}
	one.leave(i)
	one.leave(j)
	if k, _ := enter(&one, 999); one.last.Value().sets == (authn.Sets{}) {
		t.Error("the role of the last login is not kept while it has conns")
	} else {
		one.leave(k)
		one.leave(k)
	}
	if one.index.Len() != 0 || one.last.Value().sets != (authn.Sets{}) {
		t.Errorf("%d logins are left, and the grants of the last: %v", one.index.Len(), one.last.Value().sets)
	}
}

// BenchmarkLoginOfManyRows is what the loop does for one more conn of a user in 1,000 rooms, whose login is in the cache or is one of its own.
func BenchmarkLoginOfManyRows(b *testing.B) {
	rules, err := authn.CompileRules([]authn.Rule{{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Join: []string{"room.{row.room}"}}})
	if err != nil {
		b.Fatal(err)
	}
	id := &authn.Identity{ID: "42", Kind: authn.KindUser, Rows: []authn.Rows{{Query: rules.Queries()[0].Key()}}}
	for i := range 1000 {
		id.Rows[0].Values = append(id.Rows[0].Values, fmt.Sprint(i))
	}
	logins := newLogins()
	b.ReportAllocs()
	for b.Loop() {
		g, err := rules.GrantsFor(id, "")
		if err != nil {
			b.Fatal(err)
		}
		if logins.enter(id, g.Sets); len(g.Join()) != 1001 {
			b.Fatal("not all rooms")
		}
	}
}

func TestChecksOfGrantsDoNotAllocate(t *testing.T) {
	logins := newLogins()
	i := logins.enter(&authn.Identity{ID: "42", Kind: authn.KindUser}, sets(t, authn.Rule{To: "authenticated", Subscribe: []string{"chat.>"}}))
	name, own := []byte("chat.7"), []byte("user.42")
	if n := testing.AllocsPerRun(100, func() {
		g := logins.grants(i)
		if !g.CanSubscribe(name) || !g.CanSubscribe(own) || g.CanPublish(name) {
			t.Fatal("wrong")
		}
	}); n != 0 {
		t.Fatalf("%v allocations, want none", n)
	}
}

func TestASweepMeetsEveryLoginInParts(t *testing.T) {
	n, _ := startAlone(t, testConfig(t, "auto"))
	want := []string{"a", "b", "c", "d", "e"}
	for _, user := range append(want, "a", "b") {
		dial(t, n, "/ws", user).want(`{"op":"welcome"}`)
	}
	seen := map[string]bool{}
	for from, more := uint32(1), true; more; from++ {
		var part []held
		if part, more = n.loginsFrom(from, 1); len(part) > len(n.owners) {
			t.Fatalf("a part of one login a loop has %d", len(part))
		}
		for _, h := range part {
			seen[h.id.ID] = true
			if h.key.user != h.id.ID || h.id.SessionHash != sessionHash(h.id.ID) {
				t.Errorf("key and identity differ: %+v, %+v", h.key, h.id)
			}
		}
	}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Fatalf("the parts have the logins of %v, want %v", got, want)
	}
}
