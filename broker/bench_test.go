package broker_test

import (
	"fmt"
	"runtime"
	"strings"
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

// BenchmarkInterest tells what one group costs on the heap: in the embedded server, and on our side of the link.
func BenchmarkInterest(b *testing.B) {
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	r, heard := brokertest.NewRecorder(), make(chan struct{}, 1)
	r.OnDeliver = func(*broker.Message) { heard <- struct{}{} }
	n := brokertest.Open(b, brokertest.Options(), r)
	join := func(name string, groups int) { // and wait until the server knows of all
		for i := range groups {
			n.JoinWait(b, fmt.Sprint(name, i))
		}
		if err := n.Publish(&broker.Message{Group: fmt.Append(nil, name, groups-1), Data: []byte("1")}); err != nil {
			b.Fatal(err)
		}
		<-heard
	}
	join("warm.", 1000) // tables have grown once
	const groups = 10_000
	for b.Loop() {
		nats, ours := liveByOrigin()
		join("chat.room.", groups)
		nats2, ours2 := liveByOrigin()
		b.ReportMetric(float64(nats2-nats)/groups, "nats-B/group")
		b.ReportMetric(float64(ours2-ours)/groups, "ours-B/group")
		for i := range groups {
			n.Leave(fmt.Sprint("chat.room.", i))
		}
	}
}

// liveByOrigin returns the bytes that live after a collection: those that nats-server allocated, and all others.
func liveByOrigin() (nats, others int64) {
	for range 3 { // a profile is of the last collection but one
		runtime.GC()
	}
	records := profile()
	for i := range records {
		if fromServer(records[i].Stack()) {
			nats += records[i].InUseBytes()
		} else {
			others += records[i].InUseBytes()
		}
	}
	return nats, others
}

func profile() []runtime.MemProfileRecord {
	n, _ := runtime.MemProfile(nil, false)
	for {
		records := make([]runtime.MemProfileRecord, n+100)
		var ok bool
		if n, ok = runtime.MemProfile(records, false); ok {
			return records[:n]
		}
	}
}

func fromServer(stack []uintptr) bool {
	for frames := runtime.CallersFrames(stack); ; {
		f, more := frames.Next()
		if strings.HasPrefix(f.Function, "github.com/nats-io/nats-server/") {
			return true
		}
		if !more {
			return false
		}
	}
}
