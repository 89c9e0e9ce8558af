//go:build linux

package crew

import (
	"container/heap"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Return is a client that lost its connection and has another one.
type Return struct{ Lost, Back int64 }

// The time until a client dials again is random: up to the first step, then up to twice as much each time, as good clients do.
const (
	firstBackoff = time.Second
	mostBackoff  = 8 * time.Second
)

// lookEvery is how often is looked who is due.
const lookEvery = 5 * time.Millisecond

// returning has lost clients dial again, each time another node of those there are. Its methods but missing are called by the
// goroutine that receives.
type returning struct {
	tries []int   // since it was ready; by client
	lost  []int64 // when it was lost; 0 = it was not
	due   dueDials
	back  []Return

	away atomic.Int64
}

func newReturning(clients int) *returning {
	return &returning{tries: make([]int, clients), lost: make([]int64, clients)}
}

// lose enters that a client has no connection, or that an attempt failed.
func (r *returning) lose(client int, now int64) {
	if r.lost[client] == 0 {
		r.lost[client] = now
		r.away.Add(1)
	}
	most := min(firstBackoff<<min(r.tries[client], 10), mostBackoff)
	r.tries[client]++
	heap.Push(&r.due, dueDial{now + rand.Int64N(int64(most)), client})
}

// next returns a client that is due, or when the next one will be.
func (r *returning) next(now int64) (client int, at int64, ok bool) {
	if len(r.due) == 0 {
		return 0, now + int64(time.Second), false
	}
	if r.due[0].at > now {
		return 0, r.due[0].at, false
	}
	return heap.Pop(&r.due).(dueDial).client, now, true
}

// ready enters that a client is back.
func (r *returning) ready(client int, now int64) {
	if r.lost[client] == 0 {
		return // it was never away
	}
	r.back = append(r.back, Return{r.lost[client], now})
	r.lost[client], r.tries[client] = 0, 0
	r.away.Add(-1)
}

// dueDial is when a client dials.
type dueDial struct {
	at     int64
	client int
}

// dueDials is a heap by time.
type dueDials []dueDial

func (d dueDials) Len() int           { return len(d) }
func (d dueDials) Less(i, j int) bool { return d[i].at < d[j].at }
func (d dueDials) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *dueDials) Push(x any) { *d = append(*d, x.(dueDial)) }

// Pop implements heap.Interface.
func (d *dueDials) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

// Away is how many clients have no connection now. Any goroutine may ask.
func (l *Local) Away() int { return int(l.returning.away.Load()) }

// Returns are the clients that came back, in the order they did. It is for after Stop.
func (l *Local) Returns() []Return { return l.returning.back }

// redial dials for those that are due.
func (l *Local) redial(now int64) (next int64, err error) {
	for {
		client, at, ok := l.returning.next(now)
		if !ok {
			return min(at, now+int64(lookEvery)), nil // for who is lost meanwhile may be due before
		}
		if l.sw.Redial(client, l.returning.tries[client]) != nil {
			l.returning.lose(client, now) // and once more, later
		}
	}
}
