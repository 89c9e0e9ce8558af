package authn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestWhy(t *testing.T) {
	r := mustCompile(t,
		Rule{To: "authenticated", Subscribe: []string{"chat.>", "team.{groups}.*"}, Publish: []string{"chat.>"}, Join: []string{"news.{kind}"}},
		Rule{To: "authenticated", Deny: []string{"chat.private.>"}},
		Rule{To: "group:Editors", Subscribe: []string{"desk.*"}, Publish: []string{"desk.{id}"}},
		Rule{To: "perm:chat.moderate", Publish: []string{"moderation"}},
		Rule{To: "authenticated", SQL: "SELECT room, role FROM member WHERE user_id = {id}", Subscribe: []string{"room.{row.room}.{row.role}"}, Publish: []string{"room.{row.room}"}},
		Rule{To: "authenticated", SQL: "SELECT 1 FROM ban WHERE user_id = {id}", Deny: []string{"room.9.>"}},
		Rule{To: "staff", Subscribe: []string{"ops"}},
		Rule{To: "superuser", Subscribe: []string{"root"}},
		Rule{To: "user:7", Subscribe: []string{"seven"}},
		Rule{To: "anonymous", Subscribe: []string{"lobby"}},
	)
	id := &Identity{
		ID: "42", Kind: KindUser, Groups: []string{"Red", "Blue Team"}, Verifier: "jwt", Claimed: &Patterns{Subscribe: []string{"extra.*"}, Deny: []string{"chat.claimed"}},
		Rows: []Rows{{Query: r.queries[0].key, Values: []string{"owner", "7", "member", "9"}}, {Query: r.queries[1].key, Values: []string{""}}}, // columns are sorted: role, room
	}
	for _, tt := range []struct {
		group, verb string
		allowed     bool
		want        []string // in the texts, in order
	}{
		{"chat.7", "subscribe", true, []string{`[[grants]] 1, to "authenticated": subscribe "chat.>" covers it`}},
		{"chat.7", "publish", true, []string{`[[grants]] 1, to "authenticated": publish "chat.>" covers it`}},
		{"chat.7", "join", false, nil},
		{"chat.private.1", "subscribe", false, []string{`[[grants]] 2, to "authenticated": deny "chat.private.>" covers it, and deny wins over every allow`, `[[grants]] 1, to "authenticated": subscribe "chat.>" covers it`}},
		{"chat.claimed", "publish", false, []string{`claim gatecast of the token: deny "chat.claimed" covers it, and deny wins`, `publish "chat.>" covers it`}},
		{"extra.1", "subscribe", true, []string{`claim gatecast of the token: subscribe "extra.*" covers it`}},
		{"team.Red.x", "subscribe", true, []string{`subscribe "team.{groups}.*" covers it, as "team.Red.*"`}},
		{"team.Green%20Team.x", "subscribe", false, []string{`subscribe "team.{groups}.*" would cover it, but {groups} would have to be "Green Team" and is "Red", "Blue Team"`}},
		{"news.user", "subscribe", true, []string{`join "news.{kind}" covers it, as "news.user"`}},
		{"news.user", "join", true, []string{`join "news.{kind}" covers it`}},
		{"news.staff", "join", false, []string{`would cover it, but {kind} would have to be "staff" and is "user"`}},
		{"desk.42", "subscribe", false, []string{`[[grants]] 3, to "group:Editors": subscribe "desk.*" would cover it, but the user is not in the group "Editors", but in "Red", "Blue Team"`}},
		{"desk.7", "publish", false, []string{`not in the group "Editors", but in "Red", "Blue Team", and {id} would have to be "7" and is "42"`}},
		{"moderation", "publish", false, []string{`[[grants]] 4, to "perm:chat.moderate": publish "moderation" would cover it, but the user lacks the permission chat.moderate`}},
		{"moderation", "subscribe", false, nil},
		{"room.7.owner", "subscribe", true, []string{`[[grants]] 5, to "authenticated": subscribe "room.{row.room}.{row.role}" covers it, by a row that makes it "room.7.owner"`}},
		{"room.7.member", "subscribe", false, []string{`would cover it, but none of the rows of its sql (2) has room = "7" and role = "member"`}},
		{"room.9.member", "subscribe", false, []string{`[[grants]] 6, to "authenticated": deny "room.9.>" covers it, for its sql gives a row, and deny wins`, `by a row that makes it "room.9.member"`}},
		{"ops", "subscribe", false, []string{`the user is not staff (kind "user")`}},
		{"root", "subscribe", false, []string{`the user is no superuser (kind "user")`}},
		{"seven", "subscribe", false, []string{`it is for user "7", and this is "42"`}},
		{"lobby", "subscribe", false, []string{`somebody is logged in`}},
		{"user.42", "subscribe", true, []string{"it is the user's own group"}},
		{"user.42", "join", true, []string{"it is the user's own group"}},
		{"user.42", "publish", false, nil},
		{"nowhere", "subscribe", false, nil},
	} {
		why, err := r.Explain(id, tt.group, "c")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]Verdict{"subscribe": why.Subscribe, "publish": why.Publish, "join": why.Join}[tt.verb]
		ok := got.Allowed == tt.allowed && len(got.Reasons) == len(tt.want)
		for i := 0; ok && i < len(tt.want); i++ {
			ok = strings.Contains(got.Reasons[i].Text, tt.want[i])
		}
		if !ok {
			t.Errorf("%s %s = %+v, want %v with %q", tt.verb, tt.group, got, tt.allowed, tt.want)
		}
	}
	nobody, err := r.Explain(anonymous, "chat.7", "c")
	if err != nil || nobody.Subscribe.Allowed || len(nobody.Subscribe.Reasons) != 1 || !strings.Contains(nobody.Subscribe.Reasons[0].Text, "nobody is logged in") {
		t.Errorf("of nobody: %+v, %v", nobody, err)
	}
	// Without the rows nothing is told, as nothing would be granted.
	if _, err := r.Explain(&Identity{ID: "42"}, "chat.7", "c"); err == nil {
		t.Error("explained without the rows of its rules")
	}
}

// TestWhyAgreesWithGrants: the reasons alone lead to what the grants say, over many rules and names.
func TestWhyAgreesWithGrants(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	pattern := func() string {
		return pick("a", "b", "{id}", "{groups}", "{row.x}", "*", "user") + pick("", ".a", ".{id}", ".*", ".>", ".{kind}", ".{attr.t}", "..a")
	}
	patterns := func(wild bool) (list []string) {
		for range rnd.IntN(3) {
			if p := pattern(); (wild || !strings.ContainsAny(p, "*>")) && !(strings.Contains(p, "..") && strings.Contains(p, "*")) {
				list = append(list, p)
			}
		}
		return list
	}
	for range 200 {
		var rules []Rule
		for range 1 + rnd.IntN(4) {
			rules = append(rules, Rule{
				To:  pick("authenticated", "staff", "superuser", "group:a", "perm:a.b", "user:b"),
				SQL: "SELECT x FROM t WHERE id = {id}", Join: patterns(false), Subscribe: patterns(true), Publish: patterns(true), Deny: append(patterns(true), "never"),
			})
		}
		r := mustCompile(t, rules...)
		id := &Identity{ID: pick("a", "b", "a.b"), Kind: pick(KindUser, KindStaff, KindSuperuser), Groups: []string{pick("a", "b")}, Perms: []string{pick("a.b", "c.d")}, Attrs: map[string][]string{"t": {"a", "b"}}}
		if rnd.IntN(2) == 0 {
			id.Claimed = &Patterns{Subscribe: []string{"a.*"}, Deny: []string{"b.b"}}
		}
		for _, q := range r.queries {
			rows := Rows{Query: q.key}
			for range rnd.IntN(3) {
				rows.Values = append(rows.Values, pick("a", "b", "*"))
			}
			if len(q.columns) == 0 && len(rows.Values) > 0 {
				rows.Values = []string{""}
			}
			id.Rows = append(id.Rows, rows)
		}
		g := grantsFor(t, r, id, "c")
		for _, name := range []string{"a", "b", "a.a", "a.b", "b.b", "user.a", "user.a%2Eb", "a%2Eb", "a..a", "%2A", "%2A.a", "a.user"} {
			why, err := r.Explain(id, name, "c")
			if err != nil {
				t.Fatal(err)
			}
			for verb, one := range map[string]struct {
				verdict Verdict
				want    bool
			}{"subscribe": {why.Subscribe, g.CanSubscribe([]byte(name))}, "publish": {why.Publish, g.CanPublish([]byte(name))}, "join": {why.Join, slices.Contains(g.Join(), name)}} {
				has := func(effect string) bool {
					return slices.ContainsFunc(one.verdict.Reasons, func(r Reason) bool { return r.Effect == effect })
				}
				if told := has(effectAllow) && !has(effectDeny); one.verdict.Allowed != one.want || told != one.want {
					t.Fatalf("%s %s of %+v by %+v: %+v, want %v", verb, name, id, rules, one.verdict, one.want)
				}
			}
		}
	}
}

func TestTemplatesTellTheirText(t *testing.T) {
	for _, text := range []string{"a", "{id}", "a.{groups}.{attr.x.y}.>", "x{kind}y.*.{conn}", "{row.a b}"} {
		parsed, err := parseTemplate(text)
		if err != nil || parsed.String() != text {
			t.Errorf("%q tells %q, %v", text, fmt.Sprint(parsed.String()), err)
		}
	}
}
