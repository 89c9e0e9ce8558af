package gatecast

import "sync"

// queue runs callbacks one at a time and in order, so that the reader never waits for the caller's code. Messages beyond max are
// dropped and counted; states and events are few and always kept.
type queue struct {
	max  int
	wake chan struct{} // room for one; never closed

	mu       sync.Mutex
	items    []queued
	messages int // waiting ones
	dropped  uint64
	closed   bool
	discard  bool // after Close: messages that still wait are not wanted any more
}

type queued struct {
	run     func()
	message bool
}

func newQueue(max int) *queue {
	return &queue{max: max, wake: make(chan struct{}, 1)}
}

func (q *queue) putMessage(run func()) {
	q.mu.Lock()
	if q.messages >= q.max {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.messages++
	q.items = append(q.items, queued{run, true})
	q.mu.Unlock()
	q.signal()
}

func (q *queue) put(run func()) {
	q.mu.Lock()
	q.items = append(q.items, queued{run, false})
	q.mu.Unlock()
	q.signal()
}

func (q *queue) drop() {
	q.mu.Lock()
	q.dropped++
	q.mu.Unlock()
}

// close lets run return once the queue is empty.
func (q *queue) close(discard bool) {
	q.mu.Lock()
	q.closed, q.discard = true, discard
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default: // a wake-up is on its way
	}
}

// run is the goroutine of the callbacks; close ends it.
func (q *queue) run() {
	for {
		item, ok, closed := q.take()
		switch {
		case ok:
			item()
		case closed:
			return
		default:
			<-q.wake
		}
	}
}

func (q *queue) take() (run func(), ok, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) > 0 {
		it := q.items[0]
		q.items[0] = queued{}
		if q.items = q.items[1:]; len(q.items) == 0 {
			q.items = nil // lets a burst's memory go
		}
		if it.message {
			q.messages--
			if q.discard {
				continue
			}
		}
		return it.run, true, false
	}
	return nil, false, q.closed
}
