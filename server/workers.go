package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/server/loop"
)

// loginJob is one login to verify.
type loginJob struct {
	owner   *owner
	slot    uint32
	gen     uint32
	conn    uuid.UUID
	request *authn.Request
	op      *authOp // nil for a handshake
	queued  time.Time
	began   time.Time
	awaits  error // why it was pending, last; nil if it never was

	accepted *authn.Identity // of a login that was overtaken after its credential was used up; nil for others
}

// workers verify logins off the loops, for a verifier may ask a database.
type workers struct {
	node   *Node
	jobs   chan *loginJob // closed by stop
	parked atomic.Int32   // logins that are pending
	mu     sync.RWMutex   // guards jobs from being closed during a submit
	done   bool
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// waitingLogins is how many logins may wait for a worker, and how many may be pending, before more are refused with 4100 or 503.
const waitingLogins = 16384

// start runs n workers; each ends when stop closes the queue.
func (w *workers) start(node *Node, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	w.node, w.cancel = node, cancel
	w.jobs = make(chan *loginJob, waitingLogins)
	for range n {
		w.wg.Add(1)
		go func() {
			defer w.wg.Done()
			for j := range w.jobs {
				v := node.login(ctx, j)
				if v.err == nil || !w.park(j, v.err) {
					j.answer(v)
				}
			}
		}()
	}
}

// answer brings the outcome to the conn's loop.
func (j *loginJob) answer(v *verdict) {
	j.owner.loop.Post(loop.Task{Kind: taskLogin, Slot: j.slot, Gen: j.gen, P: v})
}

// park queues a login that is pending again when what it waits for is over, or its time is up. Meanwhile it takes no worker. It is false for what is not pending, and
// when there is no room.
func (w *workers) park(j *loginJob, err error) bool {
	var p *authn.Pending
	if !errors.As(err, &p) {
		return false
	}
	if w.parked.Add(1) > waitingLogins {
		w.parked.Add(-1)
		return false
	}
	j.awaits = p.Err
	until, cancel := p.Until, context.CancelFunc(func() {})
	if limit := w.node.opts.authTimeout; limit > 0 {
		until, cancel = context.WithDeadline(until, j.queued.Add(limit))
	}
	context.AfterFunc(until, func() { // in a goroutine of its own, which ends at once
		cancel()
		w.parked.Add(-1)
		w.resume(j)
	})
	return true
}

// resume is submit for a login that has nobody to tell if there is no room.
func (w *workers) resume(j *loginJob) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.done { // and its conn is being closed
		return
	}
	select {
	case w.jobs <- j:
	default:
		j.answer(&verdict{job: j, err: errBusy})
	}
}

// submit queues a job, and tells whether there was room.
func (w *workers) submit(j *loginJob) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.done {
		return false
	}
	select {
	case w.jobs <- j:
		return true
	default:
		return false
	}
}

// stop ends the workers: logins that are queued or under way fail.
func (w *workers) stop() {
	w.mu.Lock()
	if !w.done {
		w.done = true
		w.cancel()
		close(w.jobs)
	}
	w.mu.Unlock()
	w.wg.Wait()
}
