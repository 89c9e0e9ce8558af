package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// wantOrder reads total messages of each group and checks that each group's numbers come as 0, 1, 2, …
func wantOrder(s *socket, groups []string, total int) error {
	next := map[string]int{}
	for _, g := range groups {
		next[g] = 0
	}
	deadline := time.Now().Add(2 * time.Minute)
	for left := total * len(groups); left > 0; left-- {
		m, err := s.tryNext(deadline)
		if err != nil {
			return fmt.Errorf("after %v: %w", next, err)
		}
		g := m.str("group")
		want, ours := next[g]
		if m.op() != "message" || !ours {
			return fmt.Errorf("after %v: got %v", next, m)
		}
		if got := m.num("data"); got != want {
			return fmt.Errorf("group %s: got number %d, want %d", g, got, want)
		}
		next[g]++
	}
	return nil
}

// TestIngressOrder: 20,000 numbered publishes of one plain NATS client on each of three nodes reach a member in
// order, on its own node and on others; nats-py does the same at last.
func TestIngressOrder(t *testing.T) {
	t.Parallel()
	total := 20000
	if testing.Short() {
		total = 2000
	}
	nodes := startCluster(t, 3, conf{"server.limits.pending_bytes": 64 << 20, "server.limits.pending_age": "2m"})
	var groups []string
	for _, n := range nodes {
		groups = append(groups, "room.order."+n.name)
	}
	var readers, writers sync.WaitGroup
	for i, n := range nodes {
		s := dialUser(t, n, "member"+strconv.Itoa(i))
		for _, g := range groups {
			s.add(g)
		}
		readers.Go(func() {
			if err := wantOrder(s, groups, total); err != nil {
				t.Errorf("member on node %s: %v", n.name, err)
			}
		})
	}
	for i, n := range nodes {
		nc := service(t, n)
		subject := "gc.in." + groups[i]
		writers.Go(func() {
			for k := range total {
				if err := nc.Publish(subject, strconv.AppendInt(nil, int64(k), 10)); err != nil {
					t.Errorf("publish %d at node %s: %v", k, n.name, err)
					return
				}
			}
			if err := nc.FlushTimeout(time.Minute); err != nil {
				t.Errorf("flush at node %s: %v", n.name, err)
			}
		})
	}
	writers.Wait()
	readers.Wait()
}

// TestPythonOrder: the same promise to nats-py, the client that Django sites have.
func TestPythonOrder(t *testing.T) {
	heavy(t)
	t.Parallel()
	python := anyVenv(t)
	nodes := startCluster(t, 2, conf{"server.limits.pending_bytes": 64 << 20, "server.limits.pending_age": "2m"})
	s := dialUser(t, nodes[1], "member")
	s.add("room.python")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	const total = 20000
	cmd := exec.CommandContext(ctx, python, filepath.Join(repoRoot(), "server/e2e/python/publish.py"),
		"nats://"+nodes[0].nats, serviceToken, "gc.in.room.python", strconv.Itoa(total))
	cmd.Env = pythonEnv()
	done := make(chan error, 1)
	var out []byte
	go func() {
		var err error
		out, err = cmd.CombinedOutput()
		done <- err
	}()
	orderErr := wantOrder(s, []string{"room.python"}, total)
	if err := <-done; err != nil {
		t.Fatalf("publish.py: %v\n%s", err, out)
	}
	if orderErr != nil {
		t.Fatal(orderErr)
	}
	// The script's last act was a request.
	var answer map[string]any
	if err := json.Unmarshal(out, &answer); err != nil || answer["ok"] != true {
		t.Fatalf("nats-py's request was answered %q, want ok", out)
	}
}
