package authn

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// longestRefusal is how long anything but an accepted login is remembered at most: a user must not wait for the cache
// after a login or a mended clock.
const longestRefusal = time.Second

// flight is one question to a verifier that several callers wait for.
type flight struct {
	watch
	done    chan struct{} // closed by the leader, when the fields below are set
	id      *Identity
	err     error
	again   bool // the answer was overtaken by ForgetUser: ask again
	waiters int  // guarded by Chain.mu; at 0 the question is cancelled
	cancel  context.CancelCauseFunc
}

// watch is told what is revoked while a lookup or a sweep is under way. Its maps are guarded by Chain.mu and nil at first.
type watch struct {
	users    map[string]struct{}
	sessions map[string]struct{}
	all      bool // users may have been any
}

// forgot tells whether the user was forgotten meanwhile.
func (w *watch) forgot(id string) bool {
	_, one := w.users[id]
	return one || w.all
}

// ErrOvertaken is what a Recheck says of a login whose user was forgotten meanwhile: whoever did that looks again.
var ErrOvertaken = errors.New("the login changes faster than it can be looked up")

// lookup asks l about cred through tombstones, cache and flights.
func (c *Chain) lookup(ctx context.Context, l *link, cred Credential) (*Identity, error) {
	if l.once != nil {
		return c.lookupOneTime(ctx, l, cred)
	}
	key, session, skip := l.key(cred)
	if skip {
		return nil, ErrNotMine
	}
	for range 3 {
		id, err, again := c.lookupOnce(ctx, l, cred, key, session)
		if !again {
			if err != nil && !answered(err) {
				err = fmt.Errorf("authn %s: %w", l.name, err)
			}
			c.count(l, err)
			return id, err
		}
	}
	return nil, fmt.Errorf("authn %s: %w", l.name, ErrOvertaken)
}

// lookupOneTime asks l about a credential that is good for one login: past the cache, and shared with nobody.
func (c *Chain) lookupOneTime(ctx context.Context, l *link, cred Credential) (*Identity, error) {
	if !l.once.OneTime(cred) {
		return nil, ErrNotMine
	}
	w := &watch{}
	c.mu.Lock()
	c.stats.CacheMisses++
	c.watches[w] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.watches, w)
		c.mu.Unlock()
	}()
	if c.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.Timeout)
		defer cancel()
	}
	id, err := l.ask(ctx, c, cred)
	if err == nil {
		id, err = complete(id, l, cred.Carrier)
	}
	if err == nil {
		id, err = c.withRows(ctx, id, false)
	}
	if err == nil {
		id, err = c.landOneTime(ctx, w, id)
	}
	if err != nil && !answered(err) {
		err = fmt.Errorf("authn %s: %w", l.name, err)
	}
	c.count(l, err)
	return id, err
}

// landOneTime is land for a login that cannot be looked up again, as its credential is used up: what was changed meanwhile is reconsidered.
func (c *Chain) landOneTime(ctx context.Context, w *watch, id *Identity) (*Identity, error) {
	for range 3 {
		c.mu.Lock()
		if c.revoked(w, id, time.Now()) {
			c.stats.Revoked++
			c.mu.Unlock()
			return nil, errRevoked
		}
		forgotten := w.forgot(id.ID)
		delete(w.users, id.ID)
		w.all = false
		c.mu.Unlock()
		if !forgotten {
			return id, nil
		}
		var err error
		if id, err = c.Reconsider(ctx, id); err != nil {
			return nil, err
		}
	}
	return nil, ErrOvertaken
}

// peek is lookup in tombstones and cache alone. Answers that leave the decision to another verifier are not counted: if that one's
// is not cached, the credential is looked up once more.
func (c *Chain) peek(l *link, cred Credential) (*Identity, error) {
	if l.once != nil {
		if !l.once.OneTime(cred) {
			return nil, ErrNotMine
		}
		return nil, ErrNotCached
	}
	key, session, skip := l.key(cred)
	if skip {
		return nil, ErrNotMine
	}
	id, err := c.peekKey(key, session)
	if !errors.Is(err, ErrNotCached) && !errors.Is(err, ErrNotMine) {
		c.count(l, err)
	}
	return id, err
}

func (c *Chain) peekKey(key cacheKey, session string) (*Identity, error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.graves.has(session, now) {
		c.stats.Revoked++
		return nil, errRevoked
	}
	if e := c.cached(key, now); e != nil {
		if !errors.Is(e.err, ErrNotMine) {
			c.stats.CacheHits++
		}
		return e.id, e.err
	}
	return nil, ErrNotCached
}

// cached finds an answer in the cache; nil if there is none, if the rules have come to ask more about the user, or if the wall clock was set past the login's
// end. The caller holds c.mu.
func (c *Chain) cached(key cacheKey, now time.Time) *entry {
	for _, cache := range []*cache{&c.accepted, &c.others} {
		if e := cache.get(key, now); e != nil && (e.id == nil || !e.id.expired(now) && c.rules.Load().answered(e.id)) {
			return e
		}
	}
	return nil
}

func (c *Chain) lookupOnce(ctx context.Context, l *link, cred Credential, key cacheKey, session string) (_ *Identity, _ error, again bool) {
	now := time.Now()
	c.mu.Lock()
	if c.graves.has(session, now) {
		c.stats.Revoked++
		c.mu.Unlock()
		return nil, errRevoked, false
	}
	if e := c.cached(key, now); e != nil {
		c.stats.CacheHits++
		c.mu.Unlock()
		return e.id, e.err, false
	}
	if f := c.flights[key]; f != nil {
		c.stats.CacheShared++
		f.waiters++
		c.mu.Unlock()
		select {
		case <-f.done:
			return f.id, f.err, f.again
		case <-ctx.Done():
			c.leave(key, f, context.Cause(ctx))
			return nil, ctx.Err(), false
		}
	}
	// The question outlives the caller's ctx as long as others wait for its answer.
	f := &flight{done: make(chan struct{}), waiters: 1}
	flightCtx := context.WithoutCancel(ctx)
	if c.opts.Timeout > 0 {
		var cancel context.CancelFunc
		flightCtx, cancel = context.WithTimeout(flightCtx, c.opts.Timeout)
		defer cancel()
	}
	flightCtx, f.cancel = context.WithCancelCause(flightCtx)
	c.stats.CacheMisses++
	c.flights[key] = f
	c.watches[&f.watch] = struct{}{}
	c.mu.Unlock()

	stop := context.AfterFunc(ctx, func() { c.leave(key, f, context.Cause(ctx)) })
	id, err := l.ask(flightCtx, c, cred)
	if err == nil {
		id, err = complete(id, l, cred.Carrier)
	}
	if err == nil {
		id, err = c.withRows(flightCtx, id, false)
	}
	stop()
	f.cancel(nil)
	c.land(key, f, id, err)
	return f.id, f.err, f.again
}

// leave gives up waiting for f. The last one out cancels it, and says why: a verifier has to tell a login whose time was up from one that went away.
func (c *Chain) leave(key cacheKey, f *flight, why error) {
	c.mu.Lock()
	f.waiters--
	last := f.waiters == 0
	if last && c.flights[key] == f {
		delete(c.flights, key)
	}
	c.mu.Unlock()
	if last {
		f.cancel(why)
	}
}

// land takes the answer: what was revoked meanwhile is refused, what was changed is asked again, the rest is kept.
func (c *Chain) land(key cacheKey, f *flight, id *Identity, err error) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(f.done)
	delete(c.watches, &f.watch)
	current := c.flights[key] == f
	if current {
		delete(c.flights, key)
	}
	if err == nil {
		if c.revoked(&f.watch, id, now) {
			c.stats.Revoked++
			id, err = nil, errRevoked
			current = false
		} else if f.forgot(id.ID) {
			f.again = true
			return
		}
	}
	f.id, f.err = id, err
	if ttl := c.ttl(id, err, now); current && ttl > 0 {
		e := &entry{key: key, until: now.Add(ttl), id: id, err: err}
		if err == nil {
			id.remember()
			c.accepted.put(e, now)
		} else {
			c.others.put(e, now)
		}
	}
}

// ttl is how long an answer may be kept; 0 = not at all.
func (c *Chain) ttl(id *Identity, err error, now time.Time) time.Duration {
	switch {
	case err == nil && !id.Expires.IsZero():
		return min(c.opts.CacheTTL, id.Expires.Sub(now))
	case err == nil, errors.Is(err, ErrNotMine): // the shape of a credential does not change
		return c.opts.CacheTTL
	case answered(err):
		return min(c.opts.CacheTTL, longestRefusal)
	}
	return 0
}

// ask is Verify that cannot panic: a verifier's bug on one credential is that credential's only.
func (l *link) ask(ctx context.Context, c *Chain, cred Credential) (id *Identity, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("verifier panicked", "verifier", l.name, "carrier", string(cred.Carrier), "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			id, err = nil, errors.New("internal error, see the log")
		}
	}()
	return l.verifier.Verify(ctx, cred)
}

// inspect is ask that uses nothing up.
func (l *link) inspect(ctx context.Context, c *Chain, cred Credential) (*Identity, error) {
	if v, ok := l.verifier.(Inspector); ok {
		inspected := *l
		inspected.verifier = inspecting{v}
		l = &inspected
	}
	return l.ask(ctx, c, cred)
}

// inspecting is an Inspector as a Verifier.
type inspecting struct{ Inspector }

func (v inspecting) Verify(ctx context.Context, c Credential) (*Identity, error) {
	return v.Inspect(ctx, c)
}

// answered tells a verifier's answer from its being unavailable.
func answered(err error) bool {
	var refused *Refused
	return errors.Is(err, ErrNotMine) || errors.Is(err, ErrNoLogin) || errors.As(err, &refused)
}
