package server

import (
	"testing"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/server/ws"
)

// failing is a broker whose Publish has a bug.
type failing struct{ *loopback }

func (failing) Publish(*broker.Message) error { panic("a bug") }

// TestAPanicGivesBackThePartialMessage: the conn of a handler that panics is closed, and what its half message held is room for others.
func TestAPanicGivesBackThePartialMessage(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		before := ws.PartialBytes()
		b := failing{&loopback{count: map[string]int{}}}
		n, err := open(t.Context(), testConfig(t, mode), func(n *Node) (Broker, error) {
			b.node = n
			return b, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		runNode(t, n)
		s := dial(t, n, "/echo/7/", "a")
		whole := text("a message in two parts")
		s.write(whole[:10])
		eventually(t, "a partial message", func() bool { return ws.PartialBytes() > before })
		s.write(whole[10:])
		if b, err := s.r.ReadByte(); err == nil {
			t.Fatalf("the conn goes on behind a panic, with %#x", b)
		}
		eventually(t, "the end of the conn", func() bool { return n.conns.Load() == 0 })
		if after := ws.PartialBytes(); after != before {
			t.Errorf("%d bytes of partial messages are counted without a conn", after-before)
		}
	})
}
