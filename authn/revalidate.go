package authn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Revalidate looks at many logins again, each verifier's at once and all verifiers side by side. It answers one Recheck
// for each identity, in order. Logins of a verifier that is no Revalidator end by expiry and revocation only. Repeated
// pointers cost once; ctx bounds the whole sweep.
func (c *Chain) Revalidate(ctx context.Context, ids []*Identity) []Recheck {
	answers := make(map[*Identity]Recheck, len(ids))
	batches := make(map[string][]*Identity)
	for _, id := range ids {
		if _, seen := answers[id]; seen {
			continue
		}
		answers[id] = Recheck{}
		if id.Anonymous() {
			continue
		}
		batches[id.Verifier] = append(batches[id.Verifier], id)
	}
	w := &watch{}
	c.mu.Lock()
	c.watches[w] = struct{}{}
	c.mu.Unlock()

	results := make(map[string][]Recheck, len(batches))
	var mu sync.Mutex // guards results
	var wg sync.WaitGroup
	for _, l := range c.links {
		batch := batches[l.name]
		if len(batch) == 0 {
			continue
		}
		wg.Go(func() { // ends with the verifier's sweep, which ends with ctx
			got := l.sweep(ctx, c, batch)
			mu.Lock()
			results[l.name] = got
			mu.Unlock()
		})
	}
	wg.Wait()
	for name, batch := range batches {
		got := results[name]
		for i, id := range batch {
			answers[id] = Recheck{Err: errNoAnswer}
			if i < len(got) {
				answers[id] = got[i]
			}
		}
	}
	c.sweepRows(ctx, answers)

	now := time.Now()
	c.mu.Lock()
	delete(c.watches, w)
	for id, answer := range answers {
		if !id.Anonymous() {
			answers[id] = c.settle(w, id, answer, now)
		}
	}
	c.mu.Unlock()

	out := make([]Recheck, len(ids))
	for i, id := range ids {
		out[i] = answers[id]
	}
	return out
}

// Reconsider looks again at a login that was accepted and is not in yet, as its user was forgotten or its session revoked meanwhile: without its credential,
// which may be used up. It returns the login as it is now, or what Authenticate does for one that is none.
func (c *Chain) Reconsider(ctx context.Context, id *Identity) (*Identity, error) {
	for range 3 {
		again := c.Revalidate(ctx, []*Identity{id})[0]
		switch {
		case errors.Is(again.Err, ErrOvertaken):
			continue
		case again.Err != nil:
			return nil, again.Err
		case again.Identity != nil:
			return again.Identity, nil
		}
		return id, nil
	}
	return nil, ErrOvertaken
}

// OneTime tells whether the credential of a login was good for one login only.
func (c *Chain) OneTime(id *Identity) bool {
	return slices.ContainsFunc(c.links, func(l *link) bool { return l.once != nil && l.name == id.Verifier })
}

var errNoAnswer = errors.New("the verifier is not in the chain or gave no answer")

// sweep asks one verifier about its logins.
func (l *link) sweep(ctx context.Context, c *Chain, ids []*Identity) (answers []Recheck) {
	v, ok := l.verifier.(Revalidator)
	if !ok {
		return make([]Recheck, len(ids))
	}
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("verifier panicked in a sweep", "verifier", l.name, "panic", fmt.Sprintf("%T", p))
			answers = nil
		}
	}()
	answers = v.Revalidate(ctx, ids)
	for i := range answers {
		if i == len(ids) {
			break
		}
		a := &answers[i]
		switch {
		case a.Err != nil:
			a.Identity = nil
		case a.Identity == ids[i]:
			a.Identity = nil
		case a.Identity != nil:
			if a.Identity, a.Err = complete(a.Identity, l, ids[i].Carrier); a.Err == nil && a.Identity.ID != ids[i].ID {
				a.Identity, a.Err = nil, Refuse("other_user", nil)
			}
		}
	}
	return answers
}

// settle applies what happened during the sweep to one answer, and takes from the cache what it overtakes. The caller
// holds c.mu.
func (c *Chain) settle(w *watch, id *Identity, answer Recheck, now time.Time) Recheck {
	if c.revoked(w, id, now) {
		return Recheck{Err: errRevoked}
	}
	var refused *Refused
	gone := errors.As(answer.Err, &refused)
	if answer.Identity == nil && !gone && id.expired(now) {
		return Recheck{Err: Refuse("expired", nil)}
	}
	if answer.Err != nil && !gone && answer.Identity == nil {
		return answer
	}
	if w.forgot(id.ID) {
		return Recheck{Err: ErrOvertaken}
	}
	if gone && id.SessionHash != "" {
		c.accepted.dropSession(id.SessionHash)
	} else if gone || answer.Identity != nil {
		c.accepted.dropUser(id.ID)
	}
	return answer
}
