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
	single  bool  // each publication has one receiver
	clock   int64 // added to this machine's times, so that they are the coordinator's

	// owned by whoever connects
	logins Logins

	// owned by the swarm's goroutine
	from       int64 // publications due earlier are warm-up: counted, not timed
	ledger     *ledger.Ledger
	response   *hdrhistogram.Histogram
	service    *hdrhistogram.Histogram
	nodes      *byNode     // nil = there is one
	slow       *slowness   // nil = all read all the time
	arrived    [][]Arrival // by group and sequence number
	silence    int64       // longest time nothing came although something was due
	seconds    []Second
	onComplete func(group uint32, all int64) // may be nil

	connected atomic.Int64
	delivered atomic.Int64 // first arrivals
	completed atomic.Int64 // publications that reached everybody here
	last      atomic.Int64 // when something arrived
}

func newReceivers(o Options) *receivers {
	r := &receivers{
		members: make([]int, o.Plan.Groups), arrived: make([][]Arrival, o.Plan.Groups), clock: o.Clock, single: o.Single,
		response: load.NewHistogram(), service: load.NewHistogram(), logins: Logins{load.NewHistogram(), load.NewHistogram()},
		ledger: ledger.New(o.Run, o.Count, func(i int) []uint32 { return o.Plan.Of(o.First + i) }),
	}
	if len(o.Addrs) > 1 {
		r.nodes = &byNode{first: o.First, nodes: len(o.Addrs), near: load.NewHistogram(), far: load.NewHistogram()}
	}
	if o.Slow != nil {
		r.slow = newSlowness(o)
	}
	for i := range o.Count {
		if r.slow != nil && r.slow.is[i] { // nobody waits for it
			r.ledger.Excuse(i)
			continue
		}
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

func (r *receivers) begin(from int64, complete func(group uint32, all int64)) {
	r.from, r.onComplete = from, complete
	r.last.Store(ledger.Now() + r.clock)
}

// Receive implements swarm.Receiver.
func (r *receivers) Receive(client int, s ledger.Stamp, at int64) {
	at += r.clock
	if since := at - max(r.last.Load(), s.Due); since > r.silence {
		r.silence = since
	}
	r.last.Store(at)
	if !r.ledger.Receive(client, s) {
		return
	}
	response, timed := at-s.Due, s.Due >= r.from
	if r.slow != nil {
		if r.slow.is[client] {
			return
		}
		if timed {
			r.slow.enter(s.Due-r.from, response)
		}
	}
	r.delivered.Add(1)
	if timed {
		load.Record(r.response, response)
		load.Record(r.service, at-s.Sent)
		load.Record(r.second(at), response)
		if r.nodes != nil {
			r.nodes.enter(client, response)
		}
	}
	if r.single || r.spread(s, response, timed) {
		if done := r.completed.Add(1); r.onComplete != nil {
			r.onComplete(s.Group, done)
		}
	}
}

// byNode divides responses by where receivers are connected: publishers are on the first node.
type byNode struct {
	first, nodes int
	near, far    *hdrhistogram.Histogram // of members of the first node, and of the others
}

func (b *byNode) enter(client int, response int64) {
	if (b.first+client)%b.nodes == 0 {
		load.Record(b.near, response)
	} else {
		load.Record(b.far, response)
	}
}

// spread enters an arrival into those of its publication and reports whether everybody has that now.
func (r *receivers) spread(s ledger.Stamp, response int64, timed bool) (complete bool) {
	group := r.arrived[s.Group]
	for len(group) <= int(s.Seq) {
		group = append(group, Arrival{})
	}
	r.arrived[s.Group] = group
	a, all := &group[s.Seq], uint32(r.members[s.Group])
	a.N++
	if timed {
		a.enter(response, all)
	}
	return a.N == all
}

// secondDigits is the precision of a second's histogram: a small one, for there may be hours of them.
const secondDigits = 2

func newSecond() *hdrhistogram.Histogram {
	return hdrhistogram.New(load.Shortest, load.Longest, secondDigits)
}

// second is the histogram of the second that at is in.
func (r *receivers) second(at int64) *hdrhistogram.Histogram {
	begin := r.from + (at-r.from)/int64(time.Second)*int64(time.Second)
	if n := len(r.seconds); n == 0 || r.seconds[n-1].At < begin {
		r.seconds = append(r.seconds, Second{begin, newSecond()})
	}
	return r.seconds[len(r.seconds)-1].Response
}

func (r *receivers) state() State {
	return State{Connected: int(r.connected.Load()), Delivered: r.delivered.Load(), Completed: r.completed.Load(), Last: r.last.Load()}
}

// report is what came of what was sent to each group.
func (r *receivers) report(sent []uint32) Report {
	out := Report{
		Counts: r.ledger.Balance(sent), Response: r.response, Service: r.service, Silence: r.silence, Seconds: r.seconds, Arrived: r.arrived,
	}
	if r.nodes != nil {
		out.Near, out.Far = r.nodes.near, r.nodes.far
	}
	return out
}
