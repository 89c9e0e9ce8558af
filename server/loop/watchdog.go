package loop

import (
	"context"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A handler that blocks stops every socket of its loop, and nothing about that shows from outside but silence. So a loop notes each call
// into its handler, and one goroutine for all loops looks once a tick whether one of them is still in the same call. It says so, counts it,
// says when it is over, and kills nothing: a restart is for the operator to decide, who sees which conn, which call and the stack.

// blockedLooks is after how many looks in a row, each a tick after the other, a call counts as blocked.
const blockedLooks = 2

// Watched is a [Handler] that can say more of what it is doing.
type Watched interface {
	// Doing returns attributes for the log on the call that blocks the loop: slot is the socket it is about, 0 = none, task the Kind of
	// the task it runs, 15 for any above 14, -1 if it runs none. It is called by another goroutine while the loop's is inside the handler.
	Doing(slot uint32, task int) []any
}

// call is a kind of call into a handler.
type call uint64

const (
	callNone call = iota
	callOpen
	callRead
	callTask
	callTurn
	callTick
	callClosed
)

func (c call) String() string {
	return [...]string{"none", "open", "read", "task", "turn", "tick", "closed"}[c]
}

// doing is one call, packed so that it is noted by one store: 32 bits of a count, 24 of the slot, 4 of the task's kind, 4 of the call.
type doing uint64

func (d doing) call() call   { return call(d & 15) }
func (d doing) slot() uint32 { return uint32(d >> 8 & (maxSlots - 1)) }
func (d doing) task() int {
	if d.call() != callTask {
		return -1
	}
	return int(d >> 4 & 15)
}

// enter notes the call that the loop begins.
func (l *Loop) enter(c call, slot, task uint32) {
	l.calls++
	l.doing.Store(uint64(l.calls)<<32 | uint64(slot)<<8 | uint64(min(task, 15))<<4 | uint64(c))
}

// idle notes that the loop is in no call.
func (l *Loop) idle() { l.doing.Store(0) }

// watch is what the watchdog knows of one loop.
type watch struct {
	loop  *Loop
	seen  doing // at the last look
	since time.Time
	looks int // that saw the same call
}

// watchLoops is the watchdog. It ends with Close.
func (e *Engine) watchLoops() {
	defer e.wg.Done()
	watches := make([]watch, len(e.loops))
	for i, l := range e.loops {
		watches[i].loop = l
	}
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		tick.Reset(e.opts.tick - time.Since(e.start)%e.opts.tick)
		select {
		case <-e.closing:
			return
		case <-tick.C:
		}
		for i := range watches {
			watches[i].look()
		}
	}
}

func (w *watch) look() {
	l, d := w.loop, doing(w.loop.doing.Load())
	if d != w.seen || d == 0 {
		if w.looks >= blockedLooks {
			l.blockedSince.Store(0)
			l.log.Warn("the loop goes on", "loop", l.index, "call", w.seen.call(), "blocked", time.Since(w.since))
		}
		w.seen, w.since, w.looks = d, time.Now(), 0
		return
	}
	if w.looks++; w.looks != blockedLooks {
		return
	}
	l.blocks.Add(1)
	l.blockedSince.Store(max(int64(w.since.Sub(l.start)), 1))
	attrs := []any{"loop", l.index, "call", d.call(), "slot", d.slot(), "blocked", time.Since(w.since)}
	if h, ok := l.handler.(Watched); ok {
		attrs = append(attrs, h.Doing(d.slot(), d.task())...)
	}
	l.log.Error("a loop is blocked: all its conns wait; the stack shows where", append(attrs, "stack", l.stack())...)
}

// blockedFor is how long the loop is blocked now.
func (l *Loop) blockedFor() time.Duration {
	if since := l.blockedSince.Load(); since != 0 {
		return time.Since(l.start) - time.Duration(since)
	}
	return 0
}

// label makes the loop's goroutine known to stack; what it starts inherits the label but has another bottom.
func (l *Loop) label() {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("loop", strconv.Itoa(l.index))))
}

// maxStack bounds what of a stack goes to the log.
const maxStack = 8 << 10

// stack returns the stack of the loop's goroutine.
func (l *Loop) stack() string {
	var b strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return err.Error()
	}
	stacks := strings.Split(b.String(), "\n\n")
	i := slices.IndexFunc(stacks, func(s string) bool {
		return strings.Contains(s, `"loop":"`+strconv.Itoa(l.index)+`"`) && strings.Contains(s, "(*Loop).run")
	})
	if i < 0 {
		return "" // it has just gone on, and ended
	}
	return stacks[i][:min(len(stacks[i]), maxStack)]
}
