package loop

import (
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Handler is the code above the sockets of one loop. All methods are called on that loop's goroutine only, in both modes, so a
// handler needs no locks for what belongs to its loop; they must not block.
//
// A panic in a method is logged and counted, closes the socket the call was about, and ends nothing else. That socket is the slot
// argument of Open, Read and Closed, the slot of the task for Task if it is live, and none for Turn and Tick. A handler that works
// on many sockets in one call says which with [Loop.Blame].
type Handler interface {
	// Open announces a new socket. Slots count from 1 (0 never names a socket) and are used again after Closed.
	Open(slot uint32, peer netip.AddrPort)
	// Read hands over bytes that arrived. b may be written to and is valid only during the call. It is not called after Close.
	Read(slot uint32, b []byte)
	// Closed is the last call for slot, made exactly once for every Open, at the end of a turn and never from inside another call.
	// err is nil if this side closed it, io.EOF if the peer did, else why it broke.
	Closed(slot uint32, err error)
	// Task runs one posted task, in the order of posting for each poster. Tasks for sockets that are gone come too: see Loop.Live.
	Task(t Task)
	// Turn ends a turn, before dirty sockets are flushed: what it sends goes out in the same write.
	Turn()
	// Tick is called about once a second; now counts seconds since the start, from 1, by the monotonic clock, without those in which
	// the loop stood still.
	Tick(now uint32)
}

// What one turn may do before it looks at the other sockets again; the rest waits for the next turn.
const (
	turnTime   = 2 * time.Millisecond   // of tasks, and again of sends
	turnBytes  = 256 << 10              // of sends
	clockEvery = 16                     // sends or tasks between two looks at the clock
	yieldAfter = 200 * time.Microsecond // a turn longer than this lets other goroutines run
)

// Loop owns sockets and runs a [Handler] for them on one goroutine. Methods are for that goroutine only, unless they say otherwise.
type Loop struct {
	// static
	engine  *Engine
	index   int
	log     *slog.Logger
	handler Handler
	poller  poller
	raw     transport // nil without epoll
	net     *netConns
	start   time.Time
	tick    time.Duration

	// any goroutine
	inbox   inbox
	waiting atomic.Int64 // tasks posted and not yet run
	asleep  atomic.Bool  // the loop waits, or is about to: who puts something into the inbox wakes it
	conns   atomic.Int64 // sockets assigned: raised by the acceptor, lowered by the loop
	wakeups atomic.Uint64

	// for the watchdog
	doing        atomic.Uint64 // the present call into the handler, 0 = none; see watchdog.go
	blocks       atomic.Uint64
	blockedSince atomic.Int64 // nanoseconds after start, 0 = not blocked

	// owned by the loop's goroutine
	socks    slab
	arrivals []arrival // emptied, to swap with the inbox
	netEvs   []netEvent
	tasks    []Task // swapped out of the inbox, run up to taskAt
	taskAt   int
	out      output
	closing  []deadline // sockets that flush or linger
	reaped   []ending   // sockets to close at the end of the turn
	now      uint32     // ticks since start, from 1
	began    time.Duration
	stood    time.Duration // time since start that does not count: see tickAt
	blame    uint32        // slot to close if the handler panics
	calls    uint32        // into the handler, to tell one from the next
	stopping bool
	stats    LoopStats

	publishedMu sync.Mutex
	published   LoopStats // guarded by publishedMu: stats as of the end of the last turn
}

// Index returns the loop's place in [Engine.Loops]. It may be called from any goroutine.
func (l *Loop) Index() int { return l.index }

// Now returns the tick: seconds since the start, from 1, so that 0 may mean never.
func (l *Loop) Now() uint32 { return l.now }

// Blame names the socket that the handler works for now, to be closed if it panics before the present call ends.
func (l *Loop) Blame(slot uint32) { l.blame = slot }

// NetConn is the connection of a socket in portable mode, to be looked at, not read or written; nil in epoll mode. Only the handler may call it.
func (l *Loop) NetConn(slot uint32) net.Conn {
	if s := l.socks.at(slot); s.is(isPortable) {
		return l.net.conns[s.ref].conn
	}
	return nil
}

// run turns until the engine closes. doc.go draws a turn.
func (l *Loop) run() {
	defer l.engine.wg.Done()
	l.label()
	for !l.stopping {
		l.turn()
	}
	l.closeAll()
	_ = l.poller.close()
}

func (l *Loop) turn() {
	l.idle()
	l.poller.wait(l.sleep())
	l.asleep.Store(false)
	l.began = time.Since(l.start)
	l.receiveInbox()
	l.runTasks()
	l.callTurn()
	l.flush()
	l.reap()
	if now := l.tickAt(l.began); now != l.now {
		l.stood += time.Duration(now-l.now-1) * l.tick // what peers sent meanwhile may not be read yet: blame nobody
		l.now++
		l.expire()
		l.trim()
		l.callTick()
	}
	l.finishTurn()
}

// tickAt returns the tick at a time since start. Ticks that a loop misses are time that did not pass for it: the process was suspended, the
// machine moved to another host, or a handler blocked.
func (l *Loop) tickAt(since time.Duration) uint32 { return uint32((since-l.stood)/l.tick) + 1 }

// sleep returns how long the loop may wait: not at all with work left, else until the next tick.
func (l *Loop) sleep() time.Duration {
	if l.taskAt < len(l.tasks) || l.dirty() || len(l.reaped) > 0 {
		return 0
	}
	l.asleep.Store(true)
	if !l.inboxEmpty() || l.engine.stopping.Load() {
		l.asleep.Store(false)
		return 0
	}
	return max(time.Duration(l.now)*l.tick+l.stood-time.Since(l.start), 0)
}

// receiveInbox opens the sockets that were accepted and handles what the goroutines of net.Conns report.
func (l *Loop) receiveInbox() {
	l.stopping = l.engine.stopping.Load()
	arrivals, netEvs := l.takeInbox()
	for _, a := range arrivals {
		l.open(a)
	}
	for _, ev := range netEvs {
		l.net.handle(ev)
	}
	l.arrivals, l.netEvs = emptied(arrivals), emptied(netEvs)
}

func (l *Loop) open(a arrival) {
	slot, s := l.socks.take()
	err := errTooMany
	if slot != 0 {
		var t transport = l.raw
		if a.conn != nil {
			s.flags, t = isPortable, l.net
		}
		if err = t.open(slot, s, a); err == nil {
			l.stats.Opened++
			l.callOpen(slot, a.peer)
			return
		}
		l.socks.give(slot, s)
	} else {
		a.close()
	}
	l.conns.Add(-1)
	l.engine.accepts.other.Add(1)
	l.log.Warn("socket refused", "peer", a.peer, "err", err)
}

// runTasks runs posted tasks until none is left or its time is up; clock looks are spaced by tasks and by what they send.
func (l *Loop) runTasks() {
	if l.taskAt == len(l.tasks) {
		return
	}
	began, sent, looked := time.Since(l.start), l.stats.Sends, l.taskAt
	for l.taskAt < len(l.tasks) {
		t := l.tasks[l.taskAt]
		l.tasks[l.taskAt] = Task{}
		l.taskAt++
		l.waiting.Add(-1)
		l.callTask(t)
		if l.taskAt-looked >= clockEvery || l.stats.Sends-sent >= clockEvery {
			sent, looked = l.stats.Sends, l.taskAt
			if time.Since(l.start)-began > turnTime {
				return
			}
		}
	}
	l.tasks, l.taskAt = emptied(l.tasks), 0
}

func (l *Loop) finishTurn() {
	took := time.Since(l.start) - l.began
	l.stats.Turns++
	l.stats.LongestTurn = max(l.stats.LongestTurn, took)
	l.stats.Pieces = int(l.out.inUse)
	l.publishedMu.Lock()
	l.published = l.stats
	l.publishedMu.Unlock()
	if took > yieldAfter {
		runtime.Gosched()
	}
}

// The calls into the handler. Each names the socket to blame, then contains what panics.

func (l *Loop) callOpen(slot uint32, peer netip.AddrPort) {
	l.blame = slot
	l.enter(callOpen, slot, 0)
	defer l.contain()
	l.handler.Open(slot, peer)
}

func (l *Loop) callRead(slot uint32, b []byte) {
	l.blame = slot
	l.enter(callRead, slot, 0)
	defer l.contain()
	l.handler.Read(slot, b)
}

func (l *Loop) callClosed(slot uint32, err error) {
	l.blame = 0 // it is closed already
	l.enter(callClosed, slot, 0)
	defer l.contain()
	l.handler.Closed(slot, err)
}

func (l *Loop) callTask(t Task) {
	l.blame = 0
	if l.Live(t.Slot, t.Gen) {
		l.blame = t.Slot
	}
	l.enter(callTask, l.blame, t.Kind)
	defer l.contain()
	if t.F != nil {
		defer t.F.Release()
	}
	l.handler.Task(t)
}

func (l *Loop) callTurn() {
	l.blame = 0
	l.enter(callTurn, 0, 0)
	defer l.contain()
	l.handler.Turn()
}

func (l *Loop) callTick() {
	l.blame = 0
	l.enter(callTick, 0, 0)
	defer l.contain()
	l.handler.Tick(l.now)
}

// contain is deferred around every call into the handler.
func (l *Loop) contain() {
	r := recover()
	if r == nil {
		return
	}
	l.stats.Panics++
	l.log.Error("handler panicked", "loop", l.index, "slot", l.blame, "panic", r, "stack", string(debug.Stack()))
	if l.blame != 0 && l.blame < l.socks.taken {
		if s := l.socks.at(l.blame); s.state != free {
			l.drop(l.blame, s, ErrPanic)
		}
	}
}
