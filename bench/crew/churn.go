//go:build linux

package crew

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
)

// Churn is members that leave their groups and join them again.
type Churn struct {
	Rate  float64       // leaves a second, and as many joins once somebody is away
	After time.Duration // from when measuring begins to the first
	For   time.Duration // from the first to the last
}

// Moves are what became of a churn.
type Moves struct {
	Joins, Leaves int                     // confirmed
	Pending       int                     // asked for and not confirmed
	Join          *hdrhistogram.Histogram // from the request to the confirmation
}

// churning is the state of a churn, owned by the swarm's goroutine but for its last two fields.
type churning struct {
	opts  Churn
	mover codec.Mover
	rng   *rand.Rand
	asked int      // pairs so far
	busy  []asking // of each client: one request at a time, for a confirmation does not say of what it is
	away  []place  // left and confirmed, the one that left first in front
	moves Moves
	out   []byte

	sent   atomic.Pointer[[]uint32] // all that was published to each group; set by the publisher's goroutine in the end
	caught atomic.Bool              // everybody who is a member has it
}

// place is a client in one of its groups.
type place struct {
	client int
	group  uint32
}

// asking is a request that is not confirmed.
type asking struct {
	what  request
	group uint32
	at    int64
}

// request is what a client waits for:
//
//	none ─leave─► leaving ─Heard.Left─► none ─join─► joining ─Heard.Joined─► none
type request uint8

const (
	none request = iota
	leaving
	joining
)

func (r request) String() string { return [...]string{"none", "leaving", "joining"}[r] }

func newChurning(o Options, mover codec.Mover) *churning {
	return &churning{
		opts: *o.Churn, mover: mover, rng: rand.New(rand.NewPCG(uint64(o.Run), 1)), busy: make([]asking, o.Count),
		moves: Moves{Join: load.NewHistogram()},
	}
}

// churn asks for the moves that are due.
func (l *Local) churn(now int64) (next int64, err error) {
	c := l.churning
	if sent := c.sent.Load(); sent != nil {
		c.caught.Store(l.rec.ledger.CaughtUp(*sent) && c.settled())
	}
	begin := l.rec.from + int64(c.opts.After)
	s := load.Schedule{Start: begin, Rate: c.opts.Rate}
	for due := s.Passed(min(now, begin+int64(c.opts.For)-1)); c.asked < due; c.asked++ {
		if err := errors.Join(l.rejoin(), l.leave()); err != nil {
			return 0, err
		}
	}
	if next = s.Due(c.asked); next >= begin+int64(c.opts.For) {
		next = now + int64(10*time.Millisecond) // from now on it looks only whether all has arrived
	}
	return next, nil
}

// settled reports whether no request waits.
func (c *churning) settled() bool {
	for _, b := range c.busy {
		if b.what != none {
			return false
		}
	}
	return true
}

// leave has a member leave, one that has seen its last join take effect: of a few tried by chance the first.
func (l *Local) leave() error {
	const tries = 20
	c := l.churning
	for range tries {
		client := c.rng.IntN(l.opts.Count)
		groups := l.opts.Plan.Of(l.opts.First + client)
		group := groups[c.rng.IntN(len(groups))]
		if c.busy[client].what == none && l.rec.ledger.MayLeave(client, group) {
			return l.ask(client, leaving, group)
		}
	}
	return nil
}

// rejoin has the one join again that has been away for the longest.
func (l *Local) rejoin() error {
	c := l.churning
	for i, p := range c.away {
		if c.busy[p.client].what == none {
			c.away = append(c.away[:i], c.away[i+1:]...)
			return l.ask(p.client, joining, p.group)
		}
	}
	return nil
}

func (l *Local) ask(client int, what request, group uint32) error {
	c, at := l.churning, ledger.Now()
	c.busy[client] = asking{what, group, at}
	if what == joining {
		l.rec.ledger.Joining(client, group)
		c.out = c.mover.Join(c.out[:0], group)
	} else {
		l.rec.ledger.Leaving(client, group, at)
		c.out = c.mover.Leave(c.out[:0], group)
	}
	return l.sw.Say(client, c.out)
}

// heard takes a confirmation.
func (l *Local) heard(client int, h codec.Heard, at int64) {
	c := l.churning
	b := c.busy[client]
	switch {
	case b.what == joining && h.Joined > 0:
		l.rec.ledger.Joined(client, b.group, at)
		load.Record(c.moves.Join, at-b.at)
		c.moves.Joins++
	case b.what == leaving && h.Left > 0:
		l.rec.ledger.Left(client, b.group)
		c.away = append(c.away, place{client, b.group})
		c.moves.Leaves++
	default:
		return
	}
	c.busy[client] = asking{}
}

// CaughtUp reports, once all was published, whether every request was confirmed and everybody has what was sent to the groups it is
// in now. Any goroutine may call it while the crew receives.
func (l *Local) CaughtUp(sent []uint32) bool {
	l.churning.sent.CompareAndSwap(nil, &sent)
	return l.churning.caught.Load()
}

// Moves is what became of the churn. Call it after Stop.
func (l *Local) Moves() Moves {
	m := l.churning.moves
	for _, b := range l.churning.busy {
		if b.what != none {
			m.Pending++
		}
	}
	return m
}
