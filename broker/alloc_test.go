//go:build !race

package broker

import (
	"bytes"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// The race detector allocates, so these are built without it only: make test runs them in its short pass.

func TestPublishAllocatesNothing(t *testing.T) {
	heard, alone := loose(&sinkHandler{}), loose(&sinkHandler{})
	alone.embedded = new(server.Server)
	for name, b := range map[string]*Broker{"to NATS": heard, "for this node alone": alone} {
		t.Run(name, func(t *testing.T) { publishAllocatesNothing(t, b) })
	}
}

func publishAllocatesNothing(t *testing.T, b *Broker) {
	m := &Message{Group: []byte("chat.room-7.ü"), Data: bytes.Repeat([]byte("x"), 200), From: []byte("a.b@x.com"), Conn: []byte("7f1b0c0e-8a55-4d5b-9e0c-2f6f6f3f0a11")}
	plain := &Message{Group: []byte("chat.7"), Data: m.Data}
	n := testing.AllocsPerRun(1000, func() {
		for range 8 {
			if b.Publish(m) != nil || b.Publish(plain) != nil {
				t.Fatal("refused")
			}
		}
		b.relay.buf = b.relay.buf[:0]
	})
	if n != 0 {
		t.Errorf("Publish allocates %v times, want 0", n)
	}
}

func TestReadToDeliverAllocatesNothing(t *testing.T) {
	b := loose(&sinkHandler{})
	r := newReader(&endless{data: lane(b)})
	var f frame
	n := testing.AllocsPerRun(1000, func() {
		for range 6 {
			if err := r.next(&f); err != nil {
				t.Fatal(err)
			}
			b.onRelay(&f)
		}
	})
	if n != 0 {
		t.Errorf("read to Deliver allocates %v times for 6 messages, want 0 (1 each is allowed)", n)
	}
}
