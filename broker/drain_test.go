package broker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats.go"
)

func TestDrainAnswersWhatItTook(t *testing.T) {
	slow(t)
	r := brokertest.NewRecorder()
	begun, finish := make(chan struct{}), make(chan struct{})
	r.OnServe = func(context.Context, string, []byte) []byte {
		close(begun)
		<-finish
		return []byte("done")
	}
	n := brokertest.Open(t, brokertest.Options(), r)
	nc, err := nats.Connect(n.ClientURL(), nats.Token(brokertest.ServiceToken), nats.MaxReconnects(-1)) // a closed client drops what it has read
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	inbox := nats.NewInbox()
	var answers atomic.Int64
	var served atomic.Bool
	if _, err := nc.Subscribe(inbox+".*", func(m *nats.Msg) {
		if string(m.Data) == "done" {
			served.Store(true)
			return
		}
		answers.Add(1)
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("gc.ctl.disconnect", inbox+".ctl", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	<-begun
	const asked = 20000
	for i := range asked {
		if err := nc.PublishRequest("gc.in.g", fmt.Sprintf("%s.%d", inbox, i), []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, nc)
	drained := make(chan error, 1)
	go func() { drained <- n.Drain(context.Background()) }() // ends with the lame duck mode
	brokertest.Eventually(t, "draining", func() bool { return n.Ready() != nil })
	close(finish)
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%d of %d answered, %d handled", answers.Load(), asked, n.Stats().IngressOK)
		}
	})
	brokertest.Eventually(t, "all requests taken are answered", func() bool { return answers.Load() == asked && served.Load() })
}

// A client of a draining node either gets its answer there, or is sent to another node: what it publishes is never unheard.
func TestDrainLosesNothing(t *testing.T) {
	slow(t)
	nodes := brokertest.StartCluster(t, 2)
	nodes[1].JoinWait(t, "g")
	nc, err := nats.Connect(nodes[0].ClientURL()+","+nodes[1].ClientURL(), nats.Token(brokertest.ServiceToken), nats.DontRandomize(),
		nats.IgnoreDiscoveredServers(), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	drained := make(chan error, 1)
	const before, after = 100, 100
	taken := map[string]bool{}
	behind := 0
	for i := 0; behind < after; i++ {
		if i == before {
			go func() { // ends with the lame duck mode
				drained <- nodes[0].Drain(context.Background())
			}()
		}
		answer, err := nc.Request("gc.in.g", fmt.Append(nil, i), brokertest.Within)
		switch {
		case errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrConnectionClosed): // disconnected on the way
		case err != nil:
			t.Fatalf("request %d: %v", i, err)
		case string(answer.Data) != `{"ok":true}`:
			t.Fatalf("request %d: %s", i, answer.Data)
		default:
			taken[fmt.Sprint(i)] = true
			if nc.ConnectedUrl() == nodes[1].ClientURL() {
				behind++
			}
		}
	}
	if err := <-drained; err != nil {
		t.Errorf("Drain: %v", err)
	}
	brokertest.Eventually(t, "all that was taken is delivered", func() bool {
		missing := len(taken)
		for _, m := range nodes[1].Messages("g") {
			if taken[m.Data] {
				missing--
			}
		}
		return missing == 0
	})
}

func TestDrainBesideClose(t *testing.T) {
	for range 20 {
		n := brokertest.Start(t)
		done := make(chan struct{})
		go func() { // ends with the server
			defer close(done)
			n.Drain(context.Background())
		}()
		for n.Ready() == nil { // the moment matters
			runtime.Gosched()
		}
		n.Close()
		select {
		case <-done:
		case <-time.After(brokertest.Within):
			t.Fatal("Drain hangs")
		}
	}
}
