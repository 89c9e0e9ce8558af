package broker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
)

// logBuffer is a log to look into.
type logBuffer struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *logBuffer) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.out.String(), s)
}

// Neither an answer that fails nor one without a live node's address closes that node's route.
func TestRoutesOutliveDNS(t *testing.T) {
	port := freePort(t)
	answers := map[string]netip.Addr{
		"a.test": netip.MustParseAddr("127.0.0.2"), "b.test": netip.MustParseAddr("127.0.0.3"), "c.test": netip.MustParseAddr("127.0.0.4"),
	}
	var fails, forgets atomic.Bool
	var looks atomic.Int64
	lookup := func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "b.test" {
			looks.Add(1)
			if fails.Load() {
				return nil, errors.New("SERVFAIL")
			}
			if forgets.Load() {
				return nil, nil
			}
		}
		return []netip.Addr{answers[host]}, nil
	}
	var log logBuffer
	var nodes []*brokertest.Node
	for i, host := range []string{"a.test", "b.test", "c.test"} {
		o := brokertest.ClusterOptions(i, "nats://a.test:"+port, "nats://b.test:"+port, "nats://c.test:"+port)
		o.Cluster.Listen = net.JoinHostPort(answers[host].String(), port)
		r := brokertest.NewRecorder()
		b, err := broker.OpenWith(t.Context(), o, r, slog.New(slog.NewTextHandler(&log, nil)), func(b *broker.Broker) {
			broker.SetLookup(b, 20*time.Millisecond, lookup)
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		nodes = append(nodes, &brokertest.Node{Broker: b, Recorder: r})
	}
	brokertest.WaitCluster(t, nodes...)
	const changed = "cluster routes changed"
	for _, state := range []*atomic.Bool{&fails, &forgets} {
		state.Store(true)
		from := looks.Load()
		brokertest.Eventually(t, "looked again", func() bool { return looks.Load() > from+9 })
		if n := log.count(changed); n != 0 {
			t.Fatalf("routes changed %d times though every node lives", n)
		}
		state.Store(false)
	}
	joinThenSend(t, "dns", 20, nodes[0], nodes[1])
	nodes[1].Close()
	forgets.Store(true)
	brokertest.Eventually(t, "a dead node's address is dropped", func() bool { return log.count(changed) == 2 })
}
