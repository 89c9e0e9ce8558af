package broker

import (
	"context"
	"strconv"
	"time"
)

// barrierWithin is how long the other nodes may take to answer a barrier.
const barrierWithin = 3 * time.Second

// askAgain is when a request without an answer is repeated.
const askAgain = 250 * time.Millisecond

// coalesce is how long an add waits for company while another barrier is under way.
const coalesce = 5 * time.Millisecond

// barrier makes subscriptions known to all publishers.
//
// The SUB and then one request to each peer travel the same connection and account, and a route hands on both in that order. So when
// a peer answers, its server has the interest, and whatever it publishes from then on comes here. A barrier carries all adds of a few milliseconds.
//
//	Join ─► SUB ─► queue ─► request to every peer ─► all answered or gone ─► ready
//	                                    └─ one silent for 3 s ─► undone, ErrTimeout
type barrier struct {
	begun   time.Time
	asked   time.Time // last
	adds    []*interest
	settled func(error)         // of Settle, nil for a barrier of adds
	waiting map[string]struct{} // tokens of the peers that have not answered
}

// enqueue puts it into the next barrier, begun at once if none is under way. mu is held.
func (b *Broker) enqueue(it *interest) {
	b.queue = append(b.queue, it)
	if len(b.barriers) == 0 {
		b.beginBarrier()
	} else if len(b.queue) == 1 {
		b.coalesce.Reset(coalesce)
	}
}

// onCoalesced runs when adds have waited long enough.
func (b *Broker) onCoalesced() {
	b.mu.Lock()
	b.beginBarrier()
	done := b.settle()
	b.mu.Unlock()
	done.call()
}

// beginBarrier asks every peer. mu is held.
func (b *Broker) beginBarrier() {
	if len(b.queue) == 0 {
		return
	}
	b.ask(&barrier{adds: b.queue})
	b.queue = nil
}

// ask begins br. mu is held; settle follows if there may be no peers.
func (b *Broker) ask(br *barrier) {
	br.begun = time.Now()
	br.asked, br.waiting = br.begun, make(map[string]struct{}, len(b.peers))
	b.barrierID++
	b.barriers[b.barrierID] = br
	for _, p := range b.peers {
		br.waiting[p.token] = struct{}{}
	}
	for token := range br.waiting {
		b.askSync(b.barrierID, token)
	}
}

// Settle returns when every message that was published before the call, on any node, has been handed to [Handler.Deliver] here, if its
// group has members; or with an error when a node does not answer in time. Answers to a barrier come behind what their node had published;
// what was published here was handed over at once.
func (b *Broker) Settle(ctx context.Context) error {
	answered := make(chan error, 1)
	b.mu.Lock()
	if !b.serving {
		b.mu.Unlock()
		return ErrUnavailable
	}
	b.ask(&barrier{settled: func(err error) { answered <- err }})
	done := b.settle()
	b.mu.Unlock()
	done.call()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Broker) askSync(id uint64, token string) {
	reply := b.sub.relayInbox + "s." + strconv.FormatUint(id, 10) + "." + token
	b.relay.request(b.sub.sync+token, reply, nil)
}

// onSynced takes a peer's answer, or the server's that nobody is there: a peer that is gone publishes nothing.
func (b *Broker) onSynced(id uint64, token string) {
	b.mu.Lock()
	if br := b.barriers[id]; br != nil {
		delete(br.waiting, token)
	}
	done := b.settle()
	b.mu.Unlock()
	done.call()
}

// syncGone counts a peer that left as answered. mu is held; settle follows.
func (b *Broker) syncGone(token string) {
	for _, br := range b.barriers {
		delete(br.waiting, token)
	}
}

// syncAgain repeats the requests that a lost route may have swallowed. mu is held.
func (b *Broker) syncAgain(token string) {
	for id, br := range b.barriers {
		if _, ok := br.waiting[token]; ok {
			b.askSync(id, token)
		}
	}
}

// told are callbacks to call without locks.
type told []func()

func (t told) call() {
	for _, f := range t {
		f()
	}
}

// settle ends the barriers that wait for nobody and begins the next. mu is held; the caller calls the result after unlocking.
func (b *Broker) settle() (out told) {
	for id, br := range b.barriers {
		if len(br.waiting) > 0 {
			continue
		}
		delete(b.barriers, id)
		b.count.barrier(time.Since(br.begun))
		if br.settled != nil {
			out = append(out, func() { br.settled(nil) })
		}
		for _, it := range br.adds {
			if it.state != pending {
				continue
			}
			it.state = ready
			b.pendingJoins--
			for _, w := range it.waiters {
				out = append(out, func() { w(nil) })
			}
			it.waiters = nil
		}
	}
	if len(b.barriers) == 0 && len(b.queue) > 0 {
		b.beginBarrier()
		if len(b.peers) == 0 {
			out = append(out, b.settle()...)
		}
	}
	return out
}

// expireBarriers repeats requests, and undoes the adds that a silent peer held up for too long. It runs every tick.
func (b *Broker) expireBarriers(now time.Time) {
	b.mu.Lock()
	var out told
	for id, br := range b.barriers {
		if now.Sub(br.begun) < barrierWithin {
			if now.Sub(br.asked) >= askAgain { // a route that closed may have swallowed the request or the answer
				br.asked = now
				for token := range br.waiting {
					b.askSync(id, token)
				}
			}
			continue
		}
		delete(b.barriers, id)
		b.count.barrierTimeouts.Add(1)
		for token := range br.waiting {
			b.log.Warn("a node does not answer", "node", token, "groups", len(br.adds))
		}
		out = append(out, b.failBarrier(br, ErrTimeout)...)
	}
	out = append(out, b.settle()...)
	b.mu.Unlock()
	out.call()
}

// failBarrier ends br with an error. mu is held.
func (b *Broker) failBarrier(br *barrier, err error) told {
	out := b.fail(br.adds, err)
	if br.settled != nil {
		out = append(out, func() { br.settled(err) })
	}
	return out
}

// fail undoes adds. mu is held.
func (b *Broker) fail(adds []*interest, err error) (out told) {
	for _, it := range adds {
		for _, w := range b.undo(it) {
			out = append(out, func() { w(err) })
		}
	}
	return out
}

// failAll undoes every add that is not ready, when the link is lost. mu is held.
func (b *Broker) failAll(err error) (out told) {
	for id, br := range b.barriers {
		out = append(out, b.failBarrier(br, err)...)
		delete(b.barriers, id)
	}
	out = append(out, b.fail(b.queue, err)...)
	b.queue = nil
	return out
}
