package server

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// breaking is a frame that no peer may send: it has a reserved bit set.
func breaking() []byte {
	f := ws.MaskFrame(ws.NewTextFrame([]byte("never seen")))
	f.Header.Rsv = ws.Rsv(false, true, false)
	return ws.MustCompileFrame(f)
}

func text(s string) []byte { return ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(s)))) }

// write sends frames in one segment.
func (s *sock) write(frames ...[]byte) {
	s.t.Helper()
	if _, err := s.Write(bytes.Join(frames, nil)); err != nil {
		s.t.Fatal(err)
	}
}

// closes is how many conns were closed with each code.
func closes(n *Node) map[int]uint64 {
	got := map[int]uint64{}
	n.counters.closes.each(func(code int, v uint64) { got[code] = v })
	return got
}

func TestWhatWasSentBeforeABreachComesBackFirst(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/echo/7/", "a")
		const messages = 100
		var frames [][]byte
		for i := range messages {
			frames = append(frames, text(fmt.Sprint(i)))
		}
		s.write(append(frames, breaking(), text("behind it"))...)
		for i := range messages {
			if f := s.frame(); f.Header.OpCode != ws.OpText || string(f.Payload) != fmt.Sprint(i) {
				t.Fatalf("got %v %q, want message %d", f.Header.OpCode, f.Payload, i)
			}
		}
		if f := s.frame(); f.Header.OpCode != ws.OpClose {
			t.Fatalf("got %v %q behind the breach", f.Header.OpCode, f.Payload)
		}
		s.Close()
		eventually(t, "the end of the conn", func() bool { return n.conns.Load() == 0 })
		if got := n.counters.published.Load(); got != messages {
			t.Errorf("%d messages were published, want the %d before the breach", got, messages)
		}
		if groups, members := n.sizes(); groups != 0 || members != 0 {
			t.Errorf("%d groups and %d memberships are left", groups, members)
		}
		if got := closes(n); got[closeProtocol] != 1 || len(got) != 1 {
			t.Errorf("closes were counted as %v, want one with 1002", got)
		}
	})
}

func TestABreachOfTheNativeProtocolWaitsToo(t *testing.T) {
	for name, last := range map[string][]byte{
		"a binary frame": ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame([]byte("x")))), "no JSON": text("{"),
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := startAlone(t, testConfig(t, "auto"))
			s := dial(t, n, "/ws", "a")
			s.want(`{"op":"welcome"}`)
			s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
			s.want(`{"op":"ok","id":1}`)
			s.write(text(`{"op":"group_send","id":2,"group":"chat.1","data":1}`), last, text(`{"op":"ping","id":3}`))
			s.want(`{"op":"ok","id":2}`)
			s.want(`{"op":"message","group":"chat.1","data":1}`)
			s.want(`{"op":"close","code":4400}`)
			if f := s.frame(); f.Header.OpCode != ws.OpClose {
				t.Fatalf("got %q behind the close object", f.Payload)
			}
		})
	}
}

// TestOpsThatWaitEndWithABreach: what waits for an earlier op had not begun when the conn broke the protocol.
func TestOpsThatWaitEndWithABreach(t *testing.T) {
	n, b := startAlone(t, testConfig(t, "auto"))
	s := dial(t, n, "/ws", "a")
	s.want(`{"op":"welcome"}`)
	b.hold()
	s.write(text(`{"op":"group_add","id":1,"group":"chat.1"}`), text(`{"op":"group_send","id":2,"group":"chat.1","data":1}`), breaking())
	s.want(`{"op":"close","code":1002}`)
	s.wantClose(closeProtocol)
	b.free(nil)
	eventually(t, "the end of all interest", func() bool { return len(b.joins()) == 0 })
	if got := n.counters.published.Load(); got != 0 {
		t.Fatalf("%d messages were published, want none", got)
	}
}

// TestAConnThatFailsEndsOnce holds a conn between its breach and its end, and ends it there otherwise.
func TestAConnThatFailsEndsOnce(t *testing.T) {
	config := testConfig(t, "auto")
	config.Server.Loops = 1
	n, b := startAlone(t, config)
	s := dial(t, n, "/echo/7/", "a")
	other := dial(t, n, "/echo/7/", "b")
	other.write(text("both are here"))
	other.frame()
	n.onLoops(func(o *owner) {
		for slot, c := range o.loggedIn() {
			if o.user(slot) != "a" {
				continue
			}
			o.breach(slot, c, ending{code: closeProtocol, reason: "broken"})
			if c.state != stateFailing {
				t.Errorf("the conn is %v, want failing", c.state)
			}
			o.Read(slot, text("ignored"))
			o.Tick(o.loop.Now())
			if slots := o.matching(&control{User: "a"}); len(slots) != 1 {
				t.Errorf("%d conns of the user can be disconnected, want one", len(slots))
			}
			o.end(slot, ending{code: closeDisconnected, reason: "disconnected"})
			if c.state != stateClosing || o.open != 1 {
				t.Errorf("the conn is %v, and %d are open", c.state, o.open)
			}
		}
	})
	s.frame()
	s.wantClose(closeDisconnected)
	if got := closes(n); got[closeProtocol] != 1 || len(got) != 1 {
		t.Errorf("closes were counted as %v, want one, by its first reason", got)
	}
	if err := b.Publish(message("echo.7", "still here")); err != nil {
		t.Fatal(err)
	}
	other.frame()
}
