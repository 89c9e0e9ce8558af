//go:build linux

package crew

import (
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
)

// receivers enters what the clients of a crew receive into its ledger and its histograms. Receive is called by the swarm's
// goroutine alone; the atomic fields are for others to look at meanwhile.
type receivers struct {
	// static
	members []int // of each group, in this crew

	// owned by whoever connects
	logins Logins

	// owned by the swarm's goroutine
	from      int64 // publications due earlier are warm-up: counted, not timed
	ledger    *ledger.Ledger
	times     Times
	arrived   [][]uint32 // by group and sequence number: receivers that have it
	silence   int64      // longest time nothing came although something was due
	seconds   []Second
	onArrival func(n int64) // may be nil

	connected atomic.Int64
	delivered atomic.Int64 // first arrivals
	completed atomic.Int64 // publications that reached everybody here
	last      atomic.Int64 // when something arrived
}

func newReceivers(o Options) *receivers {
	r := &receivers{
		members: make([]int, o.Plan.Groups), arrived: make([][]uint32, o.Plan.Groups), times: newTimes(),
		logins: Logins{load.NewHistogram(), load.NewHistogram()},
		ledger: ledger.New(o.Run, o.Count, func(i int) []uint32 { return o.Plan.Of(o.First + i) }),
	}
	for i := range o.Count {
		for _, g := range o.Plan.Of(o.First + i) {
			r.members[g]++
		}
	}
	return r
}

// ready hears of a client that logged in.
func (r *receivers) ready(due, began, ready int64) {
	load.Record(r.logins.Response, ready-due)
	load.Record(r.logins.Service, ready-began)
	r.connected.Add(1)
}

func (r *receivers) begin(from int64, completed func(n int64)) {
	r.from, r.onArrival = from, completed
	r.last.Store(ledger.Now())
}

// Receive implements swarm.Receiver.
func (r *receivers) Receive(client int, s ledger.Stamp, at int64) {
	if since := at - max(r.last.Load(), s.Due); since > r.silence {
		r.silence = since
	}
	r.last.Store(at)
	if !r.ledger.Receive(client, s) {
		return
	}
	r.delivered.Add(1)
	timed := s.Due >= r.from
	response := at - s.Due
	if timed {
		load.Record(r.times.Response, response)
		load.Record(r.times.Service, at-s.Sent)
		load.Record(r.second(at), response)
	}
	group := r.arrived[s.Group]
	for len(group) <= int(s.Seq) {
		group = append(group, 0)
	}
	group[s.Seq]++
	r.arrived[s.Group] = group
	n, all := int(group[s.Seq]), r.members[s.Group]
	if timed {
		if n == 1 {
			load.Record(r.times.First, response)
		}
		if n == (all+1)/2 {
			load.Record(r.times.Median, response)
		}
		if n == all {
			load.Record(r.times.Last, response)
		}
	}
	if n == all {
		if done := r.completed.Add(1); r.onArrival != nil {
			r.onArrival(done)
		}
	}
}

// secondDigits is the precision of a second's histogram: a small one, for there may be hours of them.
const secondDigits = 2

// second is the histogram of the second that at is in.
func (r *receivers) second(at int64) *hdrhistogram.Histogram {
	begin := r.from + (at-r.from)/int64(time.Second)*int64(time.Second)
	if n := len(r.seconds); n == 0 || r.seconds[n-1].At < begin {
		r.seconds = append(r.seconds, Second{begin, hdrhistogram.New(load.Shortest, load.Longest, secondDigits)})
	}
	return r.seconds[len(r.seconds)-1].Response
}

func (r *receivers) state() State {
	return State{Connected: int(r.connected.Load()), Delivered: r.delivered.Load(), Completed: r.completed.Load(), Last: r.last.Load()}
}

func (r *receivers) tally(sent []uint32) Tally {
	return Tally{Counts: r.ledger.Balance(sent), Times: r.times, Silence: r.silence, Seconds: r.seconds}
}
