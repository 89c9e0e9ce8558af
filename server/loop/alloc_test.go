package loop

import (
	"io"
	"testing"
)

func TestSendingAllocatesNothing(t *testing.T) {
	f := frameOf("a message for many")
	defer f.Release()
	const (
		send = iota
		sendNow
		sendBytes
		echo
	)
	names := []string{"Send", "SendNow", "SendBytes", "echo"}
	eachMode(t, func(t *testing.T, m mode) {
		if frameDebug || m.tls { // frames are not pooled; crypto/tls allocates
			return
		}
		r := newRig(t, m, nil, func(h *probe) {
			h.task = func(h *probe, task Task) {
				switch task.Kind {
				case send:
					h.loop.Send(task.Slot, f)
				case sendNow:
					h.loop.SendNow(task.Slot, f)
				case sendBytes:
					h.loop.SendBytes(task.Slot, f.B)
				}
			}
		})
		p, id := r.connect()
		got := make([]byte, len(f.B))
		for kind, name := range names {
			turn := func() {
				if kind == echo {
					_, _ = p.Write(f.B)
				} else {
					f.Retain()
					r.probes[0].loop.Post(Task{Kind: uint32(kind), Slot: id.Slot(), Gen: id.Gen(), P: r, F: f})
				}
				if _, err := io.ReadFull(p, got); err != nil {
					t.Fatal(err)
				}
			}
			for range 100 { // pools and lists reach their size
				turn()
			}
			if n := testing.AllocsPerRun(1000, turn); n != 0 {
				t.Errorf("Post, %s and a turn allocate %v times, want 0", name, n)
			}
		}
	})
}
