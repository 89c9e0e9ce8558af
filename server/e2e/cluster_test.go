package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// joinRound is one turn of the barrier's promise: a group_add acknowledged on one node, then at once a
// group_send on another, must be heard.
func joinRound(member, sender *socket, group string, data any) error {
	if r, err := member.tryAsk(msg{"op": "group_add", "group": group}); err != nil || r.op() != "ok" {
		return fmt.Errorf("group_add %s: %v %w", group, r, err)
	}
	if err := sender.trySend(msg{"op": "group_send", "group": group, "data": data}); err != nil {
		return fmt.Errorf("group_send %s: %w", group, err)
	}
	m, err := member.tryFind(func(m msg) bool { return m.op() == "message" && m.str("group") == group })
	if err != nil {
		return fmt.Errorf("%s was acknowledged, its message never came: %w", group, err)
	}
	if fmt.Sprint(m["data"]) != fmt.Sprint(data) {
		return fmt.Errorf("%s: got %v, want data %v", group, m, data)
	}
	return nil
}

// TestJoinBarrier: 2,000 adds acknowledged on node A, each followed at once by a send on node B, are 2,000
// messages; many adds are in flight all the time and a fourth node joins in the middle.
func TestJoinBarrier(t *testing.T) {
	t.Parallel()
	const pairs, rounds = 25, 80
	routes := make([]string, 4)
	for i := range routes {
		routes[i] = "nats://" + freeAddr(t)
	}
	extra := conf{"server.limits.messages_per_second": 0, "server.limits.groups_per_conn": 0}
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, launchNode(t, string(rune('a'+i)), extra.over(clusterConf(routes[:3], i))))
	}
	for _, n := range nodes {
		n.waitReady()
		n.waitPeers(3)
	}
	a, b := nodes[0], nodes[1]
	var done atomic.Int64
	half := make(chan struct{})
	var errs sync.Map
	var wg sync.WaitGroup
	for p := range pairs {
		member, sender := dialUser(t, a, "member"+strconv.Itoa(p)), dialUser(t, b, "sender"+strconv.Itoa(p))
		wg.Go(func() {
			for i := range rounds {
				// Every third round takes a group up again while its interest may still linger.
				group := fmt.Sprintf("room.%d.%d", p, i)
				if i%3 == 2 {
					group = fmt.Sprintf("room.%d.%d", p, i-2)
					if r, err := member.tryAsk(msg{"op": "group_discard", "group": group}); err != nil || r.op() != "ok" {
						errs.Store(p, fmt.Errorf("group_discard: %v %w", r, err))
						return
					}
				}
				if err := joinRound(member, sender, group, strconv.Itoa(i)); err != nil {
					errs.Store(p, fmt.Errorf("pair %d round %d: %w", p, i, err))
					return
				}
				if done.Add(1) == pairs*rounds/4 {
					close(half)
				}
			}
		})
	}
	select {
	case <-half:
	case <-time.After(time.Minute):
		t.Errorf("only %d rounds in a minute", done.Load())
	}
	d := launchNode(t, "d", extra.over(clusterConf(routes, 3)))
	d.waitReady()
	wg.Wait()
	errs.Range(func(_, err any) bool { t.Error(err); return true })
	if got := done.Load(); got != pairs*rounds {
		t.Fatalf("%d of %d messages were received", got, pairs*rounds)
	}
	// The newcomer is a full member at once, in both directions.
	late, early := dialUser(t, d, "late"), dialUser(t, a, "early")
	for i := range 20 {
		if err := joinRound(late, early, fmt.Sprintf("room.late.%d", i), "x"); err != nil {
			t.Fatal(err)
		}
		if err := joinRound(early, late, fmt.Sprintf("room.early.%d", i), "x"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestJoinWhilePending: conns of one node add the same new group at the same time; each ack alone promises
// delivery, also the second one, which finds the subscription made but its barrier not done.
func TestJoinWhilePending(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, conf{"server.limits.messages_per_second": 0})
	const members, rounds = 8, 25
	sender := dialUser(t, nodes[1], "sender")
	var socks []*socket
	for i := range members {
		socks = append(socks, dialUser(t, nodes[0], "m"+strconv.Itoa(i)))
	}
	for r := range rounds {
		group := "room.same." + strconv.Itoa(r)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i, s := range socks {
			wg.Go(func() {
				if res, err := s.tryAsk(msg{"op": "group_add", "group": group}); err != nil || res.op() != "ok" {
					t.Errorf("group_add %s: %v %v", group, res, err)
					return
				}
				mu.Lock()
				err := sender.trySend(msg{"op": "group_send", "group": group, "data": i})
				mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.tryFind(func(m msg) bool { return m.op() == "message" && m.str("group") == group && m.num("data") == i }); err != nil {
					t.Errorf("member %d of %s: %v", i, group, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for _, s := range socks {
			s.queue = nil
		}
	}
}

// TestKilledNode: kill -9 one of three nodes under traffic. The sockets of the other two see nothing of it.
func TestKilledNode(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 3, conf{"server.limits.messages_per_second": 0})
	a, b, c := nodes[0], nodes[1], nodes[2]
	left, right := dialUser(t, a, "left"), dialUser(t, b, "right")
	lost := dialUser(t, c, "lost")
	for _, s := range []*socket{left, right, lost} {
		s.add("room.traffic")
	}
	var restless []*reconnecting
	for i := range 20 {
		restless = append(restless, startReconnecting(t, []*node{c, a, b}, "restless"+strconv.Itoa(i), "room.traffic"))
	}

	const total = 600
	for i := range total {
		from, to := left, right
		if i%2 == 1 {
			from, to = right, left
		}
		from.groupSend("room.traffic", i)
		from.wantData("room.traffic", i)
		to.wantData("room.traffic", i)
		if i == total/4 {
			c.kill()
		}
		if i%50 == 0 { // adds go on too: the dead peer is skipped by the barrier
			from.add("room.more." + strconv.Itoa(i))
		}
	}
	for _, s := range []*socket{left, right} {
		for _, m := range s.queue {
			t.Errorf("socket of %s got %v", s.user, m)
		}
	}
	if code := lost.end().Code; code != 1006 {
		t.Errorf("the dead node's socket ended with %d, want 1006", code)
	}
	// Its clients are back in their group on another node.
	for _, r := range restless {
		r.wantBack(t, func(data string) { left.groupSend("room.traffic", data) })
	}
	for _, n := range []*node{a, b} {
		n.waitPeers(2)
	}
}

// TestFrozenNode: a node that is stopped for a while (its routes die, its process lives) comes back into the
// cluster, and joins made afterwards keep the barrier's promise.
func TestFrozenNode(t *testing.T) {
	heavy(t)
	t.Parallel()
	nodes := startCluster(t, 2, conf{"server.limits.messages_per_second": 0})
	a, b := nodes[0], nodes[1]
	sender, member := dialUser(t, a, "sender"), dialUser(t, b, "member")
	member.add("room.before")
	b.signal(sigstop)
	t.Cleanup(func() { b.cmd.Process.Signal(sigcont) })
	// While the peer is silent an add times out (3 s) or, once the peer counts as dead, is acknowledged.
	r := sender.ask(msg{"op": "group_add", "group": "room.silent"})
	if r.op() == "error" && r.code() != "timeout" && r.code() != "unavailable" {
		t.Errorf("group_add with a silent peer answered %v, want ok or timeout", r)
	}
	a.waitPeers(1)
	sender.add("room.alone")
	b.signal(sigcont)
	a.waitPeers(2)
	b.waitPeers(2)
	for i := range 50 {
		if err := joinRound(member, sender, "room.after."+strconv.Itoa(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
	// What was joined before the route died is joined still.
	sender.groupSend("room.before", "again")
	member.wantData("room.before", "again")
}

// TestGroupNames: odd names that Channels allows reach members on another node, and are not confused.
func TestGroupNames(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, conf{
		"server.limits.messages_per_second": 0,
		"grants": []conf{{
			"to":        "authenticated",
			"subscribe": []string{">", "a..b", ".a", "room..x", "a.", "..", "."},
			"publish":   []string{">", "a..b", ".a", "room..x", "a.", "..", "."},
		}},
	})
	member, sender := dialUser(t, nodes[0], "member"), dialUser(t, nodes[1], "sender")
	names := []string{
		"a..b", ".a", "a.", "..", ".", "a.b", "a=2Eb", "=2E=2E", "room.٣", "zoë🐉", "$JS.API.x", "gc.ctl.drain", "A", "-_.x",
		"specific.a!b", "it's", `quote"d`, `back\slash`, strings.Repeat("x", 200), strings.Repeat("é", 100),
	}
	for _, name := range names {
		member.add(name)
	}
	for i, name := range names {
		sender.groupSend(name, i)
		member.wantData(name, i)
	}
	member.quiet()
}

// TestUserInterestExact: one subscription a user instead of one for all; the promises are the same. The routes are
// names here, as in Kubernetes.
func TestUserInterestExact(t *testing.T) {
	t.Parallel()
	routes := []string{"nats://" + freeAddr(t), "nats://" + freeAddr(t)}
	var named []string
	for _, r := range routes {
		named = append(named, strings.Replace(r, "127.0.0.1", "localhost", 1))
	}
	var nodes []*node
	for i, name := range []string{"a", "b"} {
		nodes = append(nodes, launchNode(t, name, conf{
			"broker.user_interest": "exact", "server.limits.messages_per_second": 0, "broker.cluster.routes": named,
		}.over(clusterConf(routes, i))))
	}
	for _, n := range nodes {
		n.waitReady()
		n.waitPeers(2)
	}
	for i := range 30 {
		user := "u" + strconv.Itoa(i)
		s := dialUser(t, nodes[i%2], user)
		// From the moment of the welcome, also across nodes.
		nodes[(i+1)%2].groupSend("user."+user, i)
		s.wantData("user."+user, i)
	}
	for i := range 30 {
		member, sender := dialUser(t, nodes[0], "m"), dialUser(t, nodes[1], "s")
		if err := joinRound(member, sender, "room."+strconv.Itoa(i), "x"); err != nil {
			t.Fatal(err)
		}
	}
}
