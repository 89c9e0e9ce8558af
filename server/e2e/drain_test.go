package e2e

import (
	"net"
	"testing"
	"time"
)

// TestDrain: SIGTERM flips readiness first, then every conn is told where it stands, spread over the window.
func TestDrain(t *testing.T) {
	heavy(t)
	t.Parallel()
	for _, mode := range []string{"epoll", "portable"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			const delay, window = 5 * time.Second, 2 * time.Second
			n := startNode(t, "a", conf{"server.mode": mode, "drain.delay": delay.String(), "drain.window": window.String()})
			var socks []*socket
			for range 40 {
				socks = append(socks, dialUser(t, n, "kim"))
			}
			began := time.Now()
			n.signal(sigterm)
			eventually(t, patience, func() string { return "still ready after SIGTERM" }, func() bool {
				status, _, err := n.get("/readyz")
				return err == nil && status == 503
			})
			// While the delay lasts sockets work and new ones are taken: load balancers need it.
			socks[0].groupSend("room.x", 1)
			late := dialUser(t, n, "late")
			var first, last time.Duration
			for i, s := range append(socks, late) {
				c := s.wantClosed(4200)
				at := time.Since(began)
				if i == 0 {
					first = at
				}
				last = max(last, at)
				retry, _ := c.Op["retry"].([]any)
				if len(retry) != 2 || retry[1].(float64) <= 0 {
					t.Fatalf("conn %d ended with %v, want a retry hint", i, c)
				}
				s.conn.Close()
			}
			if first < delay {
				t.Errorf("the first conn was closed after %v, want the delay of %v to pass", first, delay)
			}
			if last < delay+window/2 {
				t.Errorf("all conns were closed within %v, want them spread over the window of %v after the delay of %v", last, window, delay)
			}
			if c, err := net.DialTimeout("tcp", n.addr, time.Second); err == nil {
				c.Close()
				t.Error("a drained node still accepts")
			}
			n.finish() // exit 0
		})
	}
}

// TestSecondSignal: the second SIGTERM does not wait.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", conf{"drain.delay": "5m", "drain.window": "5m"})
	dialUser(t, n, "kim")
	n.signal(sigterm)
	eventually(t, patience, func() string { return "still ready after SIGTERM" }, func() bool {
		status, _, err := n.get("/readyz")
		return err != nil || status == 503
	})
	n.mu.Lock()
	n.killed = true // its exit code is not 0, and need not be
	n.mu.Unlock()
	n.signal(sigterm)
	select {
	case <-n.done:
	case <-time.After(patience):
		t.Error("the node is still there after a second SIGTERM")
	}
}

// TestDrainByAPI: POST drain does what SIGTERM does.
func TestDrainByAPI(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", nil)
	s := dialUser(t, n, "kim")
	if status, answer := n.call(adminKey, "POST", "/api/v1/drain", nil); status != 200 || answer["ok"] != true {
		t.Fatalf("drain: %d %v", status, answer)
	}
	s.wantClosed(4200)
	s.conn.Close() // else the node gives its last words 5 s to be read
	select {
	case <-n.done:
	case <-time.After(patience):
		t.Error("the node is still there")
	}
	n.finish()
}

// TestDrainInCluster: a node that leaves politely takes nobody down with it, and its clients are back in their
// groups elsewhere.
func TestDrainInCluster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, conf{"server.limits.messages_per_second": 0})
	a, b := nodes[0], nodes[1]
	stays := dialUser(t, a, "stays")
	stays.add("room.traffic")
	r := startReconnecting(t, []*node{b, a}, "moves", "room.traffic")
	b.signal(sigterm)
	for i := 0; ; i++ {
		stays.groupSend("room.traffic", i)
		stays.wantData("room.traffic", i)
		select {
		case <-b.done:
		default:
			continue
		}
		break
	}
	b.finish()
	r.wantBack(t, func(data string) { stays.groupSend("room.traffic", data); stays.wantData("room.traffic", data) })
	a.waitPeers(1)
	if len(stays.queue) > 0 {
		t.Errorf("the socket of the other node got %v", stays.queue)
	}
}
