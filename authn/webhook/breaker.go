package webhook

import (
	"sync"
	"time"
)

// breaker leaves an application alone that does not answer.
//
//	closed ─ failures in a row ─► open ─ after a pause ─► probing: one question ─┬─ answered ─► closed
//	   ▲                           ▲ └──────────────────────────────────────────┴─ failed ───► open
//	   └── an answer resets the count
type breaker struct {
	limit int // 0 = always closed
	pause time.Duration

	mu      sync.Mutex
	failed  int       // in a row
	until   time.Time // open until then; zero = closed
	probing bool
}

// outcome of a question, for the breaker.
type outcome uint8

const (
	answered outcome = iota
	failed
	unknown // given up by the caller, which says nothing
)

// enter tells whether a question may be asked; leave must follow if so.
func (b *breaker) enter(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return true
	case now.Before(b.until), b.probing:
		return false
	}
	b.probing = true
	return true
}

func (b *breaker) leave(now time.Time, how outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	probed := b.probing
	b.probing = false
	switch how {
	case answered:
		b.failed, b.until = 0, time.Time{}
	case failed:
		b.failed++
		if b.limit > 0 && (b.failed >= b.limit || probed) {
			b.until = now.Add(b.pause)
		}
	}
}

// open tells whether the application is being left alone. After the pause it is not: a node that nobody asks because it is not ready would never
// find out that the application answers again.
func (b *breaker) open(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Before(b.until)
}
