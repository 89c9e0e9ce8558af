package broker

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"
)

const (
	meetEvery  = 100 * time.Millisecond
	meetWithin = 15 * time.Second // at start; after a lost link there is no end to it
)

// meeting is the time from a new relay link until every other node has answered hello: this node publishes nothing, takes no
// ingress and is not ready. It ends when all that anyone knows of have answered: those the answers name, and those whose
// cluster address greeted our probe.
type meeting struct {
	answers map[string]card // guarded by Broker.mu
	cancel  context.CancelFunc
	done    chan struct{} // closed when meet has returned
}

// beginMeeting runs on the link's goroutine when it is up.
func (b *Broker) beginMeeting() {
	ctx, cancel := context.WithCancel(context.Background())
	m := &meeting{answers: map[string]card{}, cancel: cancel, done: make(chan struct{})}
	b.mu.Lock()
	b.meeting, b.lastMeeting = m, m
	b.mu.Unlock()
	go func() { // ends with the meeting; endMeeting and Close wait for done
		defer close(m.done)
		defer cancel()
		if err := b.meet(ctx, m); err != nil && ctx.Err() == nil {
			b.fatal(err)
		}
	}()
}

// endMeeting stops one that is still going on. It runs on the link's goroutine.
func (b *Broker) endMeeting() {
	b.mu.Lock()
	m := b.lastMeeting
	b.mu.Unlock()
	if m != nil {
		m.cancel()
		<-m.done
	}
}

func (b *Broker) meet(ctx context.Context, m *meeting) error {
	if b.alone() {
		b.serve(ctx)
		return nil
	}
	probes := b.newProbes()
	defer probes.stop()
	begun := time.Now()
	ticker := time.NewTicker(meetEvery)
	defer ticker.Stop()
	for round := 0; ; round++ {
		b.mu.Lock()
		b.sayHello()
		b.mu.Unlock()
		if err := probes.fatal(); err != nil && !b.opened.Load() {
			return err
		}
		// the second round finds who started at the same time and whose interest was still on its way to our server
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		missing := b.missing(m, probes)
		if round >= 1 && probes.finished() && len(missing) == 0 {
			b.serve(ctx)
			return nil
		}
		if why := b.refusal(); why != nil {
			return why
		}
		if !b.opened.Load() && time.Since(begun) > meetWithin {
			return fmt.Errorf("no answer from %s within %s: is it the same broker.cluster.token, namespace and TLS there, and is that node running?",
				strings.Join(missing, ", "), meetWithin)
		}
		b.setWaiting(missing)
	}
}

// missing are the nodes that should answer and have not.
func (b *Broker) missing(m *meeting, probes *probes) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := map[string]bool{}
	for _, c := range m.answers {
		for _, name := range c.Peers {
			known[name] = true
		}
	}
	for name := range b.peers {
		known[name] = true
	}
	for _, name := range probes.names() {
		known[name] = true
	}
	delete(known, b.o.Name)
	var missing []string
	for name := range known {
		if _, ok := m.answers[name]; !ok {
			missing = append(missing, name)
		}
	}
	sort.Strings(missing)
	return missing
}

// alone says that there can be no other node.
func (b *Broker) alone() bool { return b.embedded != nil && b.o.Cluster.Listen == "" }

func (b *Broker) setWaiting(names []string) {
	b.mu.Lock()
	b.waitingFor = strings.Join(names, ", ")
	b.mu.Unlock()
}
