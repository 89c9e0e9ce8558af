package config

import (
	"os"
	"slices"
	"testing"
)

func TestReloadTakesOverWhatItCan(t *testing.T) {
	s := load(t, works+"[server]\nloops = 1\n[[grants]]\nto = \"staff\"\n")
	rewrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.Input.Path, []byte(works+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite("[server]\nloops = 2\norigins = [\"a.example\"]\n[server.limits]\nconns = 5\n[log]\nlevel = \"debug\"\n[broker.cluster]\nroutes = []\n")
	next, changes, err := s.Reload()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"server.origins", "server.limits.conns", "grants", "log.level"}; !slices.Equal(changes.Applied, want) {
		t.Errorf("applied %v, want %v", changes.Applied, want)
	}
	if want := []string{"server.loops"}; !slices.Equal(changes.Restart, want) {
		t.Errorf("restart for %v, want %v", changes.Restart, want)
	}
	if c := next.Config; c.Server.Loops != 1 || c.Server.Limits.Conns != 5 || len(c.Grants) != 0 || c.Log.Level != "debug" {
		t.Errorf("loops %d, conns %d, %d grants, level %s; want the old loops and the new rest", c.Server.Loops, c.Server.Limits.Conns, len(c.Grants), c.Log.Level)
	}
	// What waits for a restart is told again, as long as it waits.
	if _, changes, err = next.Reload(); err != nil || !slices.Equal(changes.Restart, []string{"server.loops"}) || len(changes.Applied) > 0 {
		t.Errorf("second reload: %+v, %v", changes, err)
	}
	// Keys of tokens and all that is said about them; what is not a key alone waits for nothing either.
	rewrite("audience = \"a\"\n[server]\nloops = 2\n" + issuer("shop", "https://shop"))
	next, changes, err = next.Reload()
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"server.origins", "server.limits.conns", "authn.jwt.audience", "authn.jwt.issuers", "log.level"}; !slices.Equal(changes.Applied, want) {
		t.Errorf("applied %v, want %v", changes.Applied, want)
	}
	if o, ok := next.Config.Authn.Issuer("jwt:shop"); !ok || o.Issuer != "https://shop" || next.Config.Authn.JWT.Audience != "a" {
		t.Errorf("issuer %+v, %v", o, ok)
	}
	rewrite("[server]\nloops = \"many\"\n")
	if after, _, err := next.Reload(); err == nil || after != nil {
		t.Errorf("Reload of a bad file = %v, %v, want nothing and an error", after, err)
	}
}
