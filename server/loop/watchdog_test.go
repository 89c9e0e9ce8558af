package loop

import (
	"strings"
	"testing"
)

// Doing implements [Watched].
func (h *probe) Doing(slot uint32, task int) []any {
	if h.rig.doing == nil {
		return nil
	}
	return []any{"doing", h.rig.doing(slot, task)}
}

func TestTheWatchdogTellsOfABlockedLoop(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		release, other := make(chan struct{}), make(chan struct{})
		r := newRig(t, m, fast, func(h *probe) {
			h.read = func(h *probe, slot uint32, b []byte) {
				if string(b) == "block" {
					<-release
				}
				h.loop.SendBytes(slot, b)
			}
			h.task = func(*probe, Task) { <-other }
		})
		said := make(chan uint32, 1)
		r.doing = func(slot uint32, _ int) string {
			select {
			case said <- slot:
			default:
			}
			return "what the handler says"
		}
		stats := func() LoopStats { return r.engine.Stats().Loops[0] }

		p, id := r.connect()
		p.send("fine")
		p.expect("fine")
		if s := stats(); s.Blocks != 0 || s.BlockedFor != 0 {
			t.Fatalf("blocks %d, blocked for %v before anything blocks", s.Blocks, s.BlockedFor)
		}
		p.send("block")
		until(t, "a block", func() bool { return stats().Blocks == 1 && stats().BlockedFor > 0 })
		if got := await(t, said, "Doing"); got != id.Slot() {
			t.Errorf("Doing(%d), want slot %d", got, id.Slot())
		}
		until(t, "the line in the log", func() bool { return strings.Contains(r.log.String(), "a loop is blocked") })
		for _, part := range []string{"call=read", "what the handler says", "watchdog_test.go"} {
			if text := r.log.String(); !strings.Contains(text, part) {
				t.Errorf("the log does not say %q:\n%s", part, text)
			}
		}
		close(release) // nothing was killed
		p.expect("block")
		until(t, "the end of the block", func() bool { return stats().BlockedFor == 0 && strings.Contains(r.log.String(), "the loop goes on") })

		r.engine.Loops()[0].Post(Task{Kind: 3})
		until(t, "a second block", func() bool { return stats().Blocks == 2 && strings.Contains(r.log.String(), "call=task") })
		close(other)
		p.send("still here")
		p.expect("still here")
	})
}

func TestABusyLoopIsNotBlocked(t *testing.T) {
	r := newRig(t, modes()[0], fast, func(h *probe) {
		h.task = func(h *probe, task Task) {
			if task.N > 0 {
				h.loop.Post(Task{N: task.N - 1})
			}
		}
	})
	ticks := make(chan uint32, 100)
	r.probes[0].on(func(h *probe) {
		h.tick = func(_ *probe, now uint32) {
			select {
			case ticks <- now:
			default:
			}
		}
	})
	r.engine.Loops()[0].Post(Task{N: 1 << 62})
	for range 20 {
		await(t, ticks, "a tick")
	}
	if n := r.engine.Stats().Loops[0].Blocks; n != 0 {
		t.Errorf("a loop that is busy with many tasks counts as blocked %d times", n)
	}
}

func TestTicksDoNotCountAStandstill(t *testing.T) {
	r := newRig(t, modes()[0], fast, nil)
	ticks := make(chan uint32, 1000)
	began := make(chan struct{})
	release := make(chan struct{})
	h := r.probes[0]
	h.on(func(h *probe) { h.tick = func(_ *probe, now uint32) { ticks <- now } })
	before := await(t, ticks, "a tick")
	h.loop.Post(Task{Kind: taskCall, P: func(*probe) { close(began); <-release }})
	<-began
	until(t, "a block", func() bool { return r.engine.Stats().Loops[0].BlockedFor > 10*r.engine.opts.tick })
	for len(ticks) > 0 {
		before = <-ticks
	}
	close(release) // each tick follows the one before
	for n := range uint32(5) {
		if got := await(t, ticks, "a tick"); got != before+n+1 {
			t.Fatalf("tick %d follows %d after a standstill of more than 10 ticks", got, before)
		}
	}
}
