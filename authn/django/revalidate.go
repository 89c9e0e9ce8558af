package django

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/gatecast/gatecast/authn"
)

// Revalidate implements authn.Revalidator: two queries for a batch of logins, one with signed_cookies, one and a question to the cache with the others. PostgreSQL takes 10,000 logins a batch.
func (v *Verifier) Revalidate(ctx context.Context, ids []*authn.Identity) []authn.Recheck {
	answers := make([]authn.Recheck, 0, len(ids))
	for batch := range slices.Chunk(ids, v.db.dialect.batch()) {
		answers = append(answers, v.sweep(ctx, batch)...)
	}
	return answers
}

func (v *Verifier) sweep(ctx context.Context, ids []*authn.Identity) []authn.Recheck {
	answers := make([]authn.Recheck, len(ids))
	all := func(err error) []authn.Recheck {
		for i := range answers {
			answers[i] = authn.Recheck{Err: err}
		}
		return answers
	}
	rows, err := v.rows(ctx, ids)
	if err != nil {
		return all(err)
	}
	logins := make([]login, len(ids))
	fresh := make([]*authn.Identity, len(ids)) // carries the new expiry until the user is known
	asked := map[string]bool{}
	for i, id := range ids {
		l, expires, err := v.read(string(id.Ref), rows[string(id.Ref)])
		switch {
		case errors.Is(err, authn.ErrNoLogin): // the session lives on, without its user
			err = authn.Refuse(reasonUnknownSession, nil)
		case err == nil && v.opts.UserPrefix+l.user != id.ID:
			err = authn.Refuse(reasonOtherUser, nil)
		}
		if err != nil {
			answers[i].Err = err
			continue
		}
		logins[i], fresh[i] = l, &authn.Identity{Expires: expires}
		asked[l.user] = true
	}
	users, err := v.users(ctx, asked)
	for i, id := range ids {
		if fresh[i] == nil {
			continue
		}
		if err != nil {
			answers[i].Err = err
			continue
		}
		answers[i] = v.recheck(id, logins[i], users[logins[i].user], fresh[i])
	}
	return answers
}

// rows reads the sessions; none with signed_cookies.
func (v *Verifier) rows(ctx context.Context, ids []*authn.Identity) (map[string]*sessionRow, error) {
	if v.kept == nil {
		return nil, nil
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = string(id.Ref)
	}
	return v.kept.sessions(ctx, keys)
}

func (v *Verifier) users(ctx context.Context, asked map[string]bool) (map[string]*userRow, error) {
	if len(asked) == 0 {
		return nil, nil
	}
	return v.db.users(ctx, slices.Collect(maps.Keys(asked)))
}

// recheck compares what a login was with what it is. old stays as it is: other Conns share it.
func (v *Verifier) recheck(old *authn.Identity, l login, u *userRow, fresh *authn.Identity) authn.Recheck {
	id, err := v.identity(string(old.Ref), l, u, fresh.Expires)
	if err != nil {
		return authn.Recheck{Err: err}
	}
	if v.sameEnd(id.Expires, old.Expires) {
		id.Expires = old.Expires
	}
	return Compare(old, id)
}

// sameEnd compares two times of expiry. A cache tells the time that is left, so a second more or less is the way there and back.
func (v *Verifier) sameEnd(a, b time.Time) bool {
	return a.Equal(b) || v.opts.cached() && !a.IsZero() && !b.IsZero() && a.Sub(b).Abs() <= 2*time.Second
}

// sameSet compares without order: SQL promises none.
func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	if slices.Equal(a, b) {
		return true
	}
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
