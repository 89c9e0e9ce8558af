package breaker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Breaker leaves another side alone that does not answer.
//
//	closed ─ failures in a row ─► open ─ after a pause ─► probing: one question ─┬─ answered ─► closed
//	   ▲                           ▲ └──────────────────────────────────────────┴─ failed ───► open
//	   └── an answer resets the count
//
// Its fields are set before its first use. All methods may be called concurrently.
type Breaker struct {
	// Name is the other side's, for errors and the log.
	Name string
	// Limit is how many questions in a row may fail until it is left alone. 0 = it is always asked.
	Limit int
	// Pause is how long it is left alone.
	Pause time.Duration
	// Silent tells [Breaker.Ask] which errors are no answer, besides those of the network. May be nil.
	Silent func(error) bool
	// Log hears when the other side falls silent and when it answers again. May be nil.
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	mu      sync.Mutex
	failed  int       // in a row
	until   time.Time // left alone until then; zero = closed
	probing bool
	round   uint64 // counts openings and closings
}

// Limit and Pause of what logins ask besides the application, whose own are options (docs/adr/0031).
const (
	Limit = 5
	Pause = time.Second
)

// Outcome is what came of a question.
type Outcome uint8

// The outcomes.
const (
	Answered Outcome = iota
	Failed
	Unknown // given up by the caller, which says nothing
)

// Pass is the leave to ask one question.
type Pass struct {
	round uint64
	probe bool
}

// ErrOpen says that a question was not asked.
var ErrOpen = errors.New("failed again and again, and is left alone for a moment")

// Enter gives leave to ask a question, or says ErrOpen. Leave must follow a Pass.
func (b *Breaker) Enter() (Pass, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return Pass{round: b.round}, nil
	case b.now().Before(b.until), b.probing:
		return Pass{}, b.err()
	}
	b.probing = true
	return Pass{b.round, true}, nil
}

// Leave counts what came of a question. An answer closes the breaker, whenever it was asked for; a failure counts if the breaker did not open or close meanwhile:
// those that were asked together with the ones that opened it say nothing new.
func (b *Breaker) Leave(p Pass, how Outcome) {
	b.mu.Lock()
	before := b.round
	if p.probe && p.round == b.round {
		b.probing = false
	}
	switch {
	case how == Answered:
		b.close()
	case how == Failed && p.round == b.round && p.probe:
		b.until = b.now().Add(b.Pause)
	case how == Failed && p.round == b.round:
		if b.failed++; b.failed >= b.Limit && b.Limit > 0 {
			b.until = b.now().Add(b.Pause)
			b.round++
		}
	}
	changed, open := b.round != before, !b.until.IsZero()
	b.mu.Unlock()
	if changed {
		b.tell(open)
	}
}

// Answered counts an answer to a question that was asked without leave.
func (b *Breaker) Answered() { b.Leave(Pass{}, Answered) }

// close is for who holds mu.
func (b *Breaker) close() {
	if b.failed = 0; !b.until.IsZero() {
		b.until, b.probing = time.Time{}, false
		b.round++
	}
}

// Check says ErrOpen while the other side is left alone or probed. Between the two it does not: a node that nobody asks because it is not ready
// would never find out that the other side answers again.
func (b *Breaker) Check() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probing || b.now().Before(b.until) {
		return b.err()
	}
	return nil
}

func (b *Breaker) err() error { return fmt.Errorf("%s %w", b.Name, ErrOpen) }

func (b *Breaker) now() time.Time {
	if b.Now != nil {
		return b.Now()
	}
	return time.Now()
}

func (b *Breaker) tell(open bool) {
	switch {
	case b.Log == nil:
	case open:
		b.Log.Warn(b.Name+" does not answer; logins that need it are unavailable, and it is tried again and again", "every", b.Pause)
	default:
		b.Log.Info(b.Name + " answers again")
	}
}
