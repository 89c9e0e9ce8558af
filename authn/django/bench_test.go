package django

import (
	"testing"

	"github.com/gatecast/gatecast/authn/django/pgtest"
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
