//go:build linux

package target

import (
	"strings"
	"testing"
)

// installed skips the test if bench/rivals/install has not brought the file.
func installed(t *testing.T, path, part string) {
	t.Helper()
	if _, err := findRival(Options{}, path, part); err != nil {
		missing(t, "%v", err)
	}
}

func TestCentrifuge(t *testing.T) {
	installed(t, "centrifuge", "go")
	in, c := begun(t, centrifugeTarget{}, Options{Conns: 5, Moves: true, HTTP: true, Login: "anonymous"})
	delivers(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2}, nil)
	moves(t, in, c)
	posts(t, in, c)
	measures(t, in, "go_goroutines")
}

func TestCentrifugeSaysWhatItCannot(t *testing.T) {
	for _, o := range []Options{{Login: "jwt"}, {Personal: true}, {Nodes: 2}} {
		if (centrifugeTarget{}).Cannot(o) == "" {
			t.Errorf("Cannot(%+v) is empty", o)
		}
	}
}

func TestARivalThatIsNotInstalledSaysHowToGetIt(t *testing.T) {
	for _, target := range []Target{centrifugeTarget{}, wsNode, socketioNode} {
		_, err := target.Start(t.Context(), Options{Binaries: map[string]string{"rivals": t.TempDir()}})
		if err == nil || !strings.Contains(err.Error(), "make bench-rivals installs it") {
			t.Errorf("%s: Start = %v, want how to install it", target.Name(), err)
		}
	}
}
