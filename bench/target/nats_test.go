//go:build linux

package target

import "testing"

func TestNATSDeliversToEveryMember(t *testing.T) {
	in, c := begun(t, natsTarget{}, Options{Conns: 5})
	delivers(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2}, nil)
	measures(t, in, "go_goroutines")
}

func TestNATSClusterDeliversToMembersOfEveryNode(t *testing.T) {
	in, c := begun(t, natsTarget{}, Options{Conns: 6, Nodes: 3})
	if len(in.Addrs()) != 3 || len(in.PIDs()) != 3 {
		t.Fatalf("a cluster of %v, processes %v, want 3", in.Addrs(), in.PIDs())
	}
	delivers(t, in, c, []uint32{1}, []uint32{1, 2}, []uint32{2}, []uint32{3, 1, 2}, []uint32{4}, []uint32{5})
}

func TestNATSClientsMove(t *testing.T) {
	in, c := begun(t, natsTarget{}, Options{Conns: 3, Moves: true})
	moves(t, in, c)
}

func TestNATSSaysWhatItCannot(t *testing.T) {
	for _, o := range []Options{{HTTP: true}, {Login: "jwt"}, {Personal: true}, {Nodes: 2, Moves: true}, {Nodes: 2, Speaks: true}} {
		if (natsTarget{}).Cannot(o) == "" {
			t.Errorf("Cannot(%+v) is empty", o)
		}
	}
}
