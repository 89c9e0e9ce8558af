package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxPending  = 64 << 20 // bytes waiting for the writer before Publish refuses
	keepBuffer  = 1 << 20  // larger write buffers are given back after use
	keepalive   = 2 * time.Second
	backoffMin  = 50 * time.Millisecond
	backoffMax  = 2 * time.Second
	writeWithin = 10 * time.Second // for each writeSlice: a slow connection is not a hung one
	writeSlice  = 1 << 20
)

var errClosed = errors.New("broker closed")

// link is one connection to NATS that comes back by itself.
//
//	dial ─► handshake ─► up ─► read … error ─► down ─► (backoff) dial …
//
// run owns the connection and reads; a second goroutine writes what others append to buf. The reader never writes and the
// writer never holds mu while it does: with a synchronous pipe to the embedded server either would deadlock both ends.
type link struct {
	// static
	name   string // "relay" or "control", for logs
	dial   func(ctx context.Context) (*reader, *serverInfo, error)
	msg    func(f *frame)        // on the reader's goroutine
	up     func(info serverInfo) // before anything is read; must only append
	down   func(err error)       // after the last msg of this connection
	denied func(what string)     // NATS refuses a subject; the connection goes on
	alive  bool                  // a lost peer shows only by silence: send pings
	log    *slog.Logger

	maxPayload atomic.Int64
	reconnects atomic.Uint64

	mu      sync.Mutex
	buf     []byte            // next bytes to write
	spare   []byte            // the buffer before, to swap
	kicked  bool              // the writer knows that buf is not empty
	conn    net.Conn          // nil while down
	serving bool              // publish is allowed
	pongs   []chan<- struct{} // waiting flushes, nil entries for keepalives; one a PING, in order
	silent  int               // keepalives since the last answer
	kick    chan struct{}     // capacity 1; never closed

	ctx    context.Context // ends with stop
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned
	begun  atomic.Bool   // start was called
}

func newLink(name string, log *slog.Logger) *link {
	l := &link{name: name, log: log.With("link", name), kick: make(chan struct{}, 1), done: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// start connects for the first time and then keeps the link until stop. A first failure is returned after ctx or, if fatal, at once.
func (l *link) start(ctx context.Context) error {
	l.begun.Store(true)
	r, info, err := l.connect(ctx, true)
	if err != nil {
		l.cancel()
		close(l.done)
		return err
	}
	go l.run(r, info) // ends by stop, which waits for done
	return nil
}

// stop closes the connection and waits for the goroutines.
func (l *link) stop() {
	l.cancel()
	if !l.begun.Load() {
		return
	}
	l.mu.Lock()
	if l.conn != nil {
		l.conn.Close()
	}
	l.mu.Unlock()
	<-l.done
}

// connect dials until it succeeds or ctx ends. first: an error that no waiting cures ends it.
func (l *link) connect(ctx context.Context, first bool) (*reader, *serverInfo, error) {
	wait := backoffMin
	var cause error // of the last attempt that ctx did not cut short
	for {
		r, info, err := l.dial(ctx)
		if err == nil {
			return r, info, nil
		}
		if ctx.Err() != nil && cause != nil {
			return nil, nil, cause
		}
		cause = err
		var refused *refusedError
		if ctx.Err() != nil || first && errors.As(err, &refused) {
			return nil, nil, err
		}
		l.log.Debug("broker link: dial", "err", err)
		select {
		case <-ctx.Done():
			return nil, nil, err
		case <-time.After(wait/2 + rand.N(wait/2)):
		}
		wait = min(2*wait, backoffMax)
	}
}

func (l *link) run(r *reader, info *serverInfo) {
	defer close(l.done)
	for {
		err := l.serve(r, info)
		if l.ctx.Err() != nil {
			return
		}
		l.log.Warn("broker link lost", "err", err)
		if r, info, err = l.connect(l.ctx, false); err != nil {
			return
		}
		l.reconnects.Add(1)
	}
}

// serve is one connection's life.
func (l *link) serve(r *reader, info *serverInfo) error {
	l.maxPayload.Store(info.MaxPayload)
	l.mu.Lock()
	if l.ctx.Err() != nil {
		l.mu.Unlock()
		r.conn.Close()
		return errClosed
	}
	l.conn = r.conn
	l.buf, l.kicked, l.silent = l.buf[:0], false, 0
	l.mu.Unlock()
	stopWriting := make(chan struct{})
	written := make(chan struct{})
	go func() { // ends with serve
		defer close(written)
		l.write(r.conn, stopWriting)
	}()
	l.up(*info)
	err := l.read(r)

	l.mu.Lock()
	l.conn, l.serving = nil, false
	l.buf = l.buf[:0]
	for _, p := range l.pongs {
		if p != nil {
			close(p)
		}
	}
	l.pongs = nil
	l.mu.Unlock()
	r.conn.Close()
	close(stopWriting)
	<-written
	l.down(err)
	return err
}

func (l *link) read(r *reader) error {
	var f frame
	var last error
	for {
		if err := r.next(&f); err != nil {
			if last != nil {
				return fmt.Errorf("%w (%w)", last, err)
			}
			return err
		}
		switch f.op {
		case opMsg:
			l.msg(&f)
		case opPing:
			l.append(func(b []byte) []byte { return append(b, "PONG\r\n"...) })
		case opPong:
			l.pong()
		case opInfo:
			if info, err := parseInfo(f.body); err == nil && info.MaxPayload > 0 {
				l.maxPayload.Store(info.MaxPayload)
			}
		case opErr:
			if bytes.HasPrefix(f.body, []byte("Permissions Violation")) {
				l.denied(string(f.body))
			} else {
				last = fmt.Errorf("nats: %s", f.body)
			}
			l.log.Warn("broker link: NATS reports an error", "err", string(f.body))
		}
	}
}

func (l *link) write(conn net.Conn, stop <-chan struct{}) {
	pipe := conn.LocalAddr().Network() == "pipe" // a deadline on a pipe is an allocation, and its reader never hangs
	var due <-chan time.Time
	if l.alive {
		ticker := time.NewTicker(keepalive)
		defer ticker.Stop()
		due = ticker.C
	}
	for {
		select {
		case <-stop:
			return
		case <-due:
			if !l.keepalive() {
				conn.Close()
				return
			}
			continue
		case <-l.kick:
		}
		l.mu.Lock()
		out := l.buf
		l.buf, l.spare = l.spare[:0], nil
		l.kicked = false
		l.mu.Unlock()
		if len(out) > 0 {
			if err := writeSlices(conn, out, pipe); err != nil {
				conn.Close() // the reader reports it
				return
			}
		}
		if cap(out) <= keepBuffer {
			l.mu.Lock()
			l.spare = out[:0]
			l.mu.Unlock()
		}
	}
}

// writeSlices writes out in parts with a deadline each.
func writeSlices(conn net.Conn, out []byte, pipe bool) error {
	for len(out) > 0 {
		if !pipe {
			conn.SetWriteDeadline(time.Now().Add(writeWithin))
		}
		n, err := conn.Write(out[:min(len(out), writeSlice)])
		if err != nil {
			return err
		}
		out = out[n:]
	}
	return nil
}

// keepalive sends a PING and reports whether the server answered one of the last two.
func (l *link) keepalive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent++
	if l.silent > 2 {
		return false
	}
	l.pongs = append(l.pongs, nil)
	l.buf = append(l.buf, "PING\r\n"...)
	l.wake()
	return true
}

func (l *link) pong() {
	l.mu.Lock()
	var p chan<- struct{}
	if len(l.pongs) > 0 {
		p, l.pongs = l.pongs[0], l.pongs[1:]
	}
	l.silent = 0
	l.mu.Unlock()
	if p != nil {
		p <- struct{}{} // capacity 1
	}
}

// wake tells the writer. mu is held.
func (l *link) wake() {
	if l.kicked {
		return
	}
	l.kicked = true
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// append adds protocol bytes, in order with everything else; while the link is down they are dropped and it returns false.
func (l *link) append(f func([]byte) []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return false
	}
	l.buf = f(l.buf)
	l.wake()
	return true
}

// publish adds a message that nobody answers.
func (l *link) publish(subject string, body []byte) bool { return l.request(subject, "", body) }

func (l *link) request(subject, reply string, body []byte) bool {
	return l.append(func(b []byte) []byte { return appendPub(b, subject, reply, body) })
}

// setServing opens or shuts the door for Publish.
func (l *link) setServing(on bool) {
	l.mu.Lock()
	l.serving = on && l.conn != nil
	l.mu.Unlock()
}

// flush returns when the server has handled all that was appended before, and all it sent before that was read.
func (l *link) flush(ctx context.Context) error {
	p := make(chan struct{}, 1)
	l.mu.Lock()
	if l.conn == nil {
		l.mu.Unlock()
		return ErrUnavailable
	}
	l.pongs = append(l.pongs, p)
	l.buf = append(l.buf, "PING\r\n"...)
	l.wake()
	l.mu.Unlock()
	select {
	case _, ok := <-p:
		if !ok {
			return ErrUnavailable
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *link) pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.buf)
}

func (l *link) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn != nil
}
