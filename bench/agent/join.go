//go:build linux

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/proc"
)

// Command is the word on our own command line that makes a process an agent.
const Command = "agent"

const (
	joinTimeout = 10 * time.Second
	newsEvery   = 20 * time.Millisecond
	usageEvery  = 10 // times the news
)

// errGone ends an agent that was not told to end.
var errGone = errors.New("the coordinator is gone")

// worker is the process that joined.
type worker struct {
	conn   *nats.Conn
	inbox  string
	same   bool // the host's clock is ours
	orders chan *nats.Msg

	// owned by work
	crew   *crew.Local
	number int
	clock  clock         // when the crew was opened
	noise  func()        // lets the garbage collector work again; nil when it does
	news   *newsroom     // nil when nothing is received
	dial   chan struct{} // closed when connecting has ended; nil when it never began
	cancel context.CancelFunc
}

// Join makes this process an agent of the host at the address, nats://TOKEN@HOST:PORT, until the host lets it go, which is no
// error, or is gone, or ctx ends.
func Join(ctx context.Context, address, name string) error {
	return join(ctx, address, name, machine())
}

func join(ctx context.Context, address, name, machine string) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	gone := func(*nats.Conn) { cancel(errGone) }
	inbox := nats.NewInbox()
	conn, err := nats.Connect(address, nats.NoReconnect(), nats.Timeout(joinTimeout), nats.Name(inbox), nats.ClosedHandler(gone))
	if err != nil {
		return fmt.Errorf("join %s: %w", address, err)
	}
	w := &worker{conn: conn, inbox: inbox, orders: make(chan *nats.Msg, 16)}
	defer func() {
		err = errors.Join(err, w.close())
		conn.Close()
	}()
	if _, err := conn.ChanSubscribe(inbox, w.orders); err != nil {
		return fmt.Errorf("join %s: %w", address, err)
	}
	a, err := ask(ctx, conn, joinSubject, hello{protocol, name, os.Getpid(), machine, inbox})
	if err != nil {
		return fmt.Errorf("join %s: %w", address, err)
	}
	w.same = a.Machine == machine
	return w.work(ctx)
}

// ask sends a request and returns the answer.
func ask(ctx context.Context, conn *nats.Conn, subject string, v any) (a answer, err error) {
	m, err := conn.RequestWithContext(ctx, subject, encode(v))
	switch {
	case ctx.Err() != nil && err != nil:
		return a, context.Cause(ctx)
	case errors.Is(err, nats.ErrConnectionClosed):
		return a, errGone
	case err != nil:
		return a, err
	}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return a, err
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// work does what the host orders.
func (w *worker) work(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			if w.toldToEnd() {
				return nil
			}
			return context.Cause(ctx)
		case m := <-w.orders:
			var o order
			if err := json.Unmarshal(m.Data, &o); err != nil {
				return fmt.Errorf("an order of the coordinator: %w", err)
			}
			if o.Do == doEnd {
				return nil
			}
			if o.Do == doConnect { // takes its time, and may be cancelled by close
				w.connect(ctx, m)
				continue
			}
			a, err := w.obey(ctx, o)
			if err != nil {
				a.Error = err.Error()
			}
			if err := m.Respond(encode(a)); err != nil {
				return fmt.Errorf("answer the coordinator: %w", err)
			}
		}
	}
}

// toldToEnd reports whether an order to end waits: a coordinator that ends in order says so, and is gone a moment later.
func (w *worker) toldToEnd() bool {
	for {
		select {
		case m := <-w.orders:
			var o order
			if json.Unmarshal(m.Data, &o) == nil && o.Do == doEnd {
				return true
			}
		default:
			return false
		}
	}
}

// obey is every order but connect and end.
func (w *worker) obey(ctx context.Context, o order) (a answer, err error) {
	if w.crew == nil && o.Do != doOpen && o.Do != doClose {
		return a, fmt.Errorf("no crew to %s", o.Do)
	}
	switch o.Do {
	case doOpen:
		return a, w.open(ctx, o)
	case doReceive:
		w.receive(o)
	case doStop:
		err := w.stop()
		w.news.stop() // so that what is told now is the last
		a.News = &news{Agent: w.inbox, Crew: w.number}
		a.News.enter(w.crew.State())
		a.News.cost()
		return a, err
	case doReport:
		a.Report, err = w.report(ctx, o.Sent)
		return a, err
	case doClose:
		return a, w.close()
	default:
		return a, fmt.Errorf("unknown order %q", o.Do)
	}
	return a, nil
}

func (w *worker) open(ctx context.Context, o order) (err error) {
	if w.crew != nil || o.Options == nil {
		return errors.New("a crew is open already, or the order has no options")
	}
	if err := proc.RaiseFiles(o.Options.Count); err != nil {
		return err
	}
	if !w.same {
		if w.clock, err = readClock(ctx, w.conn); err != nil {
			return err
		}
	}
	opts := *o.Options
	opts.Clock = w.clock.ahead
	w.crew, err = crew.Open(opts)
	w.number, w.dial = o.Crew, nil
	if err == nil {
		w.news = w.startNews(false)
	}
	return err
}

// connect answers when all clients are ready.
func (w *worker) connect(ctx context.Context, m *nats.Msg) {
	ctx, w.cancel = context.WithCancel(ctx)
	dial := make(chan struct{})
	w.dial = dial
	c := w.crew
	go func() { // ends when all are connected, one failed, or close cancels it
		defer close(dial)
		var a answer
		err := errors.New("no crew to connect")
		if c != nil {
			var logins crew.Logins
			logins, err = c.Connect(ctx)
			if err == nil {
				var err1, err2 error
				a.Response, err1 = pack(logins.Response)
				a.Service, err2 = pack(logins.Service)
				err = errors.Join(err1, err2)
			}
		}
		if err != nil {
			a.Error = err.Error()
		}
		_ = m.Respond(encode(a)) // or the host is gone, which work hears of
	}()
}

func (w *worker) receive(o order) {
	if w.dial != nil {
		<-w.dial
	}
	w.news.stop()
	w.noise = load.Quietly()
	var each func(uint32, int64)
	w.news = w.startNews(o.Tell)
	if o.Tell {
		each = w.news.completed
	}
	w.crew.ReceiveEach(o.From, each)
}

func (w *worker) stop() error {
	err := w.crew.Stop()
	if w.noise != nil {
		w.noise()
		w.noise = nil
	}
	return err
}

func (w *worker) report(ctx context.Context, sent []uint32) ([]byte, error) {
	r, err := w.crew.Report(sent)
	if err != nil {
		return nil, err
	}
	if !w.same {
		now, err := readClock(ctx, w.conn)
		if err != nil {
			return nil, err
		}
		r.Doubt = now.since(w.clock)
	}
	b, err := encodeReport(r)
	if err == nil && len(b) > maxMessage/2 {
		return nil, fmt.Errorf("a report of %d bytes is too large to send; make the run shorter", len(b))
	}
	return b, err
}

// close ends the crew, if there is one.
func (w *worker) close() error {
	if w.crew == nil {
		return nil
	}
	if w.dial != nil {
		w.cancel()
		<-w.dial
	}
	err := w.stop()
	w.news.stop()
	err = errors.Join(err, w.crew.Close())
	w.crew = nil
	return err
}

// newsroom tells the host how far the crew is.
type newsroom struct {
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // of one: something completed

	mu   sync.Mutex
	more map[uint32]int64 // completed since the last news; guarded by mu
}

// startNews tells every now and then, and completions at once.
func (w *worker) startNews(tell bool) *newsroom {
	ctx, cancel := context.WithCancel(context.Background())
	n := &newsroom{cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1), more: make(map[uint32]int64)}
	c, about := w.crew, news{Agent: w.inbox, Crew: w.number}
	go func() { // ends with stop
		defer close(n.done)
		tick := time.NewTicker(newsEvery)
		defer tick.Stop()
		for ticks := 0; ; {
			out := about
			select {
			case <-ctx.Done():
				return
			case <-n.wake:
			case <-tick.C:
				if ticks++; ticks%usageEvery == 1 {
					out.cost()
				}
			}
			out.enter(c.State())
			if tell {
				out.Completed = n.take()
			}
			_ = w.conn.Publish(newsSubject, encode(out)) // or the host is gone, which work hears of
		}
	}()
	return n
}

// cost says what this process cost.
func (n *news) cost() {
	if u, err := proc.Read(os.Getpid()); err == nil {
		n.Usage = &u
	}
}

// enter says how far a crew is.
func (n *news) enter(s crew.State) {
	n.Connected, n.Delivered, n.Last, n.Quiet = s.Connected, s.Delivered, s.Last, s.Quiet
	if s.Err != nil {
		n.Error = s.Err.Error()
	}
}

// completed is called by the goroutine that receives.
func (n *newsroom) completed(group uint32, _ int64) {
	n.mu.Lock()
	n.more[group]++
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *newsroom) take() map[uint32]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	more := n.more
	n.more = make(map[uint32]int64)
	return more
}

func (n *newsroom) stop() {
	n.cancel()
	<-n.done
}
