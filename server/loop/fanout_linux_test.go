//go:build !386 && !s390x

package loop

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// BenchmarkFanout sends a frame of 100 bytes to every socket of one loop, in turn by a bare loop of sendto over the same
// descriptors and by each way the loop has, in CPU time of the process; "x-raw" is the ratio of the medians. In "batch" every socket gets 16 frames, raw as
// one sendto of 1,600 bytes.
func BenchmarkFanout(b *testing.B) {
	for _, conns := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprint(conns), func(b *testing.B) {
			f := newFan(b, conns)
			b.Run("SendNow", func(b *testing.B) { f.compare(b, 1, (*Loop).SendNow) })
			b.Run("Send", func(b *testing.B) { f.compare(b, 1, (*Loop).Send) })
			b.Run("batch", func(b *testing.B) { f.compare(b, 16, (*Loop).Send) })
		})
	}
}

// fan is one loop with many sockets and their peers.
type fan struct {
	h     *probe
	slots []uint32
	peers []int
	buf   []byte
}

func newFan(b *testing.B, conns int) *fan {
	r := newRig(b, mode{option: ModeEpoll}, nil, nil)
	f := &fan{h: r.probes[0], buf: make([]byte, 64<<10)}
	for range conns {
		f.peers = append(f.peers, rawDial(b, r.addr))
		f.slots = append(f.slots, await(b, r.opened, "Open").Slot())
	}
	b.Cleanup(func() {
		for _, fd := range f.peers {
			syscall.Close(fd)
		}
	})
	return f
}

func (f *fan) compare(b *testing.B, batch int, send func(*Loop, uint32, *Frame)) {
	frames := make([]*Frame, batch)
	for i := range frames {
		frames[i] = NewFrame(100)
		frames[i].B = append(frames[i].B, make([]byte, 100)...)
		defer frames[i].Release()
	}
	var raw, ours []time.Duration
	for b.Loop() {
		raw = append(raw, f.raw(make([]byte, 100*batch)))
		f.drain()
		ours = append(ours, f.ours(frames, send))
		f.drain()
	}
	deliveries := float64(len(f.slots) * batch)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(median(raw))/deliveries, "raw-ns/delivery")
	b.ReportMetric(float64(median(ours))/deliveries, "ns/delivery")
	b.ReportMetric(float64(median(ours))/float64(median(raw)), "x-raw")
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// raw is the least a fan-out can cost: sendto in a loop, on the loop's goroutine.
func (f *fan) raw(msg []byte) (took time.Duration) {
	fds := make([]uintptr, len(f.slots))
	f.h.on(func(h *probe) {
		for i, slot := range f.slots {
			fds[i] = uintptr(h.loop.socks.at(slot).ref)
		}
		began := cpuTime()
		for _, fd := range fds {
			_, _, _ = syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&msg[0])), uintptr(len(msg)),
				syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		}
		took = cpuTime() - began
	})
	return took
}

// ours posts one task for each frame and measures until nothing is dirty.
func (f *fan) ours(frames []*Frame, send func(*Loop, uint32, *Frame)) time.Duration {
	var began time.Duration
	done := make(chan time.Duration)
	f.h.on(func(h *probe) {
		began = cpuTime()
		for _, frame := range frames {
			for _, slot := range f.slots {
				send(h.loop, slot, frame)
			}
		}
		flushed := false // the turn that sees nothing dirty for the first time began right after the last write
		h.turn = func(h *probe) {
			if flushed && !h.loop.dirty() {
				h.turn = nil
				took := cpuTime() - began
				go func() { done <- took }() // ends when received below
				return
			}
			flushed = true
			h.loop.Post(Task{}) // one more turn
		}
	})
	return <-done
}

// cpuTime is that of the process: only the loop works meanwhile, and other processes on the machine do not count.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (f *fan) drain() {
	for _, fd := range f.peers {
		_, _, _ = syscall.Recvfrom(fd, f.buf, syscall.MSG_DONTWAIT)
	}
}
