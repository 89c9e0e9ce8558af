package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	client "github.com/gatecast/gatecast/clients/go"
)

// balancer dials the first of its nodes that accepts, as the load balancer before a cluster would.
type balancer struct{ nodes []*node }

func (b *balancer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var errs []error
	for _, n := range b.nodes {
		var d net.Dialer
		c, err := d.DialContext(ctx, network, n.addr)
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// reconnecting is a user of our own Go client behind a balancer.
type reconnecting struct {
	conn *client.Conn

	mu    sync.Mutex
	heard map[string]bool
}

// startReconnecting connects to the first of nodes and joins group.
func startReconnecting(t testing.TB, nodes []*node, user, group string) *reconnecting {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b := &balancer{nodes: nodes}
	r := &reconnecting{heard: map[string]bool{}}
	conn, err := client.Dial(ctx, nodes[0].wsURL(), client.Options{
		Token: token(t, user), NetDial: b.dial, RetryMin: 50 * time.Millisecond, RetryMax: time.Second,
		Groups: []string{group},
		OnMessage: func(m client.Message) {
			var s string
			json.Unmarshal(m.Data, &s)
			r.mu.Lock()
			r.heard[s] = true
			r.mu.Unlock()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r.conn = conn
	return r
}

func (r *reconnecting) has(s string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard[s]
}

// wantBack waits until the client hears its group again, on a node other than the one it began with.
func (r *reconnecting) wantBack(t testing.TB, send func(data string)) {
	t.Helper()
	eventually(t, 20*time.Second, func() string { return "the client of the dead node never heard its group again" }, func() bool {
		send("are you back?")
		return r.has("are you back?")
	})
	if state := r.conn.State(); state != client.StateConnected {
		t.Errorf("the client is in state %v, want connected", state)
	}
}
