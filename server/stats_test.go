package server

import "testing"

// TestRefusalsAreKeptAsLongAsTheConn: what a conn's refused ops leave is among what the node keeps, and goes with the conn.
func TestRefusalsAreKeptAsLongAsTheConn(t *testing.T) {
	n, _ := startAlone(t, testConfig(t, "auto"))
	kept := func() (refusals, others int) {
		n.kept(func(what string, entries int) {
			if what == "refusals" {
				refusals = entries
			} else {
				others += entries
			}
		})
		return refusals, others
	}
	s := dial(t, n, "/ws", "a")
	s.want(`{"op":"welcome"}`)
	s.send(`{"op":"group_add","id":1,"group":"no.grant"}`)
	s.want(`{"op":"error","id":1,"code":"forbidden"}`)
	if got, _ := kept(); got != 1 {
		t.Errorf("%d entries of refusals are kept for a conn with a refused op, want 1", got)
	}
	s.Close()
	eventually(t, "the end of the conn", func() bool { return n.conns.Load() == 0 })
	if got, others := kept(); got != 0 || others != 0 {
		t.Errorf("%d entries of refusals and %d others are kept without a conn", got, others)
	}
}
