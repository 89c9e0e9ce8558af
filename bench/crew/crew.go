//go:build linux

package crew

import (
	"context"
	"errors"
	"net/netip"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
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
	Completed int64 // publications that reached all members here
	Last      int64 // when something arrived
	Err       error // what ended receiving; nil while it goes on
}

// Tally is what a crew received.
type Tally struct {
	Counts  ledger.Counts
	Times   Times
	Silence int64 // longest time nothing came although something was due
	Seconds []Second
}

// Times are the histograms of a run.
type Times struct {
	Response *hdrhistogram.Histogram // from when it was due, every receiver
	Service  *hdrhistogram.Histogram // from when it was sent, every receiver
	First    *hdrhistogram.Histogram // response of the first receiver of a publication
	Median   *hdrhistogram.Histogram // of the one in the middle
	Last     *hdrhistogram.Histogram // of the last one
}

func newTimes() Times {
	return Times{load.NewHistogram(), load.NewHistogram(), load.NewHistogram(), load.NewHistogram(), load.NewHistogram()}
}

// Second is the response of what arrived in one second.
type Second struct {
	At       int64 // its begin
	Response *hdrhistogram.Histogram
}

// Local is a crew in this process.
type Local struct {
	opts   Options
	sw     *swarm.Swarm
	rec    *receivers
	cancel context.CancelFunc
	ended  chan struct{} // closed when receiving has ended
	err    error         // what ended it; read after ended
}

// Open returns a crew in this process, not connected yet.
func Open(o Options) (*Local, error) {
	c, err := codec.Open(o.Spec)
	if err != nil {
		return nil, err
	}
	l := &Local{opts: o, rec: newReceivers(o)}
	l.sw, err = swarm.Open(swarm.Options{
		Addrs: o.Addrs, Codec: c, Plan: o.Plan, First: o.First, Count: o.Count, Receiver: l.rec, Rate: o.Rate, Inflight: o.Inflight,
		Ready: l.rec.ready,
	})
	if err != nil {
		return nil, err
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
	l.rec.begin(from, completed)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel, l.ended = cancel, make(chan struct{})
	go func() { // ends with Stop, or when a client fails
		defer close(l.ended)
		l.err = l.sw.Run(ctx)
	}()
}

// Rest lets the clients live until ctx ends: pings are answered, a lost connection is an error. It is for crews that receive
// nothing.
func (l *Local) Rest(ctx context.Context) error { return l.sw.Run(ctx) }

// State implements [Crew].
func (l *Local) State() State {
	s := l.rec.state()
	if l.ended != nil {
		select {
		case <-l.ended:
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
	<-l.ended
	l.cancel = nil
	return l.err
}

// Balance implements [Crew].
func (l *Local) Balance(sent []uint32) (Tally, error) {
	if l.cancel != nil {
		return Tally{}, errors.New("the balance of a crew that still receives")
	}
	return l.rec.tally(sent), nil
}

// Close implements [Crew].
func (l *Local) Close() error { return errors.Join(l.Stop(), l.sw.Close()) }
