package django

import (
	"testing"

	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

func BenchmarkVerify(b *testing.B) {
	for name, s := range map[string]func() *site{
		"sqlite":   func() *site { return newSQLiteSite(b, plainSite, "wal") },
		"postgres": func() *site { return newPostgresSite(b, pgtest.Shared(b), plainSite) },
	} {
		b.Run(name, func(b *testing.B) {
			s := s()
			s.addUser(account{id: "42", groups: []int{1}})
			s.login(aliceKey, "42")
			v := s.open()
			c := cookie(aliceKey)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRows asks for the rows of one user, as sent and by its text alone.
func BenchmarkRows(b *testing.B) {
	for name, s := range map[string]func() *site{
		"sqlite":   func() *site { return newSQLiteSite(b, plainSite, "wal") },
		"postgres": func() *site { return newPostgresSite(b, pgtest.Shared(b), plainSite) },
		"mariadb":  func() *site { return newMariaSite(b, servertest.MariaDBShared(b), plainSite) },
	} {
		b.Run(name, func(b *testing.B) {
			s := s()
			s.members()
			s.exec(`CREATE INDEX member ON chat_member (user_id)`)
			for room := range 20 {
				s.addMember(room, "42", "member")
			}
			q := query(b, "SELECT m.room_id, g.name FROM chat_member m JOIN auth_group g ON g.id = 1 WHERE m.user_id = {id} AND m.role <> 'guest'", "room_id", "name")
			sent, text := s.openRows(q), s.openRows()
			text.db.dialect = byText{text.db.dialect}
			for _, way := range []struct {
				name string
				rows *Rows
			}{{"sent", sent}, {"text", text}} {
				b.Run(way.name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if values, err := way.rows.Rows(b.Context(), q, "42"); err != nil || len(values) != 40 {
							b.Fatal(len(values), err)
						}
					}
				})
			}
		})
	}
}

// byText is a dialect in which nothing is prepared.
type byText struct{ dialect }

func (byText) often() []any   { return nil }
func (byText) prepares() bool { return false }

func BenchmarkVerifyNotMine(b *testing.B) {
	v := &Verifier{opts: vectorOptions()}
	c := bearer("eyJhbGciOiJIUzI1NiJ9.e30.abc")
	b.ReportAllocs()
	for b.Loop() {
		v.Verify(b.Context(), c)
	}
}

// A credential of another verifier costs no allocation here.
func TestNotMineAllocates(t *testing.T) {
	v := &Verifier{opts: vectorOptions()}
	for _, engine := range []string{EngineDB, EngineSignedCookies} {
		v.opts.Engine = engine
		c := bearer("eyJhbGciOiJIUzI1NiJ9.e30.abc")
		if got := testing.AllocsPerRun(100, func() { v.Verify(t.Context(), c) }); got != 0 && !raceEnabled {
			t.Errorf("engine %s: Verify of another's token makes %v allocations, want 0", engine, got)
		}
	}
}
