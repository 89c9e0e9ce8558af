//go:build linux

package crew

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
)

// Tally is what all receivers of a run received.
type Tally struct {
	Near, Far *hdrhistogram.Histogram // response of receivers on the first node, and on others; nil = there is one node

	Counts  ledger.Counts
	Times   Times
	Silence int64 // longest time nothing came although something was due
	Seconds []Second
	Doubt   int64         // by so much the receivers' clocks may differ from the publisher's; 0 on one machine
	Unread  int64         // bytes that had come when receiving ended, and were not read
	Away    time.Duration // the longest time in which some receivers did not look at their sockets
}

// Times are the histograms of a run.
type Times struct {
	Response *hdrhistogram.Histogram // from when it was due, every receiver
	Service  *hdrhistogram.Histogram // from when it was sent, every receiver
	First    *hdrhistogram.Histogram // response of the first receiver of a publication
	Median   *hdrhistogram.Histogram // of the one in the middle
	Last     *hdrhistogram.Histogram // of the last one
}

// Second is the response of what arrived in one second.
type Second struct {
	At       int64 // its begin
	Response *hdrhistogram.Histogram
}

// Report is what a part of the receivers received. See [Merge].
type Report struct {
	Counts   ledger.Counts
	Response *hdrhistogram.Histogram
	Service  *hdrhistogram.Histogram
	Near     *hdrhistogram.Histogram // see Tally; may be nil
	Far      *hdrhistogram.Histogram
	Silence  int64
	Seconds  []Second    // of the same begin in all reports of a run
	Arrived  [][]Arrival // by group and sequence number
	Doubt    int64
	Unread   int64
	Away     time.Duration
}

// Arrival is how a publication arrived at a part of its receivers. Times are responses, 0 in the warm-up.
type Arrival struct {
	N      uint32 // receivers that have it
	First  int64
	Median int64 // of the one in the middle, if so many have it
	Last   int64 // of the last, if all have it
}

// enter takes a response; a.N counts it already.
func (a *Arrival) enter(response int64, all uint32) {
	response = max(response, 1) // 0 means none
	if a.N == 1 {
		a.First = response
	}
	if a.N == (all+1)/2 {
		a.Median = response
	}
	if a.N == all {
		a.Last = response
	}
}

// Merge puts reports of parts together, exactly, but for the medians of publications: of several parts it takes the median of
// their medians, weighted by their receivers. members is how many each group has in all.
func Merge(members []int, reports ...Report) Tally {
	t := Tally{Times: Times{load.NewHistogram(), load.NewHistogram(), load.NewHistogram(), load.NewHistogram(), load.NewHistogram()}}
	for i, r := range reports {
		t.Counts = t.Counts.Plus(r.Counts)
		t.Times.Response.Merge(r.Response)
		t.Times.Service.Merge(r.Service)
		t.Seconds = addSeconds(t.Seconds, r.Seconds)
		t.Doubt = max(t.Doubt, r.Doubt)
		t.Unread += r.Unread
		t.Away = max(t.Away, r.Away)
		if r.Near != nil {
			if t.Near == nil {
				t.Near, t.Far = load.NewHistogram(), load.NewHistogram()
			}
			t.Near.Merge(r.Near)
			t.Far.Merge(r.Far)
		}
		if i == 0 || r.Silence < t.Silence { // all were silent no longer than the one that was so for the shortest time
			t.Silence = r.Silence
		}
	}
	parts := make([]Arrival, 0, len(reports))
	for group, all := range members {
		for seq, more := 0, true; more; seq++ {
			parts, more = parts[:0], false
			for _, r := range reports {
				if group < len(r.Arrived) && seq < len(r.Arrived[group]) {
					more = true
					parts = append(parts, r.Arrived[group][seq])
				}
			}
			t.Times.enter(merge(parts), uint32(all))
		}
	}
	return t
}

// merge puts the parts of one publication's arrival together. Last is right when N is all of its receivers.
func merge(parts []Arrival) (whole Arrival) {
	for _, p := range parts {
		whole.N += p.N
		if p.First > 0 && (whole.First == 0 || p.First < whole.First) {
			whole.First = p.First
		}
		whole.Last = max(whole.Last, p.Last)
	}
	slices.SortFunc(parts, func(a, b Arrival) int { return cmp.Compare(a.Median, b.Median) })
	var below uint32
	for _, p := range parts {
		if below += p.N; p.Median > 0 && below >= (whole.N+1)/2 {
			whole.Median = p.Median
			break
		}
	}
	return whole
}

// enter records how a publication arrived.
func (t Times) enter(a Arrival, all uint32) {
	if a.First > 0 {
		load.Record(t.First, a.First)
	}
	if a.Median > 0 {
		load.Record(t.Median, a.Median)
	}
	if a.N == all && a.Last > 0 {
		load.Record(t.Last, a.Last)
	}
}

// addSeconds merges two series, each in order of time.
func addSeconds(a, b []Second) []Second {
	for _, s := range b {
		i, found := slices.BinarySearchFunc(a, s.At, func(s Second, at int64) int { return cmp.Compare(s.At, at) })
		if !found {
			a = slices.Insert(a, i, Second{s.At, newSecond()})
		}
		a[i].Response.Merge(s.Response)
	}
	return a
}
