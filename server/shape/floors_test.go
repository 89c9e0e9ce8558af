package shape

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// floors says which packages of ours a package may import. A package below a listed one ("authn/jwt" below "authn/…")
// has its line; "…" stands for any name. "*" allows all but what never says.
var floors = []struct{ pkg, may string }{
	{"broker/subject", ""},
	{"broker/brokertest", "broker broker/subject"},
	{"broker", "broker/subject"},
	{"authn", "authn/breaker broker/subject"},
	{"authn/breaker", ""},
	{"authn/token", "authn authn/django broker/subject"},
	{"authn/ticket", "authn authn/django broker/subject"},
	{"authn/jwt", "authn authn/django broker/subject"},
	{"authn/django/pickle", ""},
	{"authn/django/cache", "authn/breaker authn/django/pickle"},
	{"authn/django", "authn authn/breaker authn/django/cache authn/django/pickle broker/subject"},
	{"authn/…", "authn authn/breaker broker/subject"},
	{"server/wire", ""},
	{"server/ws", ""},
	{"server/proxyproto", ""},
	{"server/pack", ""},
	{"server/hub", "broker/subject server/pack server/wire server/ws"},
	{"server/loop", "server/ws"},
	{"server/admin", "broker/subject server/wire"},
	{"server/demo", "clients/js"},
	{"server", "authn broker broker/subject server/admin server/hub server/loop server/pack server/proxyproto server/wire server/ws"},
	{"server/config", "authn authn/… broker broker/subject server server/admin"},
	{"server/docs/gen", "server server/admin server/config server/wire"},
	{"server/cmd/gatecast", "*"},
	{"server/shape", ""},
	{"server/e2e", ""},
	{"server/e2e/…", ""},
	{"clients/go", ""},
	{"clients/js", ""},
	{"bench/cmd/gatecast-bench", "bench"},
	{"bench", "bench/…"},
	{"bench/ledger", ""},
	{"bench/frame", ""},
	{"bench/proc", ""},
	{"bench/raw", "bench/frame bench/ledger"},
	{"bench/…", "bench/…"}, // never the server's side
}

// thirdParties says who may import which libraries. A library that is not here may be imported by nobody.
var thirdParties = []struct{ library, by string }{
	{"github.com/nats-io/", "broker broker/brokertest bench bench/…"},
	{"github.com/gobwas/", "server/ws server clients/go bench bench/…"},
	{"github.com/golang-jwt/", "authn/jwt authn/dev"},
	{"github.com/google/uuid", "server broker clients/go"},
	{"github.com/jackc/pgx/", "authn/django authn/django/…"},
	{"github.com/go-sql-driver/mysql", "authn/django authn/django/…"},
	{"modernc.org/sqlite", "authn/django bench/…"},
	{"github.com/pelletier/go-toml/", "server/config"},
	{"github.com/prometheus/", "server/admin bench bench/…"}, // bench reads metrics, and serves those of NATS as a target
	{"golang.org/x/sync/", "authn authn/… broker server"},
	{"golang.org/x/sys/", "server/loop server broker bench bench/…"},
	{"github.com/HdrHistogram/hdrhistogram-go", "bench bench/…"},
	{"go.uber.org/goleak", "authn/authntest broker/brokertest"},
}

// leafOnly are packages that import the standard library and nothing else, but for the one library given.
var leafOnly = map[string]string{
	"authn/breaker": "", "authn/django/pickle": "", "broker/subject": "", "server/wire": "", "server/pack": "", "server/proxyproto": "", "server/ws": "github.com/gobwas/",
}

func TestPackagesImportOnlyWhatTheirFloorAllows(t *testing.T) {
	for _, p := range allPackages(t) {
		may, ok := lineFor(p.name())
		if !ok {
			t.Errorf("%s has no line in floors; say which of our packages it may import", p.name())
			continue
		}
		for _, imported := range p.Imports {
			if name, ours := strings.CutPrefix(imported, module); ours && may != "*" && !listed(may, name) {
				t.Errorf("%s imports %s; its floor allows: %s", p.name(), name, cmpOr(may, "none of ours"))
			}
		}
	}
}

func TestThirdPartiesStayWhereTheyBelong(t *testing.T) {
	domain := regexp.MustCompile(`^[a-z0-9-]+\.[a-z.]+/`)
	for _, p := range allPackages(t) {
		for _, imported := range p.Imports {
			if !domain.MatchString(imported) || strings.HasPrefix(imported, module) {
				continue
			}
			i := slices.IndexFunc(thirdParties, func(l struct{ library, by string }) bool {
				return strings.HasPrefix(imported, l.library) || imported+"/" == l.library
			})
			if i < 0 || !listed(thirdParties[i].by, p.name()) {
				t.Errorf("%s imports %s, which is not for it; see thirdParties", p.name(), imported)
			}
			if only, leaf := leafOnly[p.name()]; leaf && (only == "" || !strings.HasPrefix(imported, only)) {
				t.Errorf("%s imports %s; it is a leaf of the standard library", p.name(), imported)
			}
		}
	}
}

func TestHubAndBrokerDoNotKnowEachOther(t *testing.T) {
	for _, p := range allPackages(t) {
		for _, imported := range p.Imports {
			name := strings.TrimPrefix(imported, module)
			if p.name() == "server/hub" && name == "broker" || strings.HasPrefix(p.name(), "broker") && name == "server/hub" {
				t.Errorf("%s imports %s; package server joins them", p.name(), name)
			}
		}
	}
}

// lineFor finds the floor of a package: its own line, or that of "parent/…".
func lineFor(name string) (may string, ok bool) {
	for _, f := range floors {
		if matches(f.pkg, name) {
			return f.may, true
		}
	}
	return "", false
}

func listed(names, name string) bool {
	return slices.ContainsFunc(strings.Fields(names), func(n string) bool { return matches(n, name) })
}

func matches(pattern, name string) bool {
	parent, any := strings.CutSuffix(pattern, "…")
	return pattern == name || any && strings.HasPrefix(name, parent)
}

func cmpOr(s, empty string) string {
	if s == "" {
		return empty
	}
	return s
}
