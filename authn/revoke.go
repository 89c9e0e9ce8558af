package authn

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// usualTombstone covers the time between Django's signal and the end of the deletion, and lookups under way.
const usualTombstone = 10 * time.Minute

var errRevoked = Refuse("revoked", nil)

// RevokeSession ends a session, named by the hex SHA-256 of its key: its cached login is dropped, lookups begun before are
// refused, and it is refused unread from now on, for ttl or ten minutes or as long as a verifier needs, whichever is
// longest. What is no such hash is ignored.
func (c *Chain) RevokeSession(sessionHash string, ttl time.Duration) {
	sessionHash = strings.ToLower(sessionHash)
	hash, ok := sessionBytes(sessionHash)
	if !ok {
		return
	}
	ttl = max(ttl, usualTombstone)
	for _, l := range c.links {
		if keeper, ok := l.verifier.(TombstoneKeeper); ok {
			ttl = max(ttl, keeper.TombstoneTTL())
		}
	}
	now := time.Now()
	c.mu.Lock()
	c.accepted.dropSession(sessionHash)
	for w := range c.watches {
		if w.sessions == nil {
			w.sessions = make(map[string]struct{})
		}
		w.sessions[sessionHash] = struct{}{}
	}
	full := c.graves.add(hash, now, ttl)
	c.mu.Unlock()
	if full {
		c.log.Warn("more sessions were revoked than authn.tombstones; the oldest are forgotten", "tombstones", c.opts.Tombstones)
	}
}

// ForgetUser drops what is cached about a user; lookups of this user begun before are made again. The user's logins stay
// good: revalidate or close them.
func (c *Chain) ForgetUser(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted.dropUser(id)
	c.recent.drop(id)
	for w := range c.watches {
		if w.users == nil {
			w.users = make(map[string]struct{})
		}
		w.users[id] = struct{}{}
	}
}

// ForgetAll is ForgetUser for all users: what was said of them may have been missed.
func (c *Chain) ForgetAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted, c.recent = newCache(c.accepted.limit), recentRows{limit: c.recent.limit}
	for w := range c.watches {
		w.all = true
	}
}

// Revoked tells whether a session, by the hash of its key, is known to be revoked.
func (c *Chain) Revoked(sessionHash string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.graves.has(sessionHash, time.Now())
}

// revoked reports whether id's session was revoked before or during what w watches. The caller holds c.mu.
func (c *Chain) revoked(w *watch, id *Identity, now time.Time) bool {
	if id.SessionHash == "" {
		return false
	}
	_, during := w.sessions[id.SessionHash]
	return during || c.graves.has(id.SessionHash, now)
}

// tombstones remember revoked sessions, the oldest first. Not for concurrent use.
type tombstones struct {
	limit  int // 0 = none
	until  map[[32]byte]time.Time
	queue  []tombstone // by time of add; queue[:head] is used up
	head   int
	warned time.Time
}

type tombstone struct {
	hash  [32]byte
	until time.Time
}

func newTombstones(limit int) tombstones {
	return tombstones{limit: limit, until: make(map[[32]byte]time.Time)}
}

// add reports, once a minute at most, that one had to be forgotten before its time.
func (t *tombstones) add(hash [32]byte, now time.Time, ttl time.Duration) (full bool) {
	until := now.Add(ttl)
	if t.until[hash].Before(until) {
		t.until[hash] = until
		t.queue = append(t.queue, tombstone{hash, until})
	}
	for t.head < len(t.queue) {
		oldest := t.queue[t.head]
		stale := t.until[oldest.hash] != oldest.until // extended: it stands again further on
		over := t.limit > 0 && len(t.until) > t.limit
		if !stale && now.Before(oldest.until) && !over {
			break
		}
		if !stale {
			delete(t.until, oldest.hash)
			full = full || now.Before(oldest.until)
		}
		t.head++
	}
	// What was extended stays in the queue behind one that lasts long: a session revoked again and again must not fill it.
	if waiting := len(t.queue) - t.head; t.head > len(t.queue)/2 || waiting > 2*len(t.until)+64 {
		n := copy(t.queue, t.queue[t.head:])
		t.queue = slices.DeleteFunc(t.queue[:n], func(one tombstone) bool { return t.until[one.hash] != one.until })
		t.head = 0
	}
	if full = full && now.Sub(t.warned) > time.Minute; full {
		t.warned = now
	}
	return full
}

func (t *tombstones) has(sessionHash string, now time.Time) bool {
	if len(t.until) == 0 || sessionHash == "" {
		return false
	}
	hash, ok := sessionBytes(sessionHash)
	return ok && now.Before(t.until[hash])
}

func sessionBytes(hash string) (b [32]byte, ok bool) {
	if len(hash) != 2*len(b) {
		return b, false
	}
	_, err := hex.Decode(b[:], []byte(hash))
	return b, err == nil
}

// Prune forgets cached answers that are too old to be used, and returns how many. Call it now and then; without new logins
// nothing else would.
func (c *Chain) Prune() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, before := time.Now(), len(c.accepted.entries)+len(c.others.entries)
	c.accepted.prune(now)
	c.others.prune(now)
	c.recent.prune(now)
	return before - len(c.accepted.entries) - len(c.others.entries)
}
