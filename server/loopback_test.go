package server

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/gatecast/gatecast/broker"
)

// loopback is a broker of one node whose barriers and link the test controls.
type loopback struct {
	node *Node

	mu      sync.Mutex
	held    bool // joins wait until free
	waiting []func(error)
	count   map[string]int
	down    bool
	natives []broker.NativeUser
	asked   []string // verbs of AskAll
	silent  string   // the verb that nobody answers

	onTheWay *broker.Message // published, and delivered by Settle; nil = nothing
}

func (b *loopback) Publish(m *broker.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return broker.ErrUnavailable
	}
	if b.count[string(m.Group)] > 0 {
		b.node.Deliver(m)
	}
	return nil
}

func (b *loopback) Join(group string, ready func(error)) {
	b.mu.Lock()
	if b.down {
		b.mu.Unlock()
		ready(broker.ErrUnavailable)
		return
	}
	b.count[group]++
	if b.held {
		b.waiting = append(b.waiting, func(err error) {
			if err != nil {
				b.Leave(group)
			}
			ready(err)
		})
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	ready(nil)
}

func (b *loopback) Leave(group string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count[group]--; b.count[group] == 0 {
		delete(b.count, group)
	}
}

// hold makes later joins wait; free lets those that wait end with err.
func (b *loopback) hold() {
	b.mu.Lock()
	b.held = true
	b.mu.Unlock()
}

func (b *loopback) free(err error) {
	b.mu.Lock()
	waiting := b.waiting
	b.waiting, b.held = nil, false
	b.mu.Unlock()
	for _, f := range waiting {
		f(err)
	}
}

// freeOne lets the join that waits longest succeed.
func (b *loopback) freeOne() {
	b.mu.Lock()
	f := b.waiting[0]
	b.waiting = b.waiting[1:]
	b.mu.Unlock()
	f(nil)
}

func (b *loopback) waits() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

func (b *loopback) joins() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.count {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (b *loopback) setDown(down bool) {
	b.mu.Lock()
	b.down = down
	b.mu.Unlock()
	b.node.State(!down, "the test said so")
}

// Settle delivers what is on the way.
func (b *loopback) Settle(context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return broker.ErrUnavailable
	}
	if b.onTheWay != nil {
		b.node.Deliver(b.onTheWay)
	}
	return nil
}

func (b *loopback) AskAll(ctx context.Context, verb string, body []byte) ([]broker.Answer, error) {
	b.mu.Lock()
	b.asked = append(b.asked, verb)
	silent := verb == b.silent
	b.mu.Unlock()
	if silent {
		return []broker.Answer{{Node: "other", Err: broker.ErrTimeout}}, nil
	}
	answer, err := b.node.Ask(ctx, verb, body)
	return []broker.Answer{{Node: b.Name(), Body: answer, Err: err}}, nil
}

func (b *loopback) Nodes() []broker.NodeInfo    { return nil }
func (b *loopback) Name() string                { return "alone" }
func (b *loopback) Ready() error                { return nil }
func (b *loopback) ClientURL() string           { return "" }
func (b *loopback) Stats() broker.Stats         { return broker.Stats{} }
func (b *loopback) Drain(context.Context) error { return nil }
func (b *loopback) Close() error                { return nil }

func (b *loopback) NativeUsers() []broker.NativeUser {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.natives)
}

func (b *loopback) DisconnectNative(match func(broker.NativeUser) bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.natives)
	b.natives = slices.DeleteFunc(b.natives, match)
	return before - len(b.natives)
}

// startAlone runs a node on a loopback broker until the test ends.
func startAlone(t testing.TB, c Config) (*Node, *loopback) {
	t.Helper()
	b := &loopback{count: map[string]int{}}
	n, err := open(t.Context(), c, func(n *Node) (Broker, error) {
		b.node = n
		return b, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	runNode(t, n)
	return n, b
}

func message(group, data string) *broker.Message {
	return &broker.Message{Group: []byte(group), Data: []byte(data)}
}
