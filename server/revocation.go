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
	mu   sync.RWMutex
	when map[string]time.Time // by "session " + hash or "user " + id
}

// remembered is longer than any login can be on its way.
const remembered = time.Minute

func (r *revocations) session(hash string) { r.add("session " + hash) }
func (r *revocations) user(id string)      { r.add("user " + id) }

func (r *revocations) add(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for k, t := range r.when {
		if now.Sub(t) > remembered {
			delete(r.when, k)
		}
	}
	if r.when == nil {
		r.when = make(map[string]time.Time)
	}
	r.when[key] = now
}

// overtook tells whether the login was revoked since its verification began, so that it must be verified again.
func (r *revocations) overtook(id *authn.Identity, began time.Time) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.when) == 0 {
		return false
	}
	return r.when["session "+id.SessionHash].After(began) || r.when["user "+id.ID].After(began)
}
