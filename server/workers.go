package server

import (
	"context"
	"sync"
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
}

// workers verify logins off the loops, for a verifier may ask a database.
type workers struct {
	jobs   chan *loginJob // closed by stop
	mu     sync.RWMutex   // guards closed against a submit at the same time
	done   bool
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// waitingLogins is how many logins may wait for a worker before more are refused with 4100 or 503.
const waitingLogins = 16384

// start runs n workers; each ends when stop closes the queue.
func (w *workers) start(node *Node, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.jobs = make(chan *loginJob, waitingLogins)
	for range n {
		w.wg.Add(1)
		go func() {
			defer w.wg.Done()
			for j := range w.jobs {
				v := node.login(ctx, j)
				j.owner.loop.Post(loop.Task{Kind: taskLogin, Slot: j.slot, Gen: j.gen, P: v})
			}
		}()
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
