//go:build linux

package crew

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/load"
)

// Slow is what becomes of clients that stop reading for a while, and of the others meanwhile.
type Slow struct {
	Share float64       // of the clients are slow; 0 = only the phases matter, in which something else happens to them
	Phase time.Duration // they read for one phase, do not for the next, and do again
}

// phases of a run with slow clients.
const phases = 3

// Is reports whether client i of the plan is slow: they are spread evenly over the clients.
func (s Slow) Is(i int) bool { return int(float64(i+1)*s.Share) > int(float64(i)*s.Share) }

// slowness is the state of a crew with slow clients, owned by the swarm's goroutine but for delivered.
type slowness struct {
	is     []bool
	others []*hdrhistogram.Histogram // response of those that read, by the phase in which a message was due
	phase  int64
	muted  int // phases begun, less one
	closed int // slow clients that lost their connection

	delivered atomic.Int64 // first arrivals at slow clients
}

func newSlowness(o Options) *slowness {
	s := &slowness{is: make([]bool, o.Count), phase: int64(o.Slow.Phase)}
	for i := range s.is {
		s.is[i] = o.Slow.Is(o.First + i)
	}
	for range phases {
		s.others = append(s.others, load.NewHistogram())
	}
	return s
}

// enter records the response of a client that reads.
func (s *slowness) enter(sinceFrom, response int64) {
	load.Record(s.others[min(int(sinceFrom/s.phase), phases-1)], response)
}

// tick stops and begins the slow ones' reading when it is time.
func (l *Local) tick(now int64) (next int64, err error) {
	s := l.rec.slow
	for s.muted < phases-1 && now >= l.rec.from+int64(s.muted+1)*s.phase {
		s.muted++
		for i, slow := range s.is {
			switch {
			case !slow:
			case s.muted == 1:
				err = errors.Join(err, l.sw.Mute(i))
			default:
				err = errors.Join(err, l.sw.Unmute(i))
			}
		}
	}
	if s.muted == phases-1 {
		return math.MaxInt64, err
	}
	return l.rec.from + int64(s.muted+1)*s.phase, err
}

// lost says whether a client may lose its connection: a slow one may, from when it stops reading.
func (l *Local) lost(client int, err error) error {
	s := l.rec.slow
	if !s.is[client] || s.muted == 0 {
		return err
	}
	s.closed++
	l.rec.connected.Add(-1)
	return nil
}

// Others is how those waited that did read, in each phase: before, while and after the slow ones did not. Call it after Stop.
func (l *Local) Others() []*hdrhistogram.Histogram { return l.rec.slow.others }

// SlowDelivered is how many messages have reached slow clients, which State does not count. Any goroutine may ask.
func (l *Local) SlowDelivered() int64 { return l.rec.slow.delivered.Load() }

// Closed is how many slow clients lost their connection. Call it after Stop.
func (l *Local) Closed() int { return l.rec.slow.closed }
