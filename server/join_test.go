package server

import (
	"slices"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
)

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen in %v", what, patience)
		}
		<-tick.C
	}
}

func TestAGroupAddIsAnsweredOnlyAfterItsBarrier(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, b := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		b.hold()
		s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		s.send(`{"op":"group_send","id":2,"group":"chat.1","data":"behind the add"}`)
		s.send(`{"op":"group_send","id":3,"group":"chat.2","data":"another group"}`)
		s.want(`{"op":"ok","id":3}`) // it does not wait for chat.1
		eventually(t, "the join", func() bool { return b.waits() == 1 })
		b.free(nil)
		s.want(`{"op":"ok","id":1}`)
		s.want(`{"op":"ok","id":2}`)
		s.want(`{"op":"message","data":"behind the add"}`)
	})
}

func TestAnAddWhoseBarrierFailsIsUndone(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, b := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		b.hold()
		s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		s.send(`{"op":"group_add","id":2,"group":"chat.1"}`)
		eventually(t, "the join", func() bool { return b.waits() == 1 })
		b.free(broker.ErrTimeout)
		s.want(`{"op":"error","id":1,"code":"timeout"}`)
		s.want(`{"op":"ok","id":2}`) // it came behind the first and tried again
		s.send(`{"op":"group_discard","id":3,"group":"chat.1"}`)
		s.want(`{"op":"ok","id":3}`)
		if got := b.joins(); !slices.Equal(got, []string{"user.a"}) {
			t.Fatalf("the broker holds %v, want user.a alone", got)
		}
	})
}

func TestAConnThatGoesDuringItsBarrierLeavesNothing(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, b := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		b.hold()
		s.send(`{"op":"group_add","id":1,"groups":["chat.1","chat.2"]}`)
		eventually(t, "the joins", func() bool { return b.waits() == 2 })
		s.Close()
		eventually(t, "the end of the conn", func() bool { return n.conns.Load() == 0 })
		b.free(nil)
		eventually(t, "the end of all interest", func() bool { return len(b.joins()) == 0 })
	})
}

func TestMembersOfAReadyGroupMayLeaveWhileAnotherWaits(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Server.Loops = 1
		n, b := startAlone(t, c)
		first, second := dial(t, n, "/ws", "a"), dial(t, n, "/ws", "b")
		first.want(`{"op":"welcome"}`)
		second.want(`{"op":"welcome"}`)
		first.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		first.want(`{"op":"ok","id":1}`)
		b.hold()
		second.send(`{"op":"group_add","id":1,"groups":["chat.1","chat.2"]}`)
		eventually(t, "the join of chat.2", func() bool { return b.waits() == 1 })
		first.send(`{"op":"group_discard","id":2,"group":"chat.1"}`)
		first.want(`{"op":"ok","id":2}`)
		b.free(nil)
		second.want(`{"op":"ok","id":1}`)
		first.send(`{"op":"group_send","group":"chat.1","data":5}`)
		second.want(`{"op":"message","group":"chat.1","data":5}`)
		second.Close()
		eventually(t, "the end of the groups", func() bool { return slices.Equal(b.joins(), []string{"user.a"}) })
	})
}

func TestALostBrokerIsToldAndSocketsStay(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, b := startAlone(t, testConfig(t, mode))
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		s.want(`{"op":"ok","id":1}`)
		b.setDown(true)
		s.send(`{"op":"group_send","id":2,"group":"chat.1","data":1}`)
		s.want(`{"op":"error","id":2,"code":"unavailable"}`)
		s.send(`{"op":"group_add","id":3,"group":"chat.2"}`)
		s.want(`{"op":"error","id":3,"code":"unavailable"}`)
		b.setDown(false)
		s.send(`{"op":"group_send","id":4,"group":"chat.1","data":2}`)
		s.want(`{"op":"ok","id":4}`)
		s.want(`{"op":"message","data":2}`)
	})
}
