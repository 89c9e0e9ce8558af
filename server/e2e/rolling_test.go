package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/gatecast/gatecast/clients/go"
)

// again starts a node that has left, on the same config, as a supervisor does.
func (n *node) again() *node {
	n.t.Helper()
	next := &node{t: n.t, name: n.name, dir: n.dir, conf: n.conf, env: n.env, addr: n.addr, api: n.api, nats: n.nats, logs: newLogs(), done: make(chan struct{})}
	next.exec()
	n.t.Cleanup(next.finish)
	next.waitReady()
	return next
}

// TestRollingRestart: three nodes are replaced one after the other, politely and by a crash, while clients of our
// own library talk. Each is in its group again every time, and no node's peers are forgotten.
func TestRollingRestart(t *testing.T) {
	heavy(t)
	t.Parallel()
	nodes := startCluster(t, 3, conf{"server.limits.messages_per_second": 0})
	const group = "room.rolling"
	var clients []*reconnecting
	for i := range 12 {
		order := []*node{nodes[i%3], nodes[(i+1)%3], nodes[(i+2)%3]}
		clients = append(clients, startReconnecting(t, order, "roller"+strconv.Itoa(i), group))
	}
	for i := range nodes {
		if i == 1 {
			nodes[i].kill()
		} else {
			nodes[i].signal(sigterm)
			nodes[i].finish()
		}
		nodes[i] = nodes[i].again()
		for _, n := range nodes {
			n.waitPeers(3)
		}
		// Everybody hears everybody again, from every node.
		for k, n := range nodes {
			for _, c := range clients {
				want := fmt.Sprintf("round %d from %d", i, k)
				c.wantHear(t, want, func() { n.groupSend(group, want) })
			}
		}
	}
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			if c.conn.State() != client.StateConnected {
				t.Errorf("a client is in state %v", c.conn.State())
			}
		})
	}
	wg.Wait()
}

// wantHear sends until the client has heard that text: what is sent while it reconnects is missed, as promised.
func (r *reconnecting) wantHear(t testing.TB, text string, send func()) {
	t.Helper()
	last := time.Time{}
	eventually(t, 30*time.Second, func() string { return fmt.Sprintf("a client in state %v never heard %q", r.conn.State(), text) }, func() bool {
		if r.has(text) {
			return true
		}
		if time.Since(last) > 300*time.Millisecond {
			send()
			last = time.Now()
		}
		return r.has(text)
	})
}

// TestMismatch: a node that would put groups on other lanes than its cluster does not serve, and says why; the
// cluster goes on.
func TestMismatch(t *testing.T) {
	t.Parallel()
	routes := []string{"nats://" + freeAddr(t), "nats://" + freeAddr(t)}
	good := startNode(t, "good", clusterConf(routes, 0))
	bad := launchNode(t, "bad", conf{"broker.shards": 16}.over(clusterConf(routes, 1)))
	select {
	case <-bad.done:
	case <-time.After(startLimit):
		status, body, _ := bad.get("/readyz")
		if status == 200 {
			t.Fatal("a node with other shards serves")
		}
		t.Logf("not ready: %s", body)
	}
	bad.mu.Lock()
	bad.killed = true
	bad.mu.Unlock()
	bad.cmd.Process.Kill()
	if log := bad.logs.String(); !strings.Contains(log, "shards") {
		t.Errorf("the log does not say that shards differ:\n%s", log)
	}
	if status, body, err := good.get("/readyz"); err != nil || status != 200 {
		t.Errorf("the good node: %d %s %v", status, body, err)
	}
	s := dialUser(t, good, "kim")
	s.add("room.x")
	s.groupSend("room.x", 1)
	s.wantData("room.x", 1)
}
