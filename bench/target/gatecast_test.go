//go:build linux

package target

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// builtGatecast builds the binary to measure once; TestMain removes it.
var builtGatecast = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "gatecast-bench-test-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "gatecast")
	if out, err := exec.Command("go", "build", "-o", path, "../../server/cmd/gatecast").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build gatecast: %w\n%s", err, out)
	}
	return path, nil
})

// builtIn is the directory of builtGatecast.
var builtIn string

func ofGatecast(t *testing.T, o Options) Options {
	t.Helper()
	path, err := builtGatecast()
	if err != nil {
		t.Fatal(err)
	}
	o.Binaries = map[string]string{"gatecast": path}
	return o
}

func TestGatecast(t *testing.T) {
	in, c := begun(t, gatecastTarget{}, ofGatecast(t, Options{Conns: 5, PerConn: 3, HTTP: true, Moves: true}))
	delivers(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2}, nil)
	moves(t, in, c)
	posts(t, in, c)
	measures(t, in, "gatecast_broker_peers")
}

func TestGatecastClusterDeliversToMembersOfEveryNode(t *testing.T) {
	in, c := begun(t, gatecastTarget{}, ofGatecast(t, Options{Conns: 6, PerConn: 3, Nodes: 3, HTTP: true}))
	if len(in.Addrs()) != 3 || len(in.PIDs()) != 3 {
		t.Fatalf("a cluster of %v, processes %v, want 3", in.Addrs(), in.PIDs())
	}
	delivers(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2}, []uint32{4}, []uint32{5})
	posts(t, in, c)
}

func TestGatecastLetsAnonymousClientsIn(t *testing.T) {
	in, c := begun(t, gatecastTarget{}, ofGatecast(t, Options{Conns: 2, Login: "anonymous", Speaks: true}))
	delivers(t, in, c, []uint32{1}, []uint32{1, 2})
}

func TestGatecastGivesUsersTheirPersonalGroups(t *testing.T) {
	in, c := begun(t, gatecastTarget{}, ofGatecast(t, Options{Conns: 2, Personal: true}))
	delivers(t, in, c, []uint32{0}, []uint32{1})
}

func TestGatecastRawRoute(t *testing.T) {
	in, c := begun(t, gatecastTarget{raw: true}, ofGatecast(t, Options{Conns: 4, Nodes: 2, HTTP: true}))
	delivers(t, in, c, []uint32{1}, []uint32{1}, []uint32{2}, nil)
	posts(t, in, c)
}

func TestGatecastSaysWhatItCannot(t *testing.T) {
	for _, tt := range []struct {
		target Target
		o      Options
	}{
		{gatecastTarget{}, Options{Login: "magic"}},
		{gatecastTarget{}, Options{Login: "anonymous", Personal: true}},
		{gatecastTarget{raw: true}, Options{Login: "anonymous"}},
		{gatecastTarget{raw: true}, Options{PerConn: 2}},
		{gatecastTarget{raw: true}, Options{Personal: true}},
		{gatecastTarget{raw: true}, Options{Moves: true}},
		{gatecastTarget{raw: true}, Options{Speaks: true}},
		{sseTarget{}, Options{}},
	} {
		if tt.target.Cannot(tt.o) == "" {
			t.Errorf("%s: Cannot(%+v) is empty", tt.target.Name(), tt.o)
		}
	}
}
