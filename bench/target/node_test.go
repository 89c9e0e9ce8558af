//go:build linux

package target

import (
	"os/exec"
	"strings"
	"testing"
)

func TestNodeServers(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		missing(t, "no node: %v", err)
	}
	for _, target := range []nodeTarget{wsNode, socketioNode} {
		t.Run(target.name, func(t *testing.T) {
			installed(t, "node/"+target.name+".js", "node")
			in, c := begun(t, target, Options{Conns: 5, Moves: true, HTTP: true})
			if !strings.Contains(in.Version(), ", Node ") {
				t.Errorf("Version = %q, want the package's and Node's", in.Version())
			}
			delivers(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2}, nil)
			moves(t, in, c)
			posts(t, in, c)
		})
	}
}

func TestNodeServersSayWhatTheyCannot(t *testing.T) {
	for _, o := range []Options{{Login: "jwt"}, {Personal: true}, {Nodes: 2}} {
		if wsNode.Cannot(o) == "" {
			t.Errorf("Cannot(%+v) is empty", o)
		}
	}
}
