//go:build linux

package crew

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/plan"
	"github.com/gatecast/gatecast/bench/swarm"
)

// Options of a crew. They are JSON between processes.
type Options struct {
	Addrs    []netip.AddrPort `json:"addrs"` // client i connects to node i mod len
	Spec     codec.Spec       `json:"spec"`
	Plan     plan.Plan        `json:"plan"`
	First    int              `json:"first"` // client of this crew; the others follow
	Count    int              `json:"count"` // clients of this crew
	Run      uint32           `json:"run"`   // in the stamps
	Rate     float64          `json:"rate"`  // handshakes due a second; 0 = as fast as they are answered
	Inflight int              `json:"inflight"`
	Single   bool             `json:"single"` // publications have one receiver each: first, median and last are not kept
	Slow     *Slow            `json:"-"`      // some clients stop reading for a while; nil = none
	Churn    *Churn           `json:"-"`      // members leave and join again; nil = none. The codec must be a Mover
	Redial   bool             `json:"redial"` // clients that lose their connection dial again, and what they miss meanwhile is lost
	Clock    int64            `json:"-"`      // added to this machine's times of arrival: so far the publisher's clock is ahead
}

// Crew is the receivers of a run. Connect, Receive, Stop, Balance, Close are called in this order by one goroutine; State may be
// called by any at any time.
type Crew interface {
	// Connect makes every client ready; the first that fails ends it.
	Connect(ctx context.Context) (Logins, error)
	// Receive begins to receive, in the background. Publications due before from are warm-up: counted, not timed. completed,
	// if not nil, is called from another goroutine with the number of publications that have reached everybody, as it grows.
	Receive(from int64, completed func(n int64))
	// State is how far it is.
	State() State
	// Stop ends receiving. An error is what ended it before.
	Stop() error
	// Balance says what came of what was sent to each group.
	Balance(sent []uint32) (Tally, error)
	Close() error
}

// Logins is how long clients took to be ready.
type Logins struct {
	Response *hdrhistogram.Histogram // from when each was due
	Service  *hdrhistogram.Histogram // from when its dial began
}

// State is how far a crew is. Times are of [ledger.Now].
type State struct {
	Connected int
	Delivered int64 // first arrivals
	Completed int64 // publications that reached all members; counted if Receive was given completed
	Last      int64 // when something arrived
	// Quiet is for how long all have looked since a message came, and found none. It stands still while they do not come to look, for
	// then the silence may be theirs.
	Quiet time.Duration
	Err   error // what ended receiving; nil while it goes on
}

// Local is a crew in this process.
type Local struct {
	opts      Options
	sw        *swarm.Swarm
	rec       *receivers
	churning  *churning  // nil without Churn
	returning *returning // nil without Redial
	cancel    context.CancelFunc
	ended     atomic.Pointer[chan struct{}] // closed when receiving has ended
	err       error                         // what ended it; read after ended
}

// Open returns a crew in this process, not connected yet.
func Open(o Options) (*Local, error) {
	c, err := codec.Open(o.Spec)
	if err != nil {
		return nil, err
	}
	l := &Local{opts: o, rec: newReceivers(o)}
	so := swarm.Options{
		Addrs: o.Addrs, Codec: c, Plan: o.Plan, First: o.First, Count: o.Count, Receiver: l.rec, Rate: o.Rate, Inflight: o.Inflight,
		Ready: l.rec.ready,
	}
	if o.Slow != nil {
		so.Lost, so.Narrow = l.lost, func(client int) bool { return l.rec.slow.is[client] }
	}
	if o.Churn != nil {
		mover, ok := c.(codec.Mover)
		if !ok {
			return nil, errors.New("the codec " + o.Spec.Codec + " cannot join and leave")
		}
		l.churning = newChurning(o, mover)
		l.rec.ledger.Follow()
		so.Heard = l.heard
	}
	if o.Redial {
		l.returning = newReturning(o.Count)
		so.Back = l.returning.ready
		so.Lost = func(client int, _ error) error {
			l.returning.lose(client, ledger.Now())
			return nil
		}
	}
	if l.sw, err = swarm.Open(so); err != nil {
		return nil, err
	}
	switch {
	case o.Slow != nil:
		l.sw.Tick(l.tick)
	case o.Churn != nil:
		l.sw.Tick(l.churn)
	case o.Redial:
		l.sw.Tick(l.redial)
	}
	return l, nil
}

// Connect implements [Crew].
func (l *Local) Connect(ctx context.Context) (Logins, error) {
	err := l.sw.Connect(ctx)
	return l.rec.logins, err
}

// Receive implements [Crew].
func (l *Local) Receive(from int64, completed func(n int64)) {
	var each func(uint32, int64)
	if completed != nil {
		each = func(_ uint32, all int64) { completed(all) }
	}
	l.ReceiveEach(from, each)
}

// ReceiveEach is Receive for who wants to know which group a publication was sent to that has reached all its members here, and
// the number of all that have. complete is called from the goroutine that receives and must be quick.
func (l *Local) ReceiveEach(from int64, complete func(group uint32, all int64)) {
	l.rec.begin(from, complete)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	l.cancel = cancel
	l.ended.Store(&ended)
	go func() { // ends with Stop, or when a client fails
		defer close(ended)
		l.err = l.sw.Run(ctx)
	}()
}

// State implements [Crew].
func (l *Local) State() State {
	s := l.rec.state()
	s.Quiet = l.sw.Quiet()
	if ended := l.ended.Load(); ended != nil {
		select {
		case <-*ended:
			s.Err = l.err
		default:
		}
	}
	return s
}

// Stop implements [Crew].
func (l *Local) Stop() error {
	if l.cancel == nil {
		return nil
	}
	l.cancel()
	<-*l.ended.Load()
	l.cancel = nil
	return l.err
}

// Balance implements [Crew].
func (l *Local) Balance(sent []uint32) (Tally, error) {
	r, err := l.Report(sent)
	if err != nil {
		return Tally{}, err
	}
	return Merge(l.rec.members, r), nil
}

// Report is Balance for who merges the reports of several crews.
func (l *Local) Report(sent []uint32) (Report, error) {
	if l.cancel != nil {
		return Report{}, errors.New("the balance of a crew that still receives")
	}
	r := l.rec.report(sent)
	r.Away = l.sw.Away()
	for i := range l.opts.Count {
		if l.rec.slow == nil || !l.rec.slow.is[i] { // nobody waits for slow ones
			r.Unread += int64(l.sw.Unread(i))
		}
	}
	return r, nil
}

// Close implements [Crew].
func (l *Local) Close() error { return errors.Join(l.Stop(), l.sw.Close()) }
