package loop

import (
	"sync/atomic"
	"time"
)

// Stats is a snapshot of an [Engine]'s counters since its start.
type Stats struct {
	Loops  []LoopStats
	Accept AcceptStats
}

// LoopStats are the counters of one loop, as of the end of its last turn.
type LoopStats struct {
	Conns       int           // sockets it owns now, those about to be announced included
	Queue       int           // tasks waiting
	Opened      uint64        // sockets announced to the handler
	Turns       uint64        // turns taken
	Wakeups     uint64        // times another goroutine woke it from sleep
	Sends       uint64        // writes to sockets
	BytesIn     uint64        // bytes read
	BytesOut    uint64        // bytes written
	Pieces      int           // entries of output that wait for their sockets, each a message or private bytes
	Again       uint64        // writes the kernel did not take whole: a backlog began or went on
	Panics      uint64        // panics of the handler that were contained
	LongestTurn time.Duration // work between two waits, the longest yet
	Blocks      uint64        // calls into the handler that the watchdog found blocked
	BlockedFor  time.Duration // how long it is blocked now; 0 = it is not
}

// AcceptStats are the counters of all listeners together.
type AcceptStats struct {
	Accepted uint64 // sockets handed to a loop
	Files    uint64 // refused: no descriptor left (EMFILE, ENFILE)
	Memory   uint64 // refused: no kernel memory left (ENOBUFS, ENOMEM)
	Aborted  uint64 // gone before they were accepted (ECONNABORTED)
	Other    uint64 // any other error of accept or of registration with a loop
}

// acceptCounters are AcceptStats while they count; any goroutine may add.
type acceptCounters struct {
	accepted, files, memory, aborted, other atomic.Uint64
}

func (c *acceptCounters) snapshot() AcceptStats {
	return AcceptStats{
		Accepted: c.accepted.Load(),
		Files:    c.files.Load(),
		Memory:   c.memory.Load(),
		Aborted:  c.aborted.Load(),
		Other:    c.other.Load(),
	}
}

// Stats returns the counters of all loops and listeners. It may be called from any goroutine.
func (e *Engine) Stats() Stats {
	s := Stats{Loops: make([]LoopStats, len(e.loops)), Accept: e.accepts.snapshot()}
	for i, l := range e.loops {
		l.publishedMu.Lock()
		s.Loops[i] = l.published
		l.publishedMu.Unlock()
		s.Loops[i].Conns = int(l.conns.Load())
		s.Loops[i].Queue = l.Queue()
		s.Loops[i].Wakeups = l.wakeups.Load()
		s.Loops[i].Blocks, s.Loops[i].BlockedFor = l.blocks.Load(), l.blockedFor()
	}
	return s
}
