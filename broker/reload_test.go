package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats.go"
)

// A reload of routes checks every client again, also one that is just logging in.
func TestReloadWhileANativeUserLogsIn(t *testing.T) {
	slow(t)
	port := freePort(t)
	var address atomic.Int64
	address.Store(1)
	lookup := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr(fmt.Sprintf("127.0.1.%d", address.Load()))}, nil
	}
	asked, finish := make(chan struct{}, 10), make(chan struct{})
	r := brokertest.NewRecorder()
	r.OnAuthenticate = func(ctx context.Context, token, _ string, _ *broker.NativeUser) (broker.NativeUser, error) {
		asked <- struct{}{}
		select {
		case <-finish:
		case <-ctx.Done():
		}
		return broker.NativeUser{ID: "u", Subscribe: []string{"chat.>"}}, nil
	}
	var log logBuffer
	o := brokertest.ClusterOptions(0, "nats://nodes.test:"+port)
	o.Cluster.Listen = "127.0.0.2:" + port
	b, err := broker.OpenWith(t.Context(), o, r, slog.New(slog.NewTextHandler(&log, nil)), func(b *broker.Broker) {
		broker.SetLookup(b, 20*time.Millisecond, lookup)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	reload := func() { // the second begins when the first is done
		for range 2 {
			n := log.count("cluster routes changed")
			address.Add(1)
			brokertest.Eventually(t, "reloaded", func() bool { return log.count("cluster routes changed") > n })
		}
	}
	var nc *nats.Conn
	connected := make(chan error, 1)
	go func() { // ends with the login
		var err error
		nc, err = nats.Connect(b.ClientURL(), nats.UserInfo("someone", "token"), nats.NoReconnect(), nats.Timeout(brokertest.Within))
		connected <- err
	}()
	<-asked
	reload()
	close(finish)
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	reload()
	flush(t, nc)
	if len(asked) != 0 {
		t.Errorf("verified %d times more", len(asked))
	}
	if got := b.Stats().NativeConns; got != 1 {
		t.Errorf("%d native conns, want 1", got)
	}
	nc.Close()
	brokertest.Eventually(t, "gone", func() bool { return b.Stats().NativeConns == 0 })
}
