package authn

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/broker/subject"
)

func mustCompile(t testing.TB, rules ...Rule) *Rules {
	t.Helper()
	r, err := CompileRules(rules)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func grantsFor(t testing.TB, r *Rules, id *Identity, conn string) *Grants {
	t.Helper()
	g, err := r.GrantsFor(id, conn)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSelectors(t *testing.T) {
	identities := map[string]*Identity{
		"nobody": {Kind: KindAnonymous},
		"42":     {ID: "42", Kind: KindUser, Groups: []string{"Editors"}},
		"43":     {ID: "43", Kind: KindUser, Perms: []string{"chat.moderate"}},
		"staff":  {ID: "7", Kind: KindStaff},
		"super":  {ID: "1", Kind: KindSuperuser},
	}
	for to, want := range map[string]string{
		"authenticated":      "42 43 staff super",
		"anonymous":          "nobody",
		"staff":              "staff super",
		"superuser":          "super",
		"group:Editors":      "42",
		"group:editors":      "",
		"perm:chat.moderate": "43 super",
		"perm:chat.delete":   "super",
		"user:42":            "42",
		"user:4":             "",
	} {
		r := mustCompile(t, Rule{To: to, Subscribe: []string{"here"}})
		var got []string
		for name, id := range identities {
			if grantsFor(t, r, id, "").CanSubscribe([]byte("here")) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("to %q = %q, want %q", to, got, want)
		}
	}
}

func TestTemplates(t *testing.T) {
	id := &Identity{
		ID: "a.b@x.com", Kind: KindStaff, Groups: []string{"Editors & Co", "a.b", "", "*"},
		Attrs: map[string][]string{"tenant": {"acme"}, "rooms": {"1", "2", ">"}, "none": {}, "empty": {""}, "https://x/y": {"z"}},
	}
	for template, want := range map[string]string{
		"plain.>":                      "plain.>",
		"user-{id}":                    "user-a%2Eb%40x%2Ecom",
		"news.{kind}.*":                "news.staff.*",
		"conn.{conn}":                  "conn.c0ffee-1",
		"team.{groups}.>":              "team.Editors%20%26%20Co.> team.a%2Eb.> team.%2A.>",
		"t.{attr.tenant}.{attr.rooms}": "t.acme.1 t.acme.2 t.acme.%3E",
		"{attr.rooms}.{groups}":        "1.Editors%20%26%20Co 1.a%2Eb 1.%2A 2.Editors%20%26%20Co 2.a%2Eb 2.%2A %3E.Editors%20%26%20Co %3E.a%2Eb %3E.%2A",
		"x.{attr.none}":                "",
		"x.{attr.empty}":               "",
		"x.{attr.missing}.{id}":        "",
		"x.{attr.https://x/y}":         "x.z",
		"{id}..x":                      "a%2Eb%40x%2Ecom..x",
	} {
		g := grantsFor(t, mustCompile(t, Rule{To: "authenticated", Publish: []string{template}}), id, "c0ffee-1")
		got := g.Patterns().Publish
		wanted := strings.Fields(want)
		slices.Sort(got)
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Errorf("%q = %q, want %q", template, got, wanted)
		}
	}
}

func TestRulesThatCannotWork(t *testing.T) {
	tests := []struct {
		rule Rule
		want string
	}{
		{Rule{To: "authenticatd"}, `did you mean "authenticated"?`},
		{Rule{To: "everyone"}, "is nobody; use authenticated"},
		{Rule{To: ""}, "is nobody"},
		{Rule{To: "groups:Editors"}, `did you mean "group:Editors"?`},
		{Rule{To: "group:"}, "name of a Django group"},
		{Rule{To: "perm:moderate"}, "app.codename"},
		{Rule{To: "user:"}, "is empty"},
		{Rule{To: "user:4\n2"}, "control character"},
		{Rule{To: "role:x"}, "is nobody"},
		{Rule{To: "staff", Subscribe: []string{"a.{idd}"}}, "did you mean {id}?"},
		{Rule{To: "staff", Subscribe: []string{"a.{group}"}}, "did you mean {groups}?"},
		{Rule{To: "staff", Subscribe: []string{"a.{username}"}}, "there are {id}"},
		{Rule{To: "staff", Subscribe: []string{"a.{attr.}"}}, "unknown variable {attr.}"},
		{Rule{To: "staff", Subscribe: []string{"a.{}"}}, "unknown variable {}"},
		{Rule{To: "staff", Subscribe: []string{"a.{id"}}, "brace without its pair"},
		{Rule{To: "staff", Subscribe: []string{"a.id}"}}, "brace without its pair"},
		{Rule{To: "staff", Subscribe: []string{"a.{{id}}"}}, "brace without its pair"},
		{Rule{To: "staff", Publish: []string{"a*"}}, "whole token"},
		{Rule{To: "staff", Publish: []string{"a.*{id}"}}, "whole token"},
		{Rule{To: "staff", Publish: []string{"a.>.{id}"}}, "before its end"},
		{Rule{To: "staff", Deny: []string{""}}, "deny: "},
		{Rule{To: "staff", Deny: []string{"a..*"}}, "empty token"},
		{Rule{To: "staff", Join: []string{"a.*"}}, "a group to join has one name"},
		{Rule{To: "staff", Join: []string{"a b"}}, "space"},
	}
	for _, tt := range tests {
		_, err := CompileRules([]Rule{{To: "authenticated"}, tt.rule})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "grants 2: ") {
			t.Errorf("CompileRules(%+v) = %v, want grants 2 with %q", tt.rule, err, tt.want)
		}
	}
}

func TestGrants(t *testing.T) {
	r := mustCompile(t,
		Rule{To: "authenticated", Join: []string{"news.{kind}", "chat.private.all", "user.{id}"}, Subscribe: []string{"chat.>", "team.{groups}.*"}, Publish: []string{"chat.>"}, Deny: []string{"chat.private.>"}},
		Rule{To: "staff", Subscribe: []string{"chat.private.>"}, Publish: []string{"chat.private.staff"}},
		Rule{To: "user:42", Publish: []string{"user.*", "room.{id}"}, Deny: []string{"user.{id}", "team.{id}.>"}},
		Rule{To: "anonymous", Subscribe: []string{"lobby"}},
	)
	id := &Identity{ID: "42", Kind: KindStaff, Groups: []string{"Red", "42"}, Claimed: &Patterns{Join: []string{"claimed"}, Subscribe: []string{"extra.*"}, Publish: []string{"extra.1"}, Deny: []string{"chat.claimed"}}}
	g := grantsFor(t, r, id, "c1")
	tests := []struct {
		name          string
		hears, speaks bool
	}{
		{"chat.7", true, true},
		{"chat", false, false},
		{"chat.private.staff", false, false}, // deny of one rule wins over allow of another
		{"chat.private.all", false, false},   // also over join
		{"chat.claimed", false, false},
		{"chat.a..b", false, false},
		{"team.Red.x", true, false},
		{"team.Blue.x", false, false},
		{"team.42.x", false, false},
		{"news.staff", true, false},
		{"news.user", false, false},
		{"user.42", true, false}, // own group, whatever is denied; to send to it takes a grant
		{"user.43", false, true},
		{"room.42", false, true},
		{"claimed", true, false},
		{"extra.1", true, true},
		{"extra.2", true, false},
		{"lobby", false, false},
		{"", false, false},
		{">", false, false},
		{"chat.*", false, false},
	}
	for _, tt := range tests {
		if hears, speaks := g.CanSubscribe([]byte(tt.name)), g.CanPublish([]byte(tt.name)); hears != tt.hears || speaks != tt.speaks {
			t.Errorf("%q: subscribe %v, publish %v, want %v, %v", tt.name, hears, speaks, tt.hears, tt.speaks)
		}
		wantAllocs(t, 0, func() { g.CanSubscribe([]byte(tt.name)); g.CanPublish([]byte(tt.name)) })
	}
	if got, want := g.Join(), []string{"user.42", "news.staff", "claimed"}; !slices.Equal(got, want) {
		t.Errorf("Join = %q, want %q", got, want)
	}
	p := g.Patterns()
	for _, want := range []struct {
		list    []string
		pattern string
	}{{p.Subscribe, "user.42"}, {p.Subscribe, "news.staff"}, {p.Subscribe, "extra.*"}, {p.Publish, "room.42"}, {p.Deny, "chat.private.>"}, {p.Deny, "team.42.>"}} {
		if !slices.Contains(want.list, want.pattern) {
			t.Errorf("Patterns = %+v, want %q in it", p, want.pattern)
		}
	}

	nobody := grantsFor(t, r, anonymous, "c2")
	if !nobody.CanSubscribe([]byte("lobby")) || nobody.CanSubscribe([]byte("chat.7")) || nobody.CanSubscribe([]byte("user.")) || nobody.Join() != nil {
		t.Errorf("anonymous: %+v", nobody.Patterns())
	}
	var none *Grants
	if none.CanSubscribe([]byte("a")) || none.CanPublish([]byte("a")) || none.Join() != nil || none.Patterns().Subscribe != nil {
		t.Error("nil Grants allow something")
	}
	bare := grantsFor(t, nil, &Identity{ID: "é"}, "c")
	if !bare.CanSubscribe([]byte("user.%C3%A9")) || bare.CanPublish([]byte("user.%C3%A9")) || !slices.Equal(bare.Join(), []string{"user.%C3%A9"}) {
		t.Error("without rules there is the own group only")
	}
}

func TestTooManyPatternsGrantNothing(t *testing.T) {
	r := mustCompile(t, Rule{To: "authenticated", Subscribe: []string{"t.{groups}.{groups}"}})
	var groups []string
	for i := range 40 {
		groups = append(groups, fmt.Sprint(i))
	}
	if g, err := r.GrantsFor(&Identity{ID: "1", Groups: groups}, ""); err == nil || g != nil {
		t.Errorf("GrantsFor = %v, %v, want an error", g, err)
	}
	if _, err := r.GrantsFor(&Identity{ID: "1", Groups: groups[:30]}, ""); err != nil {
		t.Error(err)
	}
	// Patterns too long to be of use cost time as well.
	r = mustCompile(t, Rule{To: "authenticated", Subscribe: []string{strings.Repeat("{groups}.", 8) + "x"}})
	for i := range groups {
		groups[i] += strings.Repeat("x", 60)
	}
	if g, err := r.GrantsFor(&Identity{ID: "1", Groups: groups}, ""); err == nil || g != nil {
		t.Errorf("GrantsFor = %v, %v, want an error", g, err)
	}
	if _, err := (*Rules)(nil).GrantsFor(&Identity{ID: "1", Claimed: &Patterns{Deny: []string{"a*"}}}, ""); err == nil {
		t.Error("a claimed deny that is no pattern is ignored")
	}
	if _, err := (*Rules)(nil).GrantsFor(&Identity{ID: "1", Claimed: &Patterns{Join: []string{"a.*"}}}, ""); err == nil {
		t.Error("a claimed join with a wildcard is accepted")
	}
}

func TestLongValuesGiveNoPattern(t *testing.T) {
	r := mustCompile(t, Rule{To: "authenticated", Subscribe: []string{"t.{groups}"}})
	g := grantsFor(t, r, &Identity{ID: "1", Groups: []string{strings.Repeat("é", 100), "ok"}}, "")
	if got := g.Patterns().Subscribe; !slices.Equal(got, []string{"user.1", "t.ok"}) {
		t.Errorf("Subscribe = %q", got)
	}
}

func TestWhatIsTheSameIsShared(t *testing.T) {
	r := mustCompile(t,
		Rule{To: "authenticated", Subscribe: []string{"chat.>", "team.{groups}.*"}, Join: []string{"news.{kind}"}},
		Rule{To: "perm:chat.moderate", Publish: []string{"mod.{conn}"}},
	)
	user := func(id string, groups ...string) *Identity { return &Identity{ID: id, Kind: KindUser, Groups: groups} }
	a, b := grantsFor(t, r, user("1", "x", "y"), "c1"), grantsFor(t, r, user("2", "x", "y"), "c2")
	if a.shared != b.shared || a.own != nil || b.own != nil {
		t.Error("two users with the same groups do not share their sets")
	}
	if c := grantsFor(t, r, user("3", "x"), "c3"); c.shared == a.shared || c.CanSubscribe([]byte("team.y.1")) {
		t.Error("users with other groups share their sets")
	}
	// Names that run together must not be the same groups.
	if c := grantsFor(t, r, user("3", "xy"), "c3"); c.shared == a.shared || c.CanSubscribe([]byte("team.x.1")) {
		t.Error("the groups x, y and xy share their sets")
	}
	mod := user("4", "x", "y")
	mod.Perms = []string{"chat.moderate"}
	m1, m2 := grantsFor(t, r, mod, "m1"), grantsFor(t, r, mod, "m2")
	if !m1.CanPublish([]byte("mod.m1")) || m1.CanPublish([]byte("mod.m2")) || !m2.CanPublish([]byte("mod.m2")) || m1.shared != m2.shared {
		t.Error("{conn} is not the conn's own")
	}

	// The number of shared sets is bounded.
	for i := range maxShared + 100 {
		grantsFor(t, r, user("5", fmt.Sprint(i)), "")
	}
	if len(r.shared) > maxShared {
		t.Errorf("%d shared sets, want at most %d", len(r.shared), maxShared)
	}
}

func TestMemoryPerIdentity(t *testing.T) {
	if raceEnabled {
		return
	}
	r := mustCompile(t, Rule{To: "authenticated", Join: []string{"news"}, Subscribe: []string{"chat.>", "a.*", "b.*"}, Publish: []string{"chat.>"}, Deny: []string{"chat.private.>"}})
	const n = 10000
	ids := make([]Identity, n)
	grants := make([]*Grants, n)
	for i := range ids {
		ids[i] = Identity{ID: fmt.Sprint(i), Kind: KindUser}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range grants {
		grants[i] = grantsFor(t, r, &ids[i], "c")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 64 {
		t.Errorf("%d bytes of grants for an identity, want at most 64", each)
	}
	runtime.KeepAlive(grants)
	runtime.KeepAlive(ids)
}

func BenchmarkGrantsFor(b *testing.B) {
	r := mustCompile(b, Rule{To: "authenticated", Join: []string{"news.{kind}"}, Subscribe: []string{"chat.>", "team.{groups}.*"}, Publish: []string{"chat.>"}}, Rule{To: "perm:chat.moderate", Publish: []string{"mod.>"}})
	id := &Identity{ID: "42", Kind: KindUser, Groups: []string{"Red", "Blue"}, Perms: []string{"a.b", "c.d"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.GrantsFor(id, "conn"); err != nil {
			b.Fatal(err)
		}
	}
}

// twentyPatterns are grants such as a chat site has: 20 patterns, half of them this user's own, and a deny.
func twentyPatterns(t testing.TB) *Grants {
	r := mustCompile(t,
		Rule{To: "authenticated", Join: []string{"news", "news.{kind}"}, Subscribe: []string{"chat.>", "team.{groups}.*", "presence.*", "board.*.read"}, Publish: []string{"chat.>", "typing.*"}, Deny: []string{"chat.private.>"}},
		Rule{To: "authenticated", SQL: "SELECT room FROM member WHERE user_id = {id}", Subscribe: []string{"room.{row.room}", "room.{row.room}.>"}, Publish: []string{"room.{row.room}"}, Deny: []string{"room.{row.room}.staff"}},
	)
	id := &Identity{ID: "42", Kind: KindUser, Groups: []string{"Red", "Blue"}, Rows: []Rows{{Query: r.queries[0].key, Values: []string{"1", "22", "333"}}}}
	g := grantsFor(t, r, id, "c")
	p := g.Patterns()
	if n := len(p.Subscribe) - 1 + len(p.Publish) + len(p.Deny); n < 20 { // the own group is no pattern
		t.Fatalf("%d patterns, want 20 or more", n)
	}
	return g
}

// checks are names that are covered early, late, by an own pattern, denied, and not at all.
var checks = map[string][]byte{
	"shared": []byte("chat.general"), "wildcard": []byte("board.7.read"), "own": []byte("room.333"), "own wildcard": []byte("room.22.events.typing"),
	"denied": []byte("chat.private.general"), "denied by a row": []byte("room.1.staff"), "none": []byte("elsewhere.with.a.longer.name"), "own group": []byte("user.42"),
}

func TestChecksAllocateNothing(t *testing.T) {
	g := twentyPatterns(t)
	for name, group := range checks {
		want := name != "none" && !strings.HasPrefix(name, "denied")
		if got := g.CanSubscribe(group); got != want {
			t.Errorf("CanSubscribe(%s) = %v, want %v", group, got, want)
		}
		wantAllocs(t, 0, func() { g.CanSubscribe(group); g.CanPublish(group) })
	}
}

// BenchmarkCheck: budget 200 ns and no allocation.
func BenchmarkCheck(b *testing.B) {
	g := twentyPatterns(b)
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		group := checks[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.CanSubscribe(group)
			}
		})
	}
}

// FuzzTemplate: whatever stands in an identity, it grants no more than one token for each variable.
func FuzzTemplate(f *testing.F) {
	f.Add("team.{groups}.*", "Editors", "a.b")
	f.Add("x.{id}.{attr.a}.>", "*", ">")
	f.Add("{id}", ".", "")
	f.Fuzz(func(t *testing.T, text, id, value string) {
		parsed, err := parseTemplate(text)
		r, errRules := CompileRules([]Rule{{To: "authenticated", Publish: []string{text}}})
		if (err == nil) != (errRules == nil) {
			t.Fatalf("parseTemplate(%q) = %v, CompileRules = %v", text, err, errRules)
		}
		if err != nil || id == "" {
			return
		}
		identity := &Identity{ID: id, Kind: KindUser, Groups: []string{value}, Attrs: map[string][]string{"a": {value}}}
		g, err := r.GrantsFor(identity, value)
		if err != nil {
			t.Fatal(err)
		}
		widest := strings.Join(parsed.literals, "x")
		for _, p := range g.Patterns().Publish {
			if err := subject.CheckPattern(p); err != nil {
				t.Fatalf("%q of %q and %q gives %q: %v", text, id, value, p, err)
			}
			if strings.Count(p, ".") != strings.Count(widest, ".") || strings.Count(p, "*") != strings.Count(widest, "*") || strings.Count(p, ">") != strings.Count(widest, ">") {
				t.Fatalf("%q of %q and %q gives the wider %q", text, id, value, p)
			}
		}
	})
}
