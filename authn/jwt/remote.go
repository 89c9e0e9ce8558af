package jwt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatecast/gatecast/authn"
)

const (
	// fetchTimeout bounds one fetch.
	fetchTimeout = 5 * time.Second
	// askInterval is the least time between a fetch and one that a token with an unknown key asks for: anybody can make up such tokens.
	askInterval = 10 * time.Second
	// firstPause is how long after a fetch that failed the next one comes; it doubles up to longestPause.
	firstPause   = 2 * time.Second
	longestPause = time.Minute
)

// remote keeps the keys of jwks fresh. Its goroutine alone fetches, one at a time; logins use what it has, and are pending only when they need a key
// that is not there.
//
//	fetch ──good──► set, before ──refresh──► fetch          before is the set of the fetch before
//	  ▲ └──failed──► the old set goes on until keep is over ──pause──┐
//	  └──────────────────────── wake ◄── a key is missed ────────────┘
type remote struct {
	// static
	source
	refresh, keep time.Duration
	log           *slog.Logger
	wake          chan struct{} // capacity 1, never closed
	cancel        context.CancelFunc
	done          chan struct{} // closed by run when it ends

	mu      sync.Mutex // guards all below
	set     *keySet    // nil before the first fetch that succeeded
	before  *keySet
	text    [sha256.Size]byte // of the document of set
	good    time.Time         // when the last fetch succeeded
	tried   time.Time         // when the last fetch began
	failure error             // of the last fetch
	busy    bool              // a fetch is under way
	round   context.Context   // over when that fetch ends, or else the next one
	over    context.CancelFunc
}

// startRemote begins to fetch. Until that is done it has the keys of old, which fetches from the same address and may be nil, or those of
// a file. The caller must close it.
func startRemote(s source, o *Options, old *remote, log *slog.Logger) *remote {
	ctx, cancel := context.WithCancel(context.Background())
	r := &remote{
		source: s, refresh: o.JWKSRefresh, keep: o.JWKSKeep, log: log.With("jwks", s.where),
		wake: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{}),
	}
	r.round, r.over = context.WithCancel(context.Background())
	if s.first != nil {
		r.set, r.text, r.good = s.first, s.text, time.Now()
	} else if old != nil {
		old.mu.Lock()
		r.set, r.before, r.text, r.good = old.set, old.before, old.text, old.good
		old.mu.Unlock()
	}
	go r.run(ctx) // ends with close
	return r
}

func (r *remote) close() {
	r.cancel()
	<-r.done
}

func (r *remote) run(ctx context.Context) {
	defer r.last()
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
			if !r.mayAsk() {
				continue
			}
		}
		if r.renew(ctx) {
			failures = 0
		} else {
			failures++
		}
		timer.Reset(r.pause(failures))
	}
}

// last lets go of who is pending: with other keys by now, or with none.
func (r *remote) last() {
	close(r.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over()
}

// pause is the time to the next fetch, spread so that the nodes of a cluster do not ask at once.
func (r *remote) pause(failures int) time.Duration {
	d := r.refresh
	if failures > 0 {
		d = min(d, longestPause, firstPause<<min(failures-1, 10))
	}
	return d - rand.N(d/8)
}

func (r *remote) mayAsk() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.tried) >= askInterval
}

// renew fetches once and tells whether that succeeded.
func (r *remote) renew(ctx context.Context) bool {
	r.mu.Lock()
	r.tried, r.busy = time.Now(), true
	r.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	text, err := r.fetch(limited)
	if ctx.Err() != nil { // last is next
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over()
	r.round, r.over = context.WithCancel(context.Background())
	r.busy = false
	sum := sha256.Sum256(text)
	set, changed := r.set, false
	if err == nil && (set == nil || sum != r.text) {
		set, err = parseSet(text)
		changed = true
	}
	if err != nil {
		if r.failure == nil {
			r.log.Warn("authn.jwt.jwks cannot be fetched", "err", err, "keys_until_then", r.set.len())
		}
		r.failure = err
		return false
	}
	if changed || r.failure != nil {
		r.log.Info("authn.jwt.jwks fetched", "keys", set.len(), "skipped", set.skipped)
	}
	r.before, r.set, r.text, r.good, r.failure = r.set, set, sum, time.Now(), nil
	return true
}

// current is the set there is; nil with the reason if there is none, or only one that is too old.
func (r *remote) current() (*keySet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.currentLocked()
}

func (r *remote) currentLocked() (*keySet, error) {
	switch {
	case r.set == nil && r.failure == nil:
		return nil, fmt.Errorf("no keys from %s yet", r.where)
	case r.set == nil:
		return nil, fmt.Errorf("no keys from %s yet: %w", r.where, r.failure)
	case r.keep > 0 && time.Since(r.good) > r.keep:
		return nil, fmt.Errorf("the keys from %s are older than authn.jwt.jwks_keep: %w", r.where, r.failure)
	}
	return r.set, nil
}

// newer gives a set newer than old, which lacks a key. With a fetch under way, and if the last is long enough ago for another, the answer is
// pending: nobody waits here, for made-up keys would hold every worker as long as a fetch takes. Without a newer set it returns nil, and an error if that
// says nothing about the key.
func (r *remote) newer(old *keySet) (*keySet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set != old || !r.busy && time.Since(r.tried) < askInterval {
		return r.unlike(old)
	}
	if r.round.Err() != nil {
		return nil, errClosed
	}
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
	return nil, &authn.Pending{Until: r.round, Err: fmt.Errorf("the keys are being fetched from %s", r.where)}
}

// first waits for the first fetch, unless there are keys before it.
func (r *remote) first(ctx context.Context) {
	r.mu.Lock()
	round := r.round
	had := r.set != nil || r.failure != nil
	r.mu.Unlock()
	if had {
		return
	}
	select {
	case <-round.Done():
	case <-ctx.Done():
	}
}

var errClosed = errors.New("the keys were replaced by a reload; try again")

// unlike gives the set if it is not old. The caller holds mu.
func (r *remote) unlike(old *keySet) (*keySet, error) {
	set, err := r.currentLocked()
	switch {
	case err != nil:
		return nil, err
	case set != old:
		return set, nil
	case r.failure != nil:
		return nil, fmt.Errorf("fetch the keys from %s: %w", r.where, r.failure)
	}
	return nil, nil
}

// knows tells whether a key is in the set or was in the one before: a provider's machines may disagree for a moment.
func (r *remote) knows(mark authn.Secret) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set, err := r.currentLocked()
	if err != nil {
		return false, err
	}
	return hasMark(set.keys, mark) || r.before != nil && hasMark(r.before.keys, mark), nil
}

func (s *keySet) len() int {
	if s == nil {
		return 0
	}
	return len(s.keys)
}
