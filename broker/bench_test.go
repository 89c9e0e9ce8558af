package broker_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
)

// BenchmarkPublishToDeliver goes through the embedded server, batched: its own allocations are counted too.
func BenchmarkPublishToDeliver(b *testing.B) {
	var got atomic.Int64
	r := brokertest.NewRecorder()
	wake := make(chan struct{}, 1)
	var want atomic.Int64
	r.OnDeliver = func(*broker.Message) {
		if got.Add(1) == want.Load() {
			wake <- struct{}{}
		}
	}
	n := brokertest.Open(b, brokertest.Options(), r)
	n.JoinWait(b, "chat.7")
	for _, batch := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			m := &broker.Message{Group: []byte("chat.7"), Data: make([]byte, 200), From: []byte("42")}
			b.ReportAllocs()
			for i := 0; i < b.N; i += batch {
				got.Store(0)
				want.Store(int64(batch))
				for range batch {
					if err := n.Publish(m); err != nil {
						b.Fatal(err)
					}
				}
				<-wake
			}
		})
	}
}

// BenchmarkBarrier is a join on one node of three while nothing else goes on.
func BenchmarkBarrier(b *testing.B) {
	nodes := brokertest.StartCluster(b, 3)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		nodes[0].JoinWait(b, fmt.Sprintf("g.%d", i))
	}
}
