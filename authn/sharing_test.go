package authn

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"
)

// roomRules are for whom a table says in which rooms they are.
func roomRules(t testing.TB, more ...Rule) *Rules {
	return mustCompile(t, append([]Rule{
		{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Join: []string{"room.{row.room}"}, Publish: []string{"room.{row.room}", "typing.{row.room}.{id}"}},
	}, more...)...)
}

// member is in n rooms.
func member(r *Rules, user string, n int) *Identity {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprint(1000 + i)
	}
	return &Identity{ID: user, Kind: KindUser, Rows: []Rows{{Query: r.queries[0].key, Values: values}}}
}

func TestConnsOfALoginCompileNothing(t *testing.T) {
	r := roomRules(t)
	for _, n := range []int{1, 1000} {
		id := member(r, "42", n)
		id.remember()
		first := grantsFor(t, r, id, "c1")
		wantAllocs(t, 1, func() { // the Grants themselves
			if g, err := r.GrantsFor(id, "c2"); err != nil || g.Sets != first.Sets {
				t.Fatalf("%d rooms: another conn has %v, %v", n, g, err)
			}
		})
	}
}

func TestLoginsAlikeShareTheirSets(t *testing.T) {
	r := roomRules(t)
	a, b := grantsFor(t, r, member(r, "42", 1000), "c1"), grantsFor(t, r, member(r, "42", 1000), "c2")
	if a.Sets != b.Sets {
		t.Error("two sessions of a user do not share their sets")
	}
	if c := grantsFor(t, r, member(r, "43", 1000), "c3"); c.own == a.own || c.CanPublish([]byte("typing.1000.42")) || !c.CanPublish([]byte("typing.1000.43")) {
		t.Error("another user has their sets, which are made of an id")
	}
	if c := grantsFor(t, r, member(r, "42", 999), "c3"); c.own == a.own || c.CanSubscribe([]byte("room.1999")) {
		t.Error("who lost a room has the sets of before")
	}
	if c := grantsFor(t, roomRules(t, Rule{To: "authenticated", Deny: []string{"room.1000"}}), member(r, "42", 1000), "c3"); c.own == a.own || c.CanSubscribe([]byte("room.1000")) {
		t.Error("the sets of other rules are shared")
	}
}

// What was made of an identity is not what is to be made of its changed copy, nor of itself by other rules.
func TestACopyOfALoginIsCompiledItself(t *testing.T) {
	r := roomRules(t)
	for _, n := range []int{2, 1000} {
		id := member(r, "42", n)
		id.remember()
		before := grantsFor(t, r, id, "c")
		changed := *id
		changed.Rows = member(r, "42", 1).Rows
		if g := grantsFor(t, r, &changed, "c"); g.CanSubscribe([]byte("room.1001")) || !g.CanSubscribe([]byte("room.1000")) {
			t.Errorf("%d rooms: a changed copy may what its original may", n)
		}
		if g := grantsFor(t, r, id, "c"); g.Sets != before.Sets {
			t.Errorf("%d rooms: the original has what its copy has", n)
		}
		others := mustCompile(t, Rule{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Subscribe: []string{"lobby.{row.room}"}})
		if g := grantsFor(t, others, id, "c"); !g.CanSubscribe([]byte("lobby.1000")) || g.CanSubscribe([]byte("room.1000")) {
			t.Errorf("%d rooms: by new rules a login may what it may by those of before", n)
		}
		if g := grantsFor(t, r, id, "c"); !g.CanSubscribe([]byte("room.1000")) {
			t.Errorf("%d rooms: by rules that are back a login may what it may by others", n)
		}
	}
}

// What depends on the conn is compiled for it alone, and all else is shared.
func TestConnsShareWhatDoesNotDependOnThem(t *testing.T) {
	r := roomRules(t,
		Rule{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Subscribe: []string{"seat.{row.room}.{conn}"}, Deny: []string{"secret.{conn}"}},
		Rule{To: "authenticated", Join: []string{"conn.{conn}"}, Publish: []string{"conn.{conn}"}, Subscribe: []string{"secret.*"}})
	id := member(r, "42", 20)
	id.remember()
	a, b := grantsFor(t, r, id, "c1"), grantsFor(t, r, id, "c2")
	if a.own != b.own || a.shared != b.shared || a.conn == b.conn {
		t.Error("two conns of a login do not share what is the same for them")
	}
	for name, want := range map[string][2]bool{"seat.1000.c1": {true, false}, "seat.1000.c2": {false, true}, "seat.9.c1": {}, "conn.c1": {true, false}, "secret.c1": {false, true}, "secret.c3": {true, true}} {
		if got := [2]bool{a.CanSubscribe([]byte(name)), b.CanSubscribe([]byte(name))}; got != want {
			t.Errorf("%s: the conns hear it: %v, want %v", name, got, want)
		}
	}
	if !a.CanPublish([]byte("conn.c1")) || a.CanPublish([]byte("conn.c2")) || !slices.Contains(a.Join(), "conn.c1") || !slices.Contains(a.Patterns().Deny, "secret.c1") {
		t.Errorf("the conn's own = %+v", a.Patterns())
	}
	if _, err := r.GrantsFor(&Identity{ID: "42"}, "c"); err != ErrNoRows {
		t.Errorf("GrantsFor without rows = %v, want ErrNoRows", err)
	}
}

// Nobody may more or less for being alike: rules that have compiled for all of these give each what rules of its own would.
func TestSharingChangesNothing(t *testing.T) {
	rules := []Rule{
		{To: "authenticated", SQL: "SELECT a, b FROM t WHERE u = {id}", Subscribe: []string{"r.{row.a}.{row.b}"}, Deny: []string{"r.{row.a}.x"}},
		{To: "perm:p.p", SQL: "SELECT a, b FROM t WHERE u = {id}", Publish: []string{"p.{row.a}.{row.b}"}},
		{To: "user:1", SQL: "SELECT a FROM t WHERE u = {id}", Publish: []string{"k.{kind}.{row.a}"}},
		{To: "authenticated", Subscribe: []string{"g.{groups}.{attr.a}"}},
		{To: "group:aa", Join: []string{"u.{id}"}},
		{To: "staff", Publish: []string{"s.{attr.aa}"}},
	}
	r := mustCompile(t, rules...)
	rows := func(first, second string) []Rows {
		return []Rows{{Query: r.queries[0].key, Values: strings.Split(first, ",")}, {Query: r.queries[1].key, Values: strings.Split(second, ",")}}
	}
	var ids []*Identity
	each := func(of []*Identity, changes ...func(*Identity)) (out []*Identity) {
		for _, id := range of {
			for _, change := range changes {
				changed := *id
				change(&changed)
				out = append(out, &changed)
			}
		}
		return out
	}
	attrs := func(of map[string][]string) func(*Identity) {
		of["fill"] = make([]string, worthSharing)
		return func(id *Identity) { id.Attrs = of }
	}
	ids = each([]*Identity{{ID: "1", Kind: KindUser}}, func(*Identity) {}, func(id *Identity) { id.ID = "2" })
	ids = each(ids, func(*Identity) {}, func(id *Identity) { id.Kind = KindStaff })
	ids = each(ids, func(*Identity) {}, func(id *Identity) { id.Perms = []string{"p.p"} })
	ids = each(ids, func(*Identity) {}, func(id *Identity) { id.Claimed = &Patterns{Deny: []string{"r.a.aa"}} }, func(id *Identity) { id.Claimed = &Patterns{Publish: []string{"r.a.aa"}} })
	for _, groups := range []string{"a", "aa", "a,a", "a,aa", "aa,a"} {
		ids = append(ids, each(ids[:24:24], func(id *Identity) { id.Groups = strings.Split(groups, ",") })...)
	}
	ids = each(ids, func(id *Identity) { id.Rows = rows("a,aa", "a") }, func(id *Identity) { id.Rows = rows("aa,a", "a") }, func(id *Identity) { id.Rows = rows("a,a,a,x", "a") },
		func(id *Identity) { id.Rows = rows("a,a", "a,x,a") })
	ids = each(ids, attrs(map[string][]string{"a": {"a"}}), attrs(map[string][]string{"aa": {"a"}}), attrs(map[string][]string{"a": {"a", "aa"}}), attrs(map[string][]string{"a": {"aa"}, "aa": {"a"}}))
	var alive []*Grants
	for i, id := range ids {
		if i%2 == 0 {
			id.remember()
		}
		got := grantsFor(t, r, id, "c")
		alive = append(alive, got)
		if want := grantsFor(t, mustCompile(t, rules...), id, "c"); !reflect.DeepEqual(got.Patterns(), want.Patterns()) {
			t.Fatalf("%+v may %+v, want %+v", id, got.Patterns(), want.Patterns())
		}
	}
	for i, id := range ids {
		alike := *id
		if got := grantsFor(t, r, &alike, "c"); got.Sets != alive[i].Sets {
			t.Fatalf("who is alike does not share the sets of %+v", id)
		}
	}
}

func TestSetsLiveAsLongAsSomebodyHasThem(t *testing.T) {
	r := roomRules(t)
	kept := func() int {
		r.alike.mu.Lock()
		defer r.alike.mu.Unlock()
		return len(r.alike.sets)
	}
	id := member(r, "42", 1000)
	id.remember()
	made := weak.Make(grantsFor(t, r, id, "c").own)
	for range 3 {
		runtime.GC()
	}
	if made.Value() == nil {
		t.Error("what was compiled for a login in the cache is gone with its conn")
	}
	g := grantsFor(t, r, member(r, "43", 1000), "c")
	if kept() != 2 {
		t.Errorf("%d sets are shared, want 2", kept())
	}
	runtime.KeepAlive(g)
	runtime.KeepAlive(id)
	g, id = nil, nil
	for deadline := time.Now().Add(10 * time.Second); kept() > 0; runtime.Gosched() { // cleanups run by themselves
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatalf("%d sets that nobody has are kept", kept())
		}
	}
	if !grantsFor(t, r, member(r, "43", 1000), "c").CanSubscribe([]byte("room.1999")) {
		t.Error("sets that were gone are not made again")
	}
}

// Loops and workers compile at once, while rules change and sets come and go.
func TestSharingAtOnce(t *testing.T) {
	var both [2]*Rules
	for i, lobby := range []string{"lobby.{row.room}", "hall.{row.room}"} {
		both[i] = mustCompile(t, Rule{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Subscribe: []string{lobby}})
	}
	cached := member(both[0], "42", 40)
	cached.remember()
	var work sync.WaitGroup
	for worker := range 4 {
		work.Go(func() { // ends by itself
			for i := range 300 {
				id := cached
				if i%3 == worker%3 {
					id = member(both[0], "42", 40)
				}
				which := (i / 7) % 2
				g, err := both[which].GrantsFor(id, "c")
				if err != nil || g.CanSubscribe([]byte("lobby.1039")) == (which == 1) || g.CanSubscribe([]byte("hall.1039")) == (which == 0) {
					t.Errorf("by rules %d: %v, %v", which, g, err)
					return
				}
				if i%100 == 0 {
					runtime.GC()
				}
			}
		})
	}
	work.Wait()
}

// BenchmarkGrantsOfManyRows is what a conn of a user with 1,000 rows costs: one more of a login in the cache, one of a login alike, and the first.
func BenchmarkGrantsOfManyRows(b *testing.B) {
	for _, n := range []int{10, 1000} {
		r := roomRules(b)
		cached, another := member(r, "42", n), member(r, "42", n)
		cached.remember()
		first := grantsFor(b, r, cached, "c")
		for _, bench := range []struct {
			name  string
			id    *Identity
			rules func() *Rules
		}{
			{"cached", cached, func() *Rules { return r }},
			{"alike", another, func() *Rules { return r }},
			{"first", another, func() *Rules { return &Rules{rules: r.rules, queries: r.queries, shared: r.shared, alike: &alike{}} }},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, bench.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := bench.rules().GrantsFor(bench.id, "c"); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		runtime.KeepAlive(first)
	}
}
