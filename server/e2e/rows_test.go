package e2e

import (
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// TestSQLRules: rows of the application's own table say who hears what. A removed row takes the member out of the group, on every node; while the table cannot
// be read nobody new comes in and nobody is thrown out.
func TestSQLRules(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db.sqlite3")
	db, err := sql.Open("sqlite", "file://"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(statement string) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE people (id integer PRIMARY KEY)`)
	exec(`CREATE TABLE chat_member (room_id integer, user_id integer)`)
	exec(`CREATE TABLE ban (user_id integer)`)
	exec(`INSERT INTO chat_member VALUES (1, 7), (2, 7), (1, 8)`)
	member := conf{"to": "authenticated", "sql": "SELECT room_id FROM chat_member WHERE user_id = {id}", "join": []string{"room.{row.room_id}"}, "publish": []string{"room.{row.room_id}"}}
	nodes := startCluster(t, 2, conf{
		"authn.django.database": "sqlite://" + path, "authn.django.user_table": "people", "authn.revalidate": "10m", "grants": []conf{member},
	})
	a, b := nodes[0], nodes[1]
	ann, ben := dialUser(t, a, "7"), dialUser(t, b, "8")
	dialUser(t, a, "7 OR 1=1").refused("forbidden", msg{"op": "group_add", "group": "room.1"})
	ann.groupSend("room.1", "hi")
	ben.wantData("room.1", "hi")
	ann.wantData("room.1", "hi")
	ann.refused("forbidden", msg{"op": "group_send", "group": "room.3", "data": 1})

	revalidate := func(user string) {
		t.Helper()
		if status, answer := a.call(adminKey, "POST", "/api/v1/revalidate", map[string]any{"user": user}); status != http.StatusOK {
			t.Fatalf("revalidate: %d %v", status, answer)
		}
	}
	exec(`DELETE FROM chat_member WHERE user_id = 8`)
	exec(`INSERT INTO chat_member VALUES (3, 8)`)
	began := time.Now()
	revalidate("8")
	if m := ben.must("group_discarded"); m.str("group") != "room.1" {
		t.Errorf("got %v, want that room.1 was left", m)
	}
	t.Logf("the change took effect after %v", time.Since(began))
	if m := ben.must("group_added"); m.str("group") != "room.3" {
		t.Errorf("got %v, want that room.3 was joined", m)
	}
	ben.refused("forbidden", msg{"op": "group_send", "group": "room.1", "data": 1})
	ben.refused("forbidden", msg{"op": "group_add", "group": "room.1"})

	// Why: the API answers for logins that are open on any node, and for a token.
	explain := func(field, value, group string) map[string]any {
		t.Helper()
		key := readKey
		if field == "token" {
			key = adminKey
		}
		status, answer := a.call(key, "POST", "/api/v1/explain", map[string]any{field: value, "group": group})
		logins, _ := answer["logins"].([]any)
		if status != http.StatusOK || len(logins) != 1 {
			t.Fatalf("explain %s: %d %v", group, status, answer)
		}
		return logins[0].(map[string]any)
	}
	text := func(login map[string]any, verb string) string {
		verdict := login[verb].(map[string]any)
		text := fmt.Sprint(verdict["allowed"])
		for _, reason := range verdict["reasons"].([]any) {
			text += "; " + reason.(map[string]any)["text"].(string)
		}
		return text
	}
	for _, tt := range []struct{ field, value, group, verb, want string }{
		{"user", "8", "room.3", "subscribe", `true; [[grants]] 1, to "authenticated": join "room.{row.room_id}" covers it, by a row that makes it "room.3"`},
		{"conn", ben.conID, "room.1", "publish", `false; [[grants]] 1, to "authenticated": publish "room.{row.room_id}" would cover it, but none of the rows of its sql (1) has room_id = "1"`},
		{"token", token(t, "7"), "room.2", "join", `true; [[grants]] 1, to "authenticated": join "room.{row.room_id}" covers it, by a row that makes it "room.2"`},
	} {
		login := explain(tt.field, tt.value, tt.group)
		if got := text(login, tt.verb); got != tt.want {
			t.Errorf("%s %s of %s: %s, want %s", tt.verb, tt.group, tt.field, got, tt.want)
		}
		if conns, _ := login["conns"].([]any); tt.field != "token" && (len(conns) != 1 || conns[0] != ben.conID || login["node"] != "b" || login["user"] != "8") {
			t.Errorf("explain by %s = %v, want ben's conn on b", tt.field, login)
		}
	}
	if member, _ := explain("user", "8", "room.3")["member"].([]any); len(member) != 1 {
		t.Errorf("member = %v, want by what it is in room.3", member)
	}
	if status, answer := a.call(readKey, "POST", "/api/v1/explain", map[string]any{"user": "99", "group": "room.1"}); status != http.StatusNotFound {
		t.Errorf("explain of nobody: %d %v", status, answer)
	}
	if _, answer := a.call(adminKey, "POST", "/api/v1/explain", map[string]any{"token": "eyJ.x.y", "group": "room.1"}); answer["refused"] == nil {
		t.Errorf("explain of a bad token: %v, want that it is refused", answer)
	}
	if _, answer := a.call(adminKey, "POST", "/api/v1/explain", map[string]any{"cookie": "sessionid=x", "group": "room.1"}); !strings.Contains(fmt.Sprint(answer["refused"]), "is the cookie's name right") {
		t.Errorf("explain of a cookie that nobody reads: %v, want what to do", answer)
	}

	// A new entry is asked about those that are in, too.
	line := a.logs.len()
	exec(`INSERT INTO ban VALUES (7)`)
	a.reload(conf{"grants": []conf{member, {"to": "authenticated", "sql": "SELECT 1 FROM ban WHERE user_id = {id}", "deny": []string{"room.2"}}}})
	a.logs.waitLine(t, line, "reload")
	if m := ann.must("group_discarded"); m.str("group") != "room.2" {
		t.Errorf("got %v, want that room.2 was left", m)
	}
	// So is one with the same sql that is for others now, and as soon as its table can be read.
	ban := func(to string) {
		t.Helper()
		line := a.logs.len()
		a.reload(conf{"grants": []conf{member, {"to": to, "sql": "SELECT 1 FROM ban WHERE user_id = {id}", "deny": []string{"room.2"}}}})
		a.logs.waitLine(t, line, "reload: configuration read again")
	}
	ban("user:8")
	if m := ann.must("group_added"); m.str("group") != "room.2" {
		t.Errorf("got %v, want that room.2 was joined", m)
	}
	exec(`ALTER TABLE ban RENAME TO away`)
	missed := a.metrics().sum("gatecast_sweep_errors_total")
	ban("authenticated")
	eventually(t, 20*time.Second, func() string { return "no sweep missed a login" }, func() bool { return a.metrics().sum("gatecast_sweep_errors_total") > missed })
	exec(`ALTER TABLE away RENAME TO ban`)
	if m := ann.must("group_discarded"); m.str("group") != "room.2" {
		t.Errorf("got %v, want that room.2 was left", m)
	}
	line = a.logs.len()
	a.reload(conf{"grants": []conf{member, {"to": "authenticated", "sql": "SELECT 1 FROM bans WHERE user_id = {id}", "deny": []string{"room.1"}}}})
	a.logs.waitLine(t, line, "reload", "nothing was changed", "FROM bans WHERE", "no such table: bans")
	a.waitReady() // what was not taken over is not asked

	exec(`ALTER TABLE chat_member RENAME TO away`)
	refusedClose(t, b, "/ws", bearer(token(t, "9")), 4100, "unavailable")
	if status, _, err := b.get("/readyz"); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("/readyz = %d, %v, want 503", status, err)
	}
	if status, answer := a.call(adminKey, "POST", "/api/v1/revalidate", map[string]any{"user": "8"}); apiCode(answer) != "unavailable" {
		t.Errorf("revalidate = %d %v, want unavailable", status, answer)
	}
	ben.groupSend("room.3", "still here")
	ben.wantData("room.3", "still here")
	// What was told in vain is looked at as soon as the table is back, long before the next sweep.
	exec(`DELETE FROM away WHERE user_id = 8`)
	exec(`ALTER TABLE away RENAME TO chat_member`)
	b.waitReady()
	if m := ben.must("group_discarded"); m.str("group") != "room.3" {
		t.Errorf("got %v, want that room.3 was left", m)
	}
	dialUser(t, b, "9")
}

// The tabs of a user in many rooms share what their grants were compiled to, old tokens and new ones: what one may, all may, and no longer than that. What is a
// tab's own stays its own.
func TestTabsShareTheGrantsOfManyRows(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "db.sqlite3")
	db, err := sql.Open("sqlite", "file://"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(statement string) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE people (id integer PRIMARY KEY)`)
	exec(`CREATE TABLE chat_member AS WITH RECURSIVE n(room_id) AS (SELECT 1 UNION ALL SELECT room_id + 1 FROM n WHERE room_id < 1000) SELECT room_id, 7 AS user_id FROM n`)
	member := conf{"to": "authenticated", "sql": "SELECT room_id FROM chat_member WHERE user_id = {id}", "subscribe": []string{"room.{row.room_id}"}, "publish": []string{"room.{row.room_id}"}}
	own := conf{"to": "authenticated", "join": []string{"tab.{conn}"}, "publish": []string{"tab.{conn}"}}
	n := startCluster(t, 1, conf{
		"authn.django.database": "sqlite://" + path, "authn.django.user_table": "people", "authn.revalidate": "10m", "grants": []conf{member, own},
	})[0]
	var tabs []*socket
	for range 10 {
		s := dialUser(t, n, "7")
		s.add("room.1")
		s.add("room.2")
		tabs = append(tabs, s)
	}
	discarded := func(group string) {
		t.Helper()
		for i, s := range tabs {
			if m := s.must("group_discarded"); m.str("group") != group {
				t.Fatalf("tab %d got %v, want that %s was left", i, m, group)
			}
			s.refused("forbidden", msg{"op": "group_add", "group": group})
		}
	}
	for i, s := range tabs {
		s.groupSend("tab."+s.conID, i)
		s.wantData("tab."+s.conID, float64(i))
		s.refused("forbidden", msg{"op": "group_send", "group": "tab." + tabs[(i+1)%len(tabs)].conID, "data": 1})
		s.refused("forbidden", msg{"op": "group_add", "group": "room.1001"})
	}
	exec(`DELETE FROM chat_member WHERE room_id = 1`)
	if status, answer := n.call(adminKey, "POST", "/api/v1/revalidate", map[string]any{"user": "7"}); status != http.StatusOK {
		t.Fatalf("revalidate: %d %v", status, answer)
	}
	discarded("room.1")
	for range 3 {
		late := dialUser(t, n, "7")
		late.refused("forbidden", msg{"op": "group_add", "group": "room.1"})
		late.add("room.2")
		tabs = append(tabs, late)
	}
	n.reload(conf{"grants": []conf{member, own, {"to": "authenticated", "deny": []string{"room.2"}}}})
	discarded("room.2")
	dialUser(t, n, "7").refused("forbidden", msg{"op": "group_add", "group": "room.2"})
}

// A reload of [[grants]] reaches every conn of a loop, in however many parts.
func TestAReloadGrantsAllConns(t *testing.T) {
	t.Parallel()
	rule := conf{"to": "authenticated", "join": []string{"news"}}
	n := startCluster(t, 1, conf{"server.loops": 1, "grants": []conf{rule}})[0]
	var all []*socket
	for range 300 { // 256 of them in one go
		all = append(all, dialUser(t, n, "7"))
	}
	rule["deny"] = []string{"news"}
	n.reload(conf{"grants": []conf{rule}})
	for i, s := range all {
		if m := s.must("group_discarded"); m.str("group") != "news" {
			t.Fatalf("conn %d got %v, want that news was left", i, m)
		}
	}
}
