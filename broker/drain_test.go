package broker_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats.go"
)

func TestDrainAnswersWhatItTook(t *testing.T) {
	r := brokertest.NewRecorder()
	begun, finish := make(chan struct{}), make(chan struct{})
	r.OnServe = func(context.Context, string, []byte) []byte {
		close(begun)
		<-finish
		return []byte("done")
	}
	n := brokertest.Open(t, brokertest.Options(), r)
	nc := dialService(t, n.ClientURL())
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
	brokertest.Eventually(t, "all requests taken are answered", func() bool { return answers.Load() == asked && served.Load() })
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
