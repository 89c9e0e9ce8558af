package loop

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"
)

const haveEpoll = true

var ErrPanic = errors.New("handler panicked")

type Engine struct{ loops []*Loop }

func New(o Options, handler func(l *Loop) Handler, log *slog.Logger) (*Engine, error) {
	return nil, nil
}
func (e *Engine) Serve(ln net.Listener) error     { return nil }
func (e *Engine) StopAccepting()                  {}
func (e *Engine) Close(ctx context.Context) error { return nil }
func (e *Engine) Loops() []*Loop                  { return e.loops }
func (e *Engine) Conns() int                      { return 0 }
func (e *Engine) Stats() Stats                    { return Stats{} }

// Stats is a snapshot of an Engine's counters since its start.
type Stats struct {
	Loops  []LoopStats
	Accept AcceptStats
}

// LoopStats are the counters of one loop, as of the end of its last turn.
type LoopStats struct {
	Conns       int           // sockets it owns now
	Queue       int           // tasks waiting
	Opened      uint64        // sockets opened
	Turns       uint64        // turns taken
	Wakeups     uint64        // times it was woken from sleep by Post
	Sends       uint64        // writes to sockets
	BytesIn     uint64        // bytes read
	BytesOut    uint64        // bytes written
	Again       uint64        // writes the kernel did not take whole: a backlog began or went on
	Panics      uint64        // panics of the handler that were contained
	LongestTurn time.Duration // work between two waits, the longest yet
}

// AcceptStats are the counters of all listeners together.
type AcceptStats struct {
	Accepted uint64 // sockets handed to a loop
	Files    uint64 // refused: no descriptor left (EMFILE, ENFILE)
	Memory   uint64 // refused: no kernel memory left (ENOBUFS, ENOMEM)
	Aborted  uint64 // gone before they were accepted (ECONNABORTED)
	Other    uint64 // any other error of accept or registration
}

type Loop struct{}

func (l *Loop) Post(t Task)                                   {}
func (l *Loop) Queue() int                                    { return 0 }
func (l *Loop) Index() int                                    { return 0 }
func (l *Loop) Now() uint32                                   { return 0 }
func (l *Loop) Blame(slot uint32)                             {}
func (l *Loop) ID(slot uint32) ID                             { return 0 }
func (l *Loop) Live(slot, gen uint32) bool                    { return false }
func (l *Loop) Send(slot uint32, f *Frame)                    {}
func (l *Loop) SendNow(slot uint32, f *Frame)                 {}
func (l *Loop) SendBytes(slot uint32, b []byte)               {}
func (l *Loop) Pending(slot uint32) (bytes int, since uint32) { return }
func (l *Loop) Close(slot uint32, flush bool)                 {}
func (l *Loop) Abort(slot uint32)                             {}
func (l *Loop) Pause(slot uint32)                             {}
func (l *Loop) Resume(slot uint32)                            {}
