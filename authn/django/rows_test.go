package django

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// query is the sql of a rule whose patterns name these columns.
func query(t testing.TB, text string, columns ...string) *authn.Query {
	t.Helper()
	rule := authn.Rule{To: "authenticated", SQL: text, Deny: []string{"x"}}
	for _, c := range columns {
		rule.Subscribe = append(rule.Subscribe, "x.{row."+c+"}")
	}
	rules, err := authn.CompileRules([]authn.Rule{rule})
	if err != nil {
		t.Fatal(err)
	}
	return rules.Queries()[0]
}

func (s *site) openRows(queries ...*authn.Query) *Rows {
	s.t.Helper()
	return s.openRowsBy(func(*Options) {}, queries...)
}

func (s *site) openRowsBy(change func(*Options), queries ...*authn.Query) *Rows {
	s.t.Helper()
	o := s.options()
	change(&o)
	r, err := OpenRows(s.t.Context(), o, slog.New(slog.DiscardHandler), queries...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.Close() })
	return r
}

// members makes a table of rooms and their members.
func (s *site) members() {
	s.exec(`CREATE TABLE chat_member (room_id integer NULL, user_id ` + s.idSQL + ` NOT NULL, role varchar(250) NULL)`)
}

func (s *site) addMember(room any, user string, role any) {
	cast := ""
	if s.pg {
		cast = "::text::" + s.idSQL
	}
	s.exec(s.bind(`INSERT INTO chat_member VALUES ($1, $2`+cast+`, $3)`), room, s.stored(user), role)
}

const memberRooms = "SELECT room_id FROM chat_member WHERE user_id = {id}"

func rowsOf(t *testing.T, r *Rows, q *authn.Query, user string, want ...string) {
	t.Helper()
	got, err := r.Rows(t.Context(), q, user)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Rows of %q = %q, %v, want %q", user, got, err, want)
	}
}

func TestRowsOfAUser(t *testing.T) {
	const alice, bob = "53b6eb2b-4fbd-4a4d-9d4c-0b5f0a1f7c11", "63b6eb2b-4fbd-4a4d-9d4c-0b5f0a1f7c11"
	for _, tt := range []struct {
		kind   siteKind
		ids    [2]string
		nobody []string // ids that are no key of this site's users, or of others
	}{
		{plainSite, [2]string{"42", "43"}, []string{"44", "-1", "42abc", "42 OR 1=1", "0x2a", "42.0", "'42'", "042", "+42", "9223372036854775807", "99999999999999999999", alice, "é", ""}},
		{siteKind{"text", "accounts_member", "member", "varchar(60)", "varchar(60)"}, [2]string{"a'b\"c\\d", "42"}, []string{"a", "' OR '1'='1", "a'b\"c\\", "42'", "{id}", "?", "$1", "\\'", "4\x002"}},
		{siteKind{"uuid", "accounts_member", "member", "char(32)", "uuid"}, [2]string{alice, bob}, []string{"42", strings.Repeat("0", 32), alice[:35], alice + "0", strings.ReplaceAll(alice, "-", ""), strings.ToUpper(alice), "' OR '1'='1"}},
	} {
		t.Run(tt.kind.user+" "+tt.kind.idSQLite, func(t *testing.T) {
			onEveryDatabase(t, tt.kind, func(t *testing.T, s *site) {
				s.members()
				for _, one := range []struct {
					room any
					user int
					role any
				}{{7, 0, "owner"}, {12, 0, "a.b'c"}, {7, 0, "owner"}, {nil, 0, nil}, {8, 1, strings.Repeat("é", 120)}} {
					s.addMember(one.room, tt.ids[one.user], one.role)
				}
				rooms, roles := query(t, memberRooms, "room_id"), query(t, "SELECT role, room_id, user_id FROM chat_member WHERE user_id = {id} AND (role <> 'x' OR user_id = {id})", "room_id", "role")
				any := query(t, "SELECT 1 FROM chat_member WHERE user_id IN ({id})")
				r := s.openRows(rooms, roles, any)
				rowsOf(t, r, rooms, tt.ids[0], "", "12", "7") // NULL is no value
				rowsOf(t, r, rooms, tt.ids[1], "8")
				rowsOf(t, r, roles, tt.ids[0], "", "", "a.b'c", "12", "owner", "7")
				rowsOf(t, r, roles, tt.ids[1], "", "8") // longer than any name of a group
				rowsOf(t, r, any, tt.ids[0], "")
				for _, id := range tt.nobody {
					rowsOf(t, r, rooms, id)
					rowsOf(t, r, any, id)
				}
				if err := r.Ping(t.Context()); err != nil {
					t.Errorf("Ping = %v", err)
				}
			})
		})
	}
}

func TestRowsAreThoseOfTheSitesUsers(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "wal")
	s.members()
	s.addMember(7, "42", nil)
	q := query(t, memberRooms, "room_id")
	o := s.options()
	o.UserPrefix = "shop:"
	r, err := OpenRows(t.Context(), o, slog.New(slog.DiscardHandler), q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rowsOf(t, r, q, "shop:42", "7")
	rowsOf(t, r, q, "42")
	rowsOf(t, r, q, "other:42")
}

func TestRowsAreBounded(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.exec(`CREATE TABLE digit (n integer)`)
		s.exec(`INSERT INTO digit VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)`)
		const numbers = "SELECT a.n * 1000 + b.n * 100 + c.n * 10 + d.n AS n FROM digit a, digit b, digit c, digit d WHERE {id} > 0 AND a.n < 2"
		all := query(t, strings.Replace(numbers, "{id} > 0", "{id} = {id}", 1), "n") // of nobody, too
		if _, err := OpenRows(t.Context(), s.options(), slog.New(slog.DiscardHandler), all); err == nil || !strings.Contains(err.Error(), "more than 1024 rows") {
			t.Errorf("OpenRows with a query that gives everybody too many rows = %v", err)
		}
		most, more := query(t, numbers+" AND a.n * 1000 + b.n * 100 + c.n * 10 + d.n < 1024", "n"), query(t, numbers+" AND a.n * 1000 + b.n * 100 + c.n * 10 + d.n < 1025", "n")
		r := s.openRows(most, more)
		if got, err := r.Rows(t.Context(), most, "1"); err != nil || len(got) != maxRows {
			t.Errorf("%d rows, %v, want %d", len(got), err, maxRows)
		}
		var refused *authn.Refused
		if got, err := r.Rows(t.Context(), more, "1"); !errors.As(err, &refused) || got != nil || refused.Code != authn.CodeForbidden {
			t.Errorf("more rows = %d, %v, want a refusal", len(got), err)
		}
		if s.pg {
			r.db.timeout = 100 * time.Millisecond
			slow := query(t, "SELECT pg_sleep(5) FROM digit WHERE n = {id}")
			r.plans[slow.Key()] = &plan{text: "SELECT pg_sleep(5) FROM digit WHERE n = $1::bigint", params: 1, id: idInteger}
			if _, err := r.Rows(t.Context(), slow, "1"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a slow query = %v, want that its time is over", err)
			}
		}
	})
}

func TestRowsThatCannotBeAskedFor(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.members()
		for text, want := range map[string]string{
			"SELECT room FROM chat_member WHERE user_id = {id}":         "room",
			"SELECT room_id FROM chat_members WHERE user_id = {id}":     "chat_members",
			"SELECT room_id AS r FROM chat_member WHERE user_id = {id}": "the sql gives no column room_id for {row.room_id}; it gives r",
			"SELECT room_id FROM chat_member WHERE user_id = {id} AND":  "",
		} {
			r, err := OpenRows(t.Context(), s.options(), slog.New(slog.DiscardHandler), query(t, text, "room_id"))
			if err == nil {
				r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("OpenRows with %q = %v, want %q", text, err, want)
			}
		}
		o := s.options()
		o.UserTable = "people"
		if _, err := OpenRows(t.Context(), o, slog.New(slog.DiscardHandler), query(t, memberRooms, "room_id")); err == nil || !strings.Contains(err.Error(), "set user_table") {
			t.Errorf("OpenRows without the user table = %v", err)
		}
		// What was fine may change under us: then the rows cannot be told, and can be again when the table is back.
		q := query(t, memberRooms, "room_id")
		r := s.openRows(q)
		s.exec(`ALTER TABLE chat_member RENAME TO away`)
		if got, err := r.Rows(t.Context(), q, "42"); err == nil {
			t.Errorf("Rows without the table = %q", got)
		}
		s.exec(`ALTER TABLE away RENAME TO chat_member`)
		waitFor(t, func() bool { _, err := r.Rows(t.Context(), q, "42"); return err == nil })
	})
}

// The rights that are documented are enough for the rules that are.
func TestRowsNeedSelectOnWhatTheyRead(t *testing.T) {
	text, err := os.ReadFile("../../server/docs/grants.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Rows of your own tables\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, _ := strings.Cut(section, "```sql\n")
	block, _, _ = strings.Cut(block, "```")
	grants := strings.Split(strings.TrimSpace(block), "\n")
	var sqls []string
	for line := range strings.Lines(section) {
		if name, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(name) == "sql" {
			sqls = append(sqls, strings.Trim(strings.TrimSpace(value), `"`))
		}
	}
	if len(sqls) != 2 || len(grants) != 2 {
		t.Fatalf("%d rules and %d rights are documented, want 2 and 2", len(sqls), len(grants))
	}
	check := func(t *testing.T, s *site, o Options) {
		t.Helper()
		s.members()
		s.addMember(7, "42", "owner")
		s.exec(`CREATE TABLE chat_ban (user_id integer, until timestamp)`)
		s.exec(`INSERT INTO chat_ban VALUES (42, '2037-01-01 00:00:00'), (43, '2007-01-01 00:00:00')`)
		rooms, bans := query(t, sqls[0], "role", "room_id"), query(t, sqls[1])
		for _, grant := range grants {
			_, err := OpenRows(t.Context(), o, slog.New(slog.DiscardHandler), rooms, bans)
			if err == nil || strings.Count(err.Error(), "GRANT SELECT ON the columns that the sql reads") != 1 || strings.Contains(err.Error(), "auth_group") {
				t.Errorf("OpenRows without a right = %v, want advice", err)
			}
			s.exec(strings.TrimSuffix(grant, ";"))
		}
		r, err := OpenRows(t.Context(), o, slog.New(slog.DiscardHandler), rooms, bans)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		rowsOf(t, r, rooms, "42", "owner", "7")
		rowsOf(t, r, bans, "42", "")
		rowsOf(t, r, bans, "43")
		if _, err := r.db.db.Exec(fmt.Sprintf("DELETE FROM chat_member WHERE room_id = %d", 7)); err == nil {
			t.Error("the reader may write")
		}
	}
	t.Run("postgres", func(t *testing.T) {
		s := newPostgresSite(t, pgtest.Start(t), plainSite) // a role belongs to the server
		s.exec(`CREATE ROLE gatecast LOGIN`)
		o := s.options()
		o.Database = strings.Replace(o.Database, "postgres@", "gatecast:x@", 1)
		check(t, s, o)
	})
	t.Run("mariadb", func(t *testing.T) {
		s := newMariaSite(t, servertest.MariaDB(t), plainSite)
		s.exec(`CREATE USER gatecast IDENTIFIED BY 'x'`)
		s.exec(`GRANT SELECT (id, password, is_active, is_staff, is_superuser) ON auth_user TO gatecast`)
		o := s.options()
		o.Database = strings.Replace(o.Database, "root@", "gatecast:x@", 1)
		check(t, s, o)
	})
}

func TestAQueryThatIsNotTakenOverIsForgotten(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "wal")
	s.members()
	s.addMember(7, "42", nil)
	good, bad := query(t, memberRooms, "room_id"), query(t, "SELECT room_id FROM chat_members WHERE user_id = {id}", "room_id")
	r := s.openRows(good)
	if err := r.Try(t.Context(), good, bad); err == nil {
		t.Fatal("Try of a table that is not there = nil")
	}
	if err := r.Ping(t.Context()); err != nil {
		t.Errorf("Ping after Try = %v", err)
	}
	rowsOf(t, r, good, "42", "7")
	s.exec(`ALTER TABLE chat_member RENAME TO chat_members`)
	if err := r.Try(t.Context(), bad); err != nil {
		t.Errorf("Try again = %v", err) // an old failure does not count
	}
	r.Use(bad)
	if err := r.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err) // good is gone
	}
	s.exec(`DROP TABLE chat_members`)
	_, _ = r.Rows(t.Context(), bad, "42")
	if err := r.Ping(t.Context()); err == nil {
		t.Error("Ping without the table = nil")
	}
	if r.Use(); r.Ping(t.Context()) != nil || len(r.plans)+len(r.failures) != 0 {
		t.Errorf("%d plans and %d failures are of no use", len(r.plans), len(r.failures))
	}
}

// A migration under a prepared query costs nobody a login: whose rows cannot be told is not let in.
func TestATableChangesUnderItsQuery(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.members()
		s.addMember(7, "42", "owner")
		all := query(t, "SELECT * FROM chat_member WHERE user_id = {id}", "role", "room_id")
		r := s.openRowsBy(func(o *Options) { o.DatabaseConns = 1 }, all)
		rowsOf(t, r, all, "42", "owner", "7")
		changes := []string{
			`ALTER TABLE chat_member ADD COLUMN note varchar(20)`, `CREATE INDEX member ON chat_member (user_id)`, `ALTER TABLE chat_member RENAME TO old`,
			`CREATE TABLE chat_member AS SELECT role, user_id, room_id FROM old`, `DROP TABLE old`,
		}
		switch {
		case s.pg:
			changes = append(changes, `ALTER TABLE chat_member ALTER room_id TYPE bigint, ALTER user_id TYPE bigint`, `ALTER TABLE chat_member ALTER room_id TYPE text`)
		case s.maria:
			changes = append(changes, `ALTER TABLE chat_member MODIFY room_id bigint, MODIFY user_id bigint`, `ALTER TABLE chat_member MODIFY room_id text FIRST`)
		}
		for _, change := range changes {
			s.exec(change)
			if strings.HasSuffix(change, " TO old") {
				continue
			}
			for range 2 {
				rowsOf(t, r, all, "42", "owner", "7")
			}
		}
		if s.pg {
			if _, err := r.db.db.Exec("DEALLOCATE ALL"); err != nil { // as a pooler between two clients
				t.Fatal(err)
			}
			rowsOf(t, r, all, "42", "owner", "7")
		}
	})
}

// MariaDB and MySQL prepare what has parameters in any case: it is kept, and given back with the plan.
func TestMySQLPreparesAQueryOnce(t *testing.T) {
	s := newMariaSite(t, servertest.MariaDBShared(t), plainSite)
	s.members()
	s.addMember(7, "42", "owner")
	rooms := query(t, memberRooms, "room_id")
	r := s.openRowsBy(func(o *Options) { o.DatabaseConns = 1 }, rooms)
	count := func(of string) (n int) {
		var name string
		if err := r.db.db.QueryRow(`SHOW SESSION STATUS LIKE 'Com_stmt_`+of+`'`).Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	prepared, closed := count("prepare"), count("close")
	for range 10 {
		rowsOf(t, r, rooms, "42", "7")
	}
	if got := count("prepare") - prepared; got != 0 {
		t.Errorf("prepared %d times since it was tried", got)
	}
	p, err := r.plan(t.Context(), rooms)
	if err != nil {
		t.Fatal(err)
	}
	r.Use()
	if got := count("close") - closed; got != 1 {
		t.Errorf("%d statements given back, want 1", got)
	}
	if got, err := r.run(t.Context(), p, "42"); err != nil || !slices.Equal(got, []string{"7"}) {
		t.Errorf("rows by a plan that was given back meanwhile = %q, %v", got, err)
	}
	for number, want := range map[uint16]bool{1615: true, 1243: true, errNoSuchTable: false} {
		if got := r.db.dialect.outdated(&mysql.MySQLError{Number: number}); got != want {
			t.Errorf("error %d is of a statement that is to be sent by its text: %v, want %v", number, got, want)
		}
	}
}

// Plans come and go while rows are asked for.
func TestQueriesChangeUnderLogins(t *testing.T) {
	s := newMariaSite(t, servertest.MariaDBShared(t), plainSite)
	s.members()
	s.addMember(7, "42", "owner")
	rooms, roles := query(t, memberRooms, "room_id"), query(t, "SELECT role FROM chat_member WHERE user_id = {id}", "role")
	r := s.openRows(rooms)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() { // ends by itself
			for range 50 {
				rowsOf(t, r, rooms, "42", "7")
				rowsOf(t, r, roles, "42", "owner")
			}
		})
	}
	for range 50 {
		r.Use(roles)
		r.Use(rooms)
	}
	work.Wait()
}
