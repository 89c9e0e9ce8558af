package server

import (
	"sync"
	"time"

	"github.com/gatecast/gatecast/authn"
)

// revocations remembers what was revoked in the last minute. The chain itself refuses a revoked login from then
// on; this catches the one that the chain had accepted just before and that was on its way from the worker to
// its loop, where the search for the conns to end could not see it.
type revocations struct {
	mu          sync.RWMutex
	recent, old map[string]time.Time // by "session " + hash or "user " + id
	turned      time.Time            // when recent was begun
}

// remembered is longer than any login can be on its way. What is dropped is dropped a map at a time, for loops wait for mu.
const remembered = time.Minute

func (r *revocations) session(hash string) { r.add("session " + hash) }
func (r *revocations) user(id string)      { r.add("user " + id) }

func (r *revocations) add(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.recent == nil || now.Sub(r.turned) >= remembered {
		r.old, r.recent, r.turned = r.recent, make(map[string]time.Time), now
	}
	r.recent[key] = now
}

// overtook tells whether the login was revoked since its verification began, so that it must be verified again.
func (r *revocations) overtook(id *authn.Identity, began time.Time) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.recent) == 0 {
		return false
	}
	for _, key := range [...]string{"session " + id.SessionHash, "user " + id.ID} {
		if r.recent[key].After(began) || r.old[key].After(began) {
			return true
		}
	}
	return false
}
