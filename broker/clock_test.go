package broker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
)

// openClocked opens a node whose clock is ahead, or behind if that is less than 0.
func openClocked(t *testing.T, o broker.Options, ahead time.Duration) (*brokertest.Node, error) {
	t.Helper()
	r := brokertest.NewRecorder()
	b, err := broker.OpenWith(t.Context(), o, r, brokertest.Log(), func(b *broker.Broker) { broker.SetClock(b, ahead) })
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { b.Close() })
	return &brokertest.Node{Broker: b, Recorder: r}, nil
}

// Nodes meet, ask and hear each other whatever their clocks say: how long one was silent goes by the clock of who listens.
func TestNodesWhoseClocksDiffer(t *testing.T) {
	var nodes []*brokertest.Node
	var routes []string
	for i, ahead := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour} {
		n, err := openClocked(t, brokertest.ClusterOptions(i, routes...), ahead)
		if err != nil {
			t.Fatal(err)
		}
		nodes, routes = append(nodes, n), append(routes, "nats://"+n.ClusterAddr())
	}
	for i, n := range nodes {
		n.JoinWait(t, "chat.1")
		answers, err := n.AskAll(t.Context(), "what", []byte("x"))
		if err != nil || len(answers) != len(nodes) {
			t.Errorf("node %d: %d answers, %v; want %d", i, len(answers), err, len(nodes))
		}
		for _, a := range answers {
			if a.Err != nil {
				t.Errorf("node %d: %s does not answer: %v", i, a.Node, a.Err)
			}
		}
	}
	for i, n := range nodes {
		n.Send(t, "chat.1", fmt.Sprint(i))
	}
	begun := time.Now()
	for i, n := range nodes {
		n.WaitMessages(t, "chat.1", len(nodes))
		brokertest.Eventually(t, "a heartbeat of every node", func() bool {
			for _, peer := range n.Nodes() {
				if peer.LastSeen.Before(begun) {
					return false
				}
			}
			return len(n.Nodes()) == len(nodes)
		})
		for _, peer := range n.Nodes() {
			if peer.LastSeen.After(time.Now()) {
				t.Errorf("node %d has seen %s at %v, by another clock", i, peer.Name, peer.LastSeen)
			}
		}
	}
	// Which of two nodes gives way that cannot both be: the one that does not serve, even if it claims to be the older.
	o := brokertest.ClusterOptions(0, routes...)
	if n, err := openClocked(t, o, -48*time.Hour); err == nil {
		t.Errorf("a second %s serves", n.Name())
	} else if !strings.Contains(err.Error(), "broker.name must be unique") {
		t.Errorf("a second node of a name: %v", err)
	}
	for i, n := range nodes {
		if err := n.Ready(); err != nil || n.Stats().PeersLost != 0 {
			t.Errorf("node %d: ready %v, lost %d nodes", i, err, n.Stats().PeersLost)
		}
	}
}
