//go:build linux

package target

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// given returns the path of a binary that the environment names. Without, the test is skipped always: nothing installs it.
func given(t *testing.T, target *givenTarget, o Options) Options {
	t.Helper()
	variable := "GATECAST_BENCH_" + strings.ToUpper(target.name)
	path := os.Getenv(variable)
	if path == "" {
		fmt.Fprintf(os.Stderr, "SKIP %s: %s names no binary\n", t.Name(), variable)
		t.Skipf("%s names no binary", variable)
	}
	o.Binaries = map[string]string{target.name: path}
	return o
}

func TestCentrifugo(t *testing.T) {
	in, c := begun(t, centrifugo, given(t, centrifugo, Options{Conns: 5, Moves: true, HTTP: true}))
	delivers(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2}, nil)
	moves(t, in, c)
	posts(t, in, c)
	measures(t, in, "go_goroutines")
}

func TestAnyCable(t *testing.T) {
	in, c := begun(t, anyCable, given(t, anyCable, Options{Conns: 4, HTTP: true}))
	posts(t, in, c)
	deliversByHTTP(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2}, nil)
	measures(t, in, "anycable_go_goroutines_num")
}

func TestGivenTargetsSayWhatTheyCannot(t *testing.T) {
	for _, target := range []*givenTarget{centrifugo, anyCable} {
		if why := target.Cannot(Options{HTTP: true}); !strings.Contains(why, "-"+target.name) {
			t.Errorf("%s: Cannot without a binary = %q, want the flag that gives it", target.name, why)
		}
		has := map[string]string{target.name: "x"}
		if why := target.Cannot(Options{HTTP: true, Binaries: has}); why != "" {
			t.Errorf("%s: Cannot = %q, want nothing", target.name, why)
		}
		if why := target.Cannot(Options{Silent: true, Binaries: has}); why != "" {
			t.Errorf("%s: Cannot be silent = %q, want nothing", target.name, why)
		}
		for _, o := range []Options{{Login: "jwt"}, {Personal: true}, {Nodes: 2}} {
			o.HTTP, o.Binaries = true, has
			if target.Cannot(o) == "" {
				t.Errorf("%s: Cannot(%+v) is empty", target.name, o)
			}
		}
		_, err := target.Start(t.Context(), Options{Binaries: map[string]string{target.name: "/nonexistent/program"}})
		if err == nil || !strings.Contains(err.Error(), "no binary of "+target.name) {
			t.Errorf("%s: Start of a binary that is not there = %v", target.name, err)
		}
	}
	for _, o := range []Options{{}, {Speaks: true, HTTP: true}, {Moves: true, HTTP: true}} {
		if o.Binaries = map[string]string{"anycable": "x"}; anyCable.Cannot(o) == "" {
			t.Errorf("anycable: Cannot(%+v) is empty", o)
		}
	}
}

func TestFindReturnsEveryTargetByItsName(t *testing.T) {
	var names []string
	for _, target := range All() {
		names = append(names, target.Name())
		if target.About() == "" {
			t.Errorf("%s says nothing about itself", target.Name())
		}
	}
	found, err := Find(names)
	if err != nil || len(found) != len(names) {
		t.Fatalf("Find(%v) = %d targets, %v", names, len(found), err)
	}
	for i, target := range found {
		if target.Name() != names[i] {
			t.Errorf("Find returns %s as target %d, want %s", target.Name(), i, names[i])
		}
	}
	if _, err := Find([]string{"raw", "nonsense"}); err == nil || !strings.Contains(err.Error(), `unknown target "nonsense"`) {
		t.Errorf("Find of an unknown name = %v", err)
	}
	if _, err := Find([]string{"nats", "nats"}); err == nil || !strings.Contains(err.Error(), "named twice") {
		t.Errorf("Find of a name twice = %v", err)
	}
}
