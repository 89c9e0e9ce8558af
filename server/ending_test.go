package server

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// stuff publishes to a group until more than n bytes wait for the user's conn, which reads nothing.
func stuff(t *testing.T, n *Node, b *loopback, user, group string, atLeast int) {
	t.Helper()
	m := message(group, `"`+strings.Repeat("x", 30<<10)+`"`)
	for i := 0; pending(n, user) < atLeast; i++ {
		if i > 2000 {
			t.Fatalf("%d bytes never waited for a conn that reads nothing", atLeast)
		}
		if err := b.Publish(m); err != nil {
			t.Fatal(err)
		}
	}
}

func pending(n *Node, user string) (bytes int) {
	n.onLoops(func(o *owner) {
		for slot, c := range o.loggedIn() {
			if string(o.logins.user(c.login)) == user && o.loop.Blocked(slot) {
				bytes, _ = o.loop.Pending(slot)
			}
		}
	})
	return bytes
}

func TestASlowConnEndsOnceAndReadsWhy(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, b := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		s.want(`{"op":"ok","id":1}`)
		m := message("chat.1", `"`+strings.Repeat("x", 30<<10)+`"`)
		for n.counters.slow.Load() == 0 {
			if err := b.Publish(m); err != nil {
				t.Fatal(err)
			}
			pending(n, "a")
		}
		s.wantClose(closeSlow)
		if got := n.counters.slow.Load(); got != 1 {
			t.Fatalf("slow was counted %d times, want once", got)
		}
		n.counters.closes.each(func(code int, v uint64) {
			if code != closeSlow || v != 1 {
				t.Errorf("%d conns were closed with %d, want one with 4210", v, code)
			}
		})
	})
}

func TestAHalfClosedSlowConnEnds(t *testing.T) {
	t.Parallel() // it waits, others need not
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Server.Limits.PendingAge = time.Second
		n, b := startAlone(t, c)
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		s.want(`{"op":"ok","id":1}`)
		stuff(t, n, b, "a", "chat.1", 60<<10)
		if err := s.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the end of the conn", func() bool {
			if err := b.Publish(message("chat.1", "1")); err != nil {
				t.Fatal(err)
			}
			return n.conns.Load() == 0
		})
	})
}

func TestAMembershipEndsWithItsConn(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Server.Loops = 1
		n, b := startAlone(t, c)
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		s.want(`{"op":"ok","id":1}`)
		stuff(t, n, b, "a", "chat.1", 100<<10)
		for i := 0; n.counters.slow.Load() == 0; i++ { // until an answer finds the conn slow
			group := fmt.Sprintf("chat.%050d", i)
			s.send(`{"op":"group_add","id":1,"group":%q}`, group)
			s.send(`{"op":"group_discard","id":1,"group":%q}`, group)
			if i%50 == 0 {
				pending(n, "a")
			}
		}
		s.Close()
		eventually(t, "the end of the conn", func() bool { return n.conns.Load() == 0 })
		if groups, members := n.sizes(); groups != 0 || members != 0 {
			t.Fatalf("without conns there are %d groups and %d memberships", groups, members)
		}
		eventually(t, "the end of all interest", func() bool { return len(b.joins()) == 0 })
	})
}

func TestLeavingTheOwnGroupIsNoEscape(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		s.send(`{"op":"group_discard","id":1,"group":"user.a"}`)
		s.want(`{"op":"ok","id":1}`)
		if got := string(n.Call(t.Context(), "disconnect", []byte(`{"user":"a"}`))); got != `{"ok":true,"conns":1}` {
			t.Fatalf("disconnect = %s, want one conn", got)
		}
		s.wantClose(closeDisconnected)
	})
}

func TestOpsGoOnBehindAnAddThatWasReadyAtOnce(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Server.Loops = 1
		n, b := startAlone(t, c)
		first, second := dial(t, n, "/ws", "a"), dial(t, n, "/ws", "b")
		first.want(`{"op":"welcome"}`)
		second.want(`{"op":"welcome"}`)
		b.hold()
		first.send(`{"op":"group_add","id":1,"groups":["chat.1","chat.2"]}`)
		eventually(t, "both joins", func() bool { return b.waits() == 2 })
		b.freeOne() // chat.1 is ready and has no member: the first conn still waits for chat.2
		second.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		second.want(`{"op":"ok","id":1}`)
		second.send(`{"op":"group_discard","id":2,"group":"chat.1"}`)
		second.want(`{"op":"ok","id":2}`)
		b.free(nil)
		first.want(`{"op":"ok","id":1}`)
	})
}

func TestAMessageTimeoutIsForOneMessage(t *testing.T) {
	t.Parallel() // it waits, others need not
	c := testConfig(t, "auto")
	c.Server.Limits.MessageTimeout = 2 * time.Second
	n, _ := startAlone(t, c)
	s := dial(t, n, "/ws", "a")
	s.want(`{"op":"welcome"}`)
	frame := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(`{"op":"ping","id":1}`))))
	// Every write ends inside a message, so that one is always incomplete, for longer than the timeout in all.
	if _, err := s.Write(frame[:7]); err != nil {
		t.Fatal(err)
	}
	begin, tick := time.Now(), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for time.Since(begin) < 4500*time.Millisecond {
		<-tick.C
		if _, err := s.Write(append(frame[7:len(frame):len(frame)], frame[:7]...)); err != nil {
			t.Fatal(err)
		}
		s.want(`{"op":"ok","id":1}`)
	}
	s.wantClose(closeProtocol) // now the last one stays incomplete
}

func TestARawConnWithoutALoginIsRefused(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, testConfig(t, mode))
		dial(t, n, "/echo/r/", "").wantClose(closeUnauthorized)
	})
}

func TestNothingGoesBeforeTheWelcome(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, b := startAlone(t, testConfig(t, mode))
		b.hold()
		s := dial(t, n, "/ws", "a") // joins user.a, which waits
		eventually(t, "the join", func() bool { return b.waits() == 1 })
		added := make(chan string, 1)
		go func() { added <- string(n.Call(t.Context(), "group_add", []byte(`{"group":"chat.9","user":"a"}`))) }()
		n.regrantAll()
		n.sizes() // by now the group_add's task may or may not have run; both orders are right
		b.free(nil)
		s.want(`{"op":"welcome"}`)
		s.want(`{"op":"group_added","group":"chat.9"}`)
		if got := <-added; got != `{"ok":true,"conns":1}` {
			t.Fatalf("group_add = %s", got)
		}
	})
}

func TestALongListOfGroupsIsRefused(t *testing.T) {
	n, _ := startAlone(t, testConfig(t, "auto"))
	s := dial(t, n, "/ws", "a")
	s.want(`{"op":"welcome"}`)
	s.send(`{"op":"group_add","id":1,"groups":[%s"a"]}`, strings.Repeat(`"a",`, maxGroupsPerOp))
	s.want(`{"op":"error","id":1,"code":"bad_request"}`)
}

func TestEmptyFramesAndPongsAreRated(t *testing.T) {
	c := testConfig(t, "auto")
	c.Server.Limits.MessagesPerSecond = 5
	n, _ := startAlone(t, c)
	for _, frame := range []string{`[]`, `{"op":"pong"}`} {
		before := n.counters.limited.Load()
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		for range 40 {
			s.send("%s", frame)
		}
		eventually(t, "a limit on "+frame, func() bool { return n.counters.limited.Load() > before })
	}
}
