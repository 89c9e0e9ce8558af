package loop

import (
	"net"
	"net/netip"
	"sync"
)

// Task is a piece of work that any goroutine may hand to a loop with [Loop.Post]. The loop passes it to [Handler.Task] and looks
// at no field but these: F, whose reference it releases afterwards, and Slot with Gen, to know whom to close if Task panics.
type Task struct {
	Kind uint32 // what to do; the handler's numbers
	Slot uint32 // socket it is about, 0 = none
	Gen  uint32 // generation of Slot; check with Loop.Live
	N    uint64
	P    any    // a pointer costs no allocation here, other values may
	F    *Frame // Post takes over one reference, released after Task returns; retain it to keep the frame longer
}

// arrival is an accepted socket on its way to its loop.
type arrival struct {
	conn net.Conn // nil for a raw descriptor
	fd   int
	peer netip.AddrPort
}

// inbox is where other goroutines leave things for a loop: many put, the loop takes all at once.
type inbox struct {
	mu       sync.Mutex
	tasks    []Task
	arrivals []arrival
	netEvs   []netEvent
	closed   bool // the loop takes no more
}

// keepInbox is the number of entries whose memory an inbox keeps for the next burst.
const keepInbox = 16 << 10

// Post hands t to the loop. It never blocks, may be called from any goroutine, and keeps the order of each caller. Once the engine
// is closed it drops t.
func (l *Loop) Post(t Task) {
	l.inbox.mu.Lock()
	closed := l.inbox.closed
	if !closed {
		l.inbox.tasks = append(l.inbox.tasks, t)
		l.waiting.Add(1)
	}
	l.inbox.mu.Unlock()
	if !closed {
		l.wake()
	} else if t.F != nil {
		t.F.Release()
	}
}

// admit hands an accepted socket to the loop; false means that the loop is closed and the socket still the caller's.
func (l *Loop) admit(a arrival) bool {
	l.inbox.mu.Lock()
	closed := l.inbox.closed
	if !closed {
		l.inbox.arrivals = append(l.inbox.arrivals, a)
	}
	l.inbox.mu.Unlock()
	l.wake()
	return !closed
}

// report hands the news of a net.Conn's goroutine to the loop.
func (l *Loop) report(ev netEvent) {
	l.inbox.mu.Lock()
	if !l.inbox.closed {
		l.inbox.netEvs = append(l.inbox.netEvs, ev)
	}
	l.inbox.mu.Unlock()
	l.wake()
}

// wake ends the loop's sleep. A loop that is awake looks into its inbox before it sleeps, so it needs no system call.
func (l *Loop) wake() {
	if l.asleep.Load() && l.asleep.CompareAndSwap(true, false) {
		l.wakeups.Add(1)
		l.poller.wake()
	}
}

// Queue returns the number of posted tasks not yet run. It may be called from any goroutine. A handler that finds more waiting
// does well to Send rather than SendNow: what comes next then shares the write.
func (l *Loop) Queue() int { return int(l.waiting.Load()) }

// takeInbox swaps the inbox for the emptied lists of the last time. Tasks are swapped only when all earlier ones have run.
func (l *Loop) takeInbox() (arrivals []arrival, netEvs []netEvent) {
	in := &l.inbox
	in.mu.Lock()
	arrivals, in.arrivals = in.arrivals, l.arrivals
	netEvs, in.netEvs = in.netEvs, l.netEvs
	if l.taskAt == len(l.tasks) {
		done := l.tasks[:0]
		l.tasks, in.tasks = in.tasks, done
		l.taskAt = 0
	}
	in.mu.Unlock()
	return arrivals, netEvs
}

// emptied returns s cleared for use again, or nothing if a burst made it too large to keep.
func emptied[T any](s []T) []T {
	clear(s)
	if cap(s) > keepInbox {
		return nil
	}
	return s[:0]
}

func (l *Loop) inboxEmpty() bool {
	l.inbox.mu.Lock()
	defer l.inbox.mu.Unlock()
	return len(l.inbox.tasks) == 0 && len(l.inbox.arrivals) == 0 && len(l.inbox.netEvs) == 0
}
