package server

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/gatecast/gatecast/authn"
)

// attempts bounds the failed logins of an address: above the limit it is not looked at what it sends, so that nobody can guess, or keep a database busy,
// faster than that. Logins that are in the cache are not held up.
type attempts struct {
	perSecond int // 0 = no limit
	began     time.Time

	mu          sync.Mutex
	recent, old map[netip.Prefix]gcra // guarded by mu, as is the rest; who fails goes to recent
	turned      time.Duration         // when recent was begun
	tellAt      time.Duration         // when the log may be told again
}

const (
	// maxAttempts bounds the addresses remembered to some 8 MB. When they are more, those that failed first are forgotten.
	maxAttempts = 1 << 16
	tellEvery   = time.Minute
)

// errAttempts is what a login gets that is not looked at.
var errAttempts = errors.New("too many failed logins from this address")

// network is what counts as one address: IPv6 subscribers have a /64 each.
func network(a netip.Addr) (netip.Prefix, bool) {
	a = a.Unmap()
	if !a.IsValid() || a.IsLoopback() { // our own machine: a proxy that is not in trusted_proxies, and all its clients
		return netip.Prefix{}, false
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	return p, err == nil
}

// over tells whether an address has failed too often to be looked at now.
func (t *attempts) over(a netip.Addr) bool {
	if t.perSecond == 0 {
		return false
	}
	key, ok := network(a)
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.get(key)
	return g.room(time.Since(t.began), t.perSecond) == 0
}

// get returns the count of an address. The caller holds mu.
func (t *attempts) get(key netip.Prefix) gcra {
	if g, ok := t.recent[key]; ok {
		return g
	}
	return t.old[key]
}

// count takes the outcome of a login into account. It tells when the log should hear of an address that has reached the limit, once a minute.
func (t *attempts) count(a netip.Addr, err error) (tell bool) {
	if t.perSecond == 0 || !isFailure(err) {
		return false
	}
	key, ok := network(a)
	if !ok {
		return false
	}
	now := time.Since(t.began)
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.get(key)
	g.take(now, 1, t.perSecond)
	t.makeRoom(now)
	t.recent[key] = g
	if tell = g.room(now, t.perSecond) == 0 && now >= t.tellAt; tell {
		t.tellAt = now + tellEvery
	}
	return tell
}

// errStale is how a session counts that is unknown and does not matter.
var errStale = authn.Refuse("unknown_session", nil)

// isFailure tells a credential that was tried and is not good. Who sends none, or a session without a user, guesses nothing, and who comes with a good
// ticket to a node that has just begun neither.
func isFailure(err error) bool {
	var refused *authn.Refused
	return errors.As(err, &refused) && refused.Reason != "no_credential" && refused.Reason != "no_login" && refused.Reason != "ticket_too_early"
}

// makeRoom turns to a new map each second, and sooner if there are many. A count is back at nothing after a second, so what is dropped with the old map, in
// one step however large it is, counts no more. The caller holds mu.
func (t *attempts) makeRoom(now time.Duration) {
	if now-t.turned >= time.Second || len(t.recent) >= maxAttempts/2 {
		t.old, t.recent, t.turned = t.recent, nil, now
	}
	if t.recent == nil {
		t.recent = make(map[netip.Prefix]gcra)
	}
}

// rest gives up what counts no more. Call it now and then; without new failures nothing else would.
func (t *attempts) rest() {
	now := time.Since(t.began)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch age := now - t.turned; {
	case age >= 2*time.Second: // the last of recent failed before it was a second old
		t.old, t.recent, t.turned = nil, nil, now
	case age >= time.Second:
		t.old, t.recent, t.turned = t.recent, nil, now
	}
}
