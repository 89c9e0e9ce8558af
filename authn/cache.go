package authn

import (
	"crypto/sha256"
	"time"
)

// cacheKey is SHA-256 of the verifier's name in the chain, the carrier and the credential: what lies in the cache is no
// credential.
type cacheKey [sha256.Size]byte

// entry is a verifier's answer to a credential.
type entry struct {
	key   cacheKey
	until time.Time
	id    *Identity // nil with err
	err   error     // ErrNotMine, ErrNoLogin or *Refused
	links [3]struct{ prev, next *entry }
}

// The lists an entry is in.
const (
	byAge = iota
	byUser
	bySession
)

// cache keeps entries until they are old, dropped, or pushed out by newer ones. Not for concurrent use.
type cache struct {
	limit    int // 0 = none
	entries  map[cacheKey]*entry
	ages     list
	users    map[string]*list
	sessions map[string]*list
	most     int // entries there were since the maps were made
}

func newCache(limit int) cache {
	return cache{limit: limit, entries: make(map[cacheKey]*entry), users: make(map[string]*list), sessions: make(map[string]*list)}
}

// get returns the entry of key if it is still good.
func (c *cache) get(key cacheKey, now time.Time) *entry {
	e := c.entries[key]
	if e == nil || !now.Before(e.until) {
		return nil
	}
	return e
}

func (c *cache) put(e *entry, now time.Time) {
	if old := c.entries[e.key]; old != nil {
		c.drop(old)
	}
	c.prune(now)
	for c.limit > 0 && len(c.entries) >= c.limit {
		c.drop(c.ages.first)
	}
	c.entries[e.key] = e
	c.most = max(c.most, len(c.entries))
	c.ages.add(e, byAge)
	if e.id == nil {
		return
	}
	add(c.users, e.id.ID, e, byUser)
	if e.id.SessionHash != "" {
		add(c.sessions, e.id.SessionHash, e, bySession)
	}
}

// worthShrinking is from how many entries on an empty cache gives its maps back: Go's maps never shrink by themselves, and a storm
// of logins would be paid for until the process ends.
const worthShrinking = 1024

// prune drops what is old at the head of the list, which is nearly by age.
func (c *cache) prune(now time.Time) {
	for oldest := c.ages.first; oldest != nil && !now.Before(oldest.until); oldest = c.ages.first {
		c.drop(oldest)
	}
	if len(c.entries) == 0 && c.most >= worthShrinking {
		*c = newCache(c.limit)
	}
}

func (c *cache) drop(e *entry) {
	delete(c.entries, e.key)
	c.ages.remove(e, byAge)
	if e.id == nil {
		return
	}
	remove(c.users, e.id.ID, e, byUser)
	if e.id.SessionHash != "" {
		remove(c.sessions, e.id.SessionHash, e, bySession)
	}
}

func (c *cache) dropUser(id string) {
	for l := c.users[id]; l != nil && l.first != nil; {
		c.drop(l.first)
	}
}

func (c *cache) dropSession(hash string) {
	for l := c.sessions[hash]; l != nil && l.first != nil; {
		c.drop(l.first)
	}
}

// list is doubly linked through the entries.
type list struct{ first, last *entry }

func (l *list) add(e *entry, which int) {
	e.links[which].prev = l.last
	if l.last != nil {
		l.last.links[which].next = e
	} else {
		l.first = e
	}
	l.last = e
}

func (l *list) remove(e *entry, which int) {
	prev, next := e.links[which].prev, e.links[which].next
	if prev != nil {
		prev.links[which].next = next
	} else {
		l.first = next
	}
	if next != nil {
		next.links[which].prev = prev
	} else {
		l.last = prev
	}
	e.links[which].prev, e.links[which].next = nil, nil
}

func add(index map[string]*list, key string, e *entry, which int) {
	l := index[key]
	if l == nil {
		l = &list{}
		index[key] = l
	}
	l.add(e, which)
}

func remove(index map[string]*list, key string, e *entry, which int) {
	l := index[key]
	l.remove(e, which)
	if l.first == nil {
		delete(index, key)
	}
}

// key gives the cache key of a credential for a verifier, and the session hash if the verifier tells it. skip says that
// the verifier needs not be asked: what it reads is not there.
func (l *link) key(cred Credential) (key cacheKey, session string, skip bool) {
	value := cred.Value
	switch {
	case l.keyer != nil:
		var mine bool
		if value, mine = l.keyer.CacheKey(cred); !mine {
			return key, "", true
		}
	case cred.Carrier == CarrierProxy, cred.Carrier == CarrierCertificate:
		return key, "", true
	case cred.Carrier == CarrierCookie:
		value = cred.header
		if l.cookie != nil {
			var ok bool
			if value, ok = cred.Cookie(l.cookie.CookieName()); !ok {
				return key, "", true
			}
		}
	}
	what := byte('v')
	if l.hasher != nil {
		if hash, ok := l.hasher.SessionHash(cred); ok {
			what, value, session = 's', hash, hash
		}
	}
	var stack [256]byte
	b := append(stack[:0], l.index, what)
	b = append(append(b, cred.Carrier...), 0)
	b = append(append(b, cred.Scheme...), 0)
	return sha256.Sum256(append(b, value...)), session, false
}
