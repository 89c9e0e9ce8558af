package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Engine is a set of loops and the listeners that feed them. Its methods may be called from any goroutine.
type Engine struct {
	// static
	opts    Options
	log     *slog.Logger
	start   time.Time // the ticks of all loops and of the watchdog count from here, so that an idle process wakes once for all
	loops   []*Loop
	stop    chan struct{} // closed by StopAccepting
	closing chan struct{} // closed by Close

	accepts  acceptCounters
	turn     atomic.Uint32  // where the search for the least loaded loop begins
	stopping atomic.Bool    // set by Close; loops end at their next turn
	wg       sync.WaitGroup // loops, and the goroutines of net.Conns

	mu        sync.Mutex
	listeners map[net.Listener]func() // guarded by mu: open listeners, with what closes them
	stopped   bool                    // guarded by mu
}

// New starts the loops. handler is called once for each, before any of its callbacks; a Loop may be posted to from then on. Close
// the engine when done.
func New(o Options, handler func(l *Loop) Handler, log *slog.Logger) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("loop options: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if o.Loops == 0 {
		o.Loops = min(runtime.GOMAXPROCS(0), maxLoops)
	}
	if o.tick == 0 {
		o.tick = time.Second
	}
	e := &Engine{opts: o, log: log, start: time.Now(), stop: make(chan struct{}), closing: make(chan struct{}), listeners: map[net.Listener]func(){}}
	for i := range o.Loops {
		l, err := newLoop(e, i)
		if err != nil {
			for _, l := range e.loops {
				_ = l.poller.close()
			}
			return nil, fmt.Errorf("start loop %d: %w", i, err)
		}
		e.loops = append(e.loops, l)
	}
	for _, l := range e.loops {
		l.handler = handler(l)
	}
	for _, l := range e.loops {
		e.wg.Add(1)
		go l.run() // ended by Close
	}
	e.wg.Add(1)
	go e.watchLoops() // ended by Close
	return e, nil
}

func newLoop(e *Engine, index int) (*Loop, error) {
	l := &Loop{engine: e, index: index, log: e.log, start: e.start, tick: e.opts.tick, now: 1}
	l.socks, l.out, l.net = newSlab(), newOutput(), &netConns{loop: l}
	if !e.raw() {
		l.poller = newParker()
		return l, nil
	}
	var err error
	l.poller, l.raw, err = newEpoll(l)
	return l, err
}

// raw reports whether plain TCP sockets are driven as raw descriptors.
func (e *Engine) raw() bool { return haveEpoll && e.opts.Mode != ModePortable }

// Loops returns the loops, in the order of their index. The slice must not be changed.
func (e *Engine) Loops() []*Loop { return e.loops }

// Conns returns the number of sockets of all loops.
func (e *Engine) Conns() int {
	n := 0
	for _, l := range e.loops {
		n += int(l.conns.Load())
	}
	return n
}

// StopAccepting closes all listeners; Serve calls return nil. Sockets stay.
func (e *Engine) StopAccepting() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return
	}
	e.stopped = true
	close(e.stop)
	for _, closeIt := range e.listeners {
		closeIt()
	}
}

// Close closes the listeners and every socket left, without flushing, and stops the loops. It returns when all goroutines and
// descriptors of the engine are gone, or with ctx's error when that takes longer; then a handler call is stuck.
func (e *Engine) Close(ctx context.Context) error {
	e.StopAccepting()
	if e.stopping.CompareAndSwap(false, true) {
		close(e.closing)
	}
	for _, l := range e.loops {
		l.wake()
	}
	done := make(chan struct{})
	go func() { // ends with the last goroutine of the engine
		e.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close loops: %w", ctx.Err())
	}
}

// errStopped is returned by Serve on an engine that no longer accepts.
var errStopped = errors.New("engine no longer accepts; start a new one")
