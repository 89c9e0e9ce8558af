package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

// TestVerbs: every op of gatecast.v1, its reply, and the order of both.
func TestVerbs(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"epoll", "portable"} {
		t.Run(mode, func(t *testing.T) {
			n := startNode(t, "a", conf{"server.mode": mode, "server.limits.messages_per_second": 0})
			s, other := dialUser(t, n, "kim"), dialUser(t, n, "lee")
			other.add("chat.1")

			// Many groups in one op, some of which fail; one reply.
			r := s.ok(msg{"op": "group_add", "groups": []any{"chat.1", map[string]any{"group": "chat.2"}, "chat.private.1", "chat x", "chat.1"}})
			var codes []string
			for _, g := range r["groups"].([]any) {
				e, _ := g.(map[string]any)["error"].(map[string]any)
				codes = append(codes, fmt.Sprint(g.(map[string]any)["group"], " ", e["code"]))
			}
			if got, want := fmt.Sprint(codes), "[chat.1 <nil> chat.2 <nil> chat.private.1 forbidden chat x bad_group chat.1 <nil>]"; got != want {
				t.Errorf("groups answered %s, want %s", got, want)
			}
			// Being added twice is being added once.
			other.groupSend("chat.1", "once")
			s.wantData("chat.1", "once")
			s.quiet()
			other.wantData("chat.1", "once")

			// echo, sender, no need of membership, bytes as they are.
			s.ok(msg{"op": "group_send", "group": "chat.1", "data": nil, "echo": false})
			if m := other.wantData("chat.1", nil); m.str("from") != "kim" || m["seq"] != nil {
				t.Errorf("got %v, want from kim and no seq", m)
			}
			s.quiet()
			outsider := dialUser(t, n, "out")
			outsider.groupSend("chat.1", "from outside")
			s.wantData("chat.1", "from outside")
			other.wantData("chat.1", "from outside")
			exact := `{"op":"group_send","id":900,"group":"chat.1","data":{"z": 1.0e2, "a":[ ],"u":"\u00e9\ud83d\udc09","n":12345678901234567890},"unknown":[1]}`
			if err := outsider.frame(opText, []byte(exact)); err != nil {
				t.Fatal(err)
			}
			other.message("chat.1")
			_, p, err := s.readMessage(time.Now().Add(patience))
			if want := `{"op":"message","group":"chat.1","data":{"z": 1.0e2, "a":[ ],"u":"\u00e9\ud83d\udc09","n":12345678901234567890},"from":"out"}`; err != nil || string(p) != want {
				t.Errorf("data was not relayed byte for byte: got %s %v, want %s", p, err, want)
			}

			// Discarding: nothing follows the ok; of a non-member it is ok too; the personal group is not one's to leave.
			s.ok(msg{"op": "group_discard", "group": "chat.1"})
			other.groupSend("chat.1", "too late")
			other.wantData("chat.1", "too late")
			s.quiet()
			s.ok(msg{"op": "group_discard", "group": "chat.1"})
			s.ok(msg{"op": "group_discard", "group": "room.never"})

			// What does not exist yet.
			s.refused("unavailable", msg{"op": "presence", "group": "chat.2"})
			s.refused("unavailable", msg{"op": "history", "group": "chat.2", "limit": 5})
			s.refused("unavailable", msg{"op": "group_add", "group": "chat.3", "presence": true})
			// Ops of one frame, of a frame without id, and pongs nobody asked for.
			if err := s.frame(opText, []byte(`[{"op":"ping","id":71},{"op":"pong"},{"op":"group_add","group":"chat.4"},{"op":"ping","id":72}]`)); err != nil {
				t.Fatal(err)
			}
			s.find("ok 71", func(m msg) bool { return m.op() == "ok" && m.num("id") == 71 })
			s.find("ok 72", func(m msg) bool { return m.op() == "ok" && m.num("id") == 72 })
			s.groupSend("chat.4", 1) // waits for the add before it
			s.wantData("chat.4", 1)
		})
	}
}

// TestPipelinedMembership: add, discard and add again of one group in one write are done in their order, whatever
// barriers are under way; the last word holds.
func TestPipelinedMembership(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, conf{"server.limits.messages_per_second": 0})
	s, sender := dialUser(t, nodes[0], "kim"), dialUser(t, nodes[1], "lee")
	for i := range 40 {
		group := "room.flip." + strconv.Itoa(i)
		var b []byte
		ops := []string{"group_add", "group_discard", "group_add", "group_discard", "group_add"}
		if i%2 == 1 {
			ops = ops[:4]
		}
		for k, op := range ops {
			b = appendFrame(b, 0x80|opText, fmt.Appendf(nil, `{"op":%q,"id":%d,"group":%q}`, op, 10000+k, group))
		}
		if err := s.write(b); err != nil {
			t.Fatal(err)
		}
		for k := range ops {
			s.find("ok", func(m msg) bool { return m.op() == "ok" && m.num("id") == 10000+k })
		}
		sender.groupSend(group, i)
		if i%2 == 0 {
			s.wantData(group, i)
		}
	}
	// The fence for the groups that were left: a message behind theirs, by the same sender.
	s.add("room.fence")
	sender.groupSend("room.fence", "end")
	s.wantData("room.fence", "end")
	s.quiet()
}

// TestClosedWhileJoining: conns that go away while their adds wait for barriers leave nothing behind.
func TestClosedWhileJoining(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, conf{"server.limits.messages_per_second": 0})
	a := nodes[0]
	by := standBy(t, a)
	for i := range 150 {
		s, err := tryDial(a.addr, "/ws", bearer(token(t, "hasty"+strconv.Itoa(i))))
		if err != nil {
			t.Fatal(err)
		}
		var b []byte
		for g := range 10 {
			b = appendFrame(b, 0x80|opText, fmt.Appendf(nil, `{"op":"group_add","id":%d,"group":"room.hasty.%d.%d"}`, g, i, g))
		}
		if i%3 == 1 {
			b = appendFrame(b, 0x80|opClose, []byte{0x03, 0xe8})
		}
		if err := s.write(b); err != nil {
			t.Fatal(err)
		}
		s.conn.Close()
	}
	by.echo()
	a.waitConns(t, 1)
	a.waitMemberships(t, 2) // the bystander's own group and its room
	var m sample
	eventually(t, 20*time.Second, func() string {
		return fmt.Sprintf("subscriptions stay: %v, pending joins: %v", m["gatecast_broker_subscriptions"], m["gatecast_broker_pending_joins"])
	}, func() bool {
		m = a.metrics()
		// One for all users and one for the bystander's room.
		return m.sum("gatecast_broker_subscriptions") <= 2 && m.sum("gatecast_broker_pending_joins") == 0
	})
	by.echo()
}
