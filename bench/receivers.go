//go:build linux

package bench

import (
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
)

// receivers enters what the clients of a run receive into its ledger and its histograms. Receive is called by the swarm's
// goroutine alone; the atomic fields are for others to look at meanwhile.
type receivers struct {
	// static
	groups  int
	members int   // of each group
	from    int64 // publications due earlier are warm-up: counted, not timed

	// owned by the swarm's goroutine
	ledger   *ledger.Ledger
	times    times
	arrived  []uint32 // receivers that have publication k
	silence  int64    // longest time nothing came although something was due
	complete func()   // called for each publication that reached everybody; may be nil

	delivered atomic.Int64 // first arrivals
	completed atomic.Int64 // publications that reached everybody
	last      atomic.Int64 // when something arrived
}

// times are the histograms of a run.
type times struct {
	response *hdrhistogram.Histogram // from when it was due, every receiver
	service  *hdrhistogram.Histogram // from when it was sent, every receiver
	first    *hdrhistogram.Histogram // response of the first receiver of a publication
	median   *hdrhistogram.Histogram // of the one in the middle
	final    *hdrhistogram.Histogram // of the last one
}

func newReceivers(run uint32, clients, groups int) *receivers {
	of := make([]uint32, clients)
	for i := range of {
		of[i] = uint32(i % groups)
	}
	return &receivers{
		groups: groups, members: clients / groups, ledger: ledger.New(run, of),
		times: times{load.NewHistogram(), load.NewHistogram(), load.NewHistogram(), load.NewHistogram(), load.NewHistogram()},
	}
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
		load.Record(r.times.response, response)
		load.Record(r.times.service, at-s.Sent)
	}
	k := int(s.Seq)*r.groups + int(s.Group)
	for len(r.arrived) <= k {
		r.arrived = append(r.arrived, 0)
	}
	r.arrived[k]++
	n := int(r.arrived[k])
	if timed {
		if n == 1 {
			load.Record(r.times.first, response)
		}
		if n == (r.members+1)/2 {
			load.Record(r.times.median, response)
		}
		if n == r.members {
			load.Record(r.times.final, response)
		}
	}
	if n == r.members {
		r.completed.Add(1)
		if r.complete != nil {
			r.complete()
		}
	}
}
