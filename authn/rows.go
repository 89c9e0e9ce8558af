package authn

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// RowSource runs the queries of SQL rules. Rows is called concurrently and may block on I/O as long as it honours ctx. It returns the values of Rows, none
// for who is not a user of the query's site; a [*Refused] if they are too many; any other error if they cannot be told now. A RowSource may be a [Pinger].
type RowSource interface {
	Rows(ctx context.Context, q *Query, user string) (values []string, err error)
}

// AskRows has SQL rules ask s. It is to be called before the first login.
func (c *Chain) AskRows(s RowSource) { c.source = s }

// recentRows are the rows of users, by id, for as long as a login is cached: several logins of one user cost one query. All is guarded by Chain.mu.
type recentRows struct {
	limit int // 0 = none
	users map[string]*userRows
	queue []*userRows // by age; those that are in users no more, too
}

// userRows are the rows of one user, and the questions about them that others may wait for.
type userRows struct {
	user    string
	until   time.Time
	rows    []Rows
	flights map[QueryKey]*rowFlight
}

type rowFlight struct {
	done chan struct{} // closed by the leader, when the fields below are set
	rows Rows
	err  error
	left bool // who asked gave up waiting, so err says nothing about the database
}

func (r *recentRows) of(user string, now time.Time, ttl time.Duration) *userRows {
	if u := r.users[user]; u != nil && now.Before(u.until) {
		return u
	}
	r.drop(user)
	r.prune(now)
	for r.limit > 0 && len(r.users) >= r.limit {
		r.dropOldest()
	}
	u := &userRows{user: user, until: now.Add(ttl), flights: make(map[QueryKey]*rowFlight)}
	if r.users == nil {
		r.users = make(map[string]*userRows)
	}
	r.users[user] = u
	r.queue = append(r.queue, u)
	return u
}

// drop forgets a user. Questions under way are answered, and their answers not kept.
func (r *recentRows) drop(user string) { delete(r.users, user) }

func (r *recentRows) dropOldest() {
	if oldest := r.queue[0]; r.users[oldest.user] == oldest {
		r.drop(oldest.user)
	}
	r.queue[0] = nil
	r.queue = r.queue[1:]
}

func (r *recentRows) prune(now time.Time) {
	for len(r.queue) > 0 && !now.Before(r.queue[0].until) {
		r.dropOldest()
	}
	if len(r.queue) > 2*len(r.users)+64 { // users that are forgotten again and again must not fill it
		r.queue = slices.DeleteFunc(r.queue, func(u *userRows) bool { return r.users[u.user] != u })
	}
	if len(r.queue) == 0 {
		r.users, r.queue = nil, nil // maps and slices never shrink by themselves
	}
}

func (u *userRows) get(key QueryKey) (rows Rows, ok bool) {
	i := slices.IndexFunc(u.rows, func(r Rows) bool { return r.Query == key })
	if i < 0 {
		return Rows{}, false
	}
	return u.rows[i], true
}

// withRows gives an identity its rows. With fresh all are asked for again.
func (c *Chain) withRows(ctx context.Context, id *Identity, fresh bool) (*Identity, error) {
	return c.rules.Load().WithRows(ctx, id, func(ctx context.Context, q *Query, user string) (Rows, error) { return c.rowsOf(ctx, q, user, fresh) })
}

var errNoSource = errors.New("there is no database to ask")

// rowsOf asks for the rows of one query, or takes what was asked lately.
func (c *Chain) rowsOf(ctx context.Context, q *Query, user string, fresh bool) (Rows, error) {
	if c.source == nil {
		return Rows{}, errNoSource
	}
	for {
		now := time.Now()
		c.mu.Lock()
		u := c.recent.of(user, now, c.opts.CacheTTL)
		if !fresh {
			if rows, ok := u.get(q.key); ok {
				c.stats.RowsCached++
				c.mu.Unlock()
				return rows, nil
			}
			if f := u.flights[q.key]; f != nil {
				c.mu.Unlock()
				select {
				case <-f.done:
				case <-ctx.Done():
					return Rows{}, ctx.Err()
				}
				if f.left && ctx.Err() == nil {
					continue
				}
				return f.rows, f.err
			}
		}
		f := &rowFlight{done: make(chan struct{}), rows: Rows{Query: q.key}}
		u.flights[q.key] = f
		c.mu.Unlock()

		f.rows.Values, f.err = c.askSource(ctx, q, user)
		f.left = f.err != nil && ctx.Err() != nil

		c.mu.Lock()
		switch {
		case f.err == nil:
			c.stats.RowsAnswered++
		case !f.left:
			c.stats.RowsFailed++
		}
		if u.flights[q.key] == f { // else a later question has the newer answer
			delete(u.flights, q.key)
			if f.err == nil {
				u.rows = append(slices.DeleteFunc(u.rows, func(r Rows) bool { return r.Query == q.key }), f.rows)
			}
		}
		c.mu.Unlock()
		close(f.done)
		return f.rows, f.err
	}
}

// askSource is Rows that cannot panic, as ask is Verify.
func (c *Chain) askSource(ctx context.Context, q *Query, user string) (values []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("an SQL rule panicked", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			values, err = nil, errors.New("internal error, see the log")
		}
	}()
	return c.source.Rows(ctx, q, user)
}

// askers is how many users a sweep asks about at once; what is more waits in any case, for a connection. After as many failures in a row it asks no more.
const askers = 16

// rowSweep looks again at the rows of many logins, and puts what changed into their answers: one question for each user and query.
type rowSweep struct {
	chain *Chain

	mu      sync.Mutex
	answers map[*Identity]Recheck // guarded by mu
	failed  int                   // in a row; guarded by mu
	lastErr error                 // guarded by mu
}

// sweepRows changes answers.
func (c *Chain) sweepRows(ctx context.Context, answers map[*Identity]Recheck) {
	none := len(c.rules.Load().Queries()) == 0
	byUser := make(map[string][]*Identity)
	for id, answer := range answers {
		if none && len(id.Rows) == 0 { // else they are given up: they would count again, and be old, when the rule comes back
			continue
		}
		var refused *Refused
		if !id.Anonymous() && !errors.As(answer.Err, &refused) {
			byUser[id.ID] = append(byUser[id.ID], id)
		}
	}
	s := &rowSweep{chain: c, answers: answers}
	users := make(chan []*Identity) // closed below
	var wg sync.WaitGroup
	for range min(askers, len(byUser)) {
		wg.Go(func() { // ends when users is closed
			for ids := range users {
				for i, id := range ids {
					s.recheck(ctx, id, i == 0) // the first one's answers are new enough for the others
				}
			}
		})
	}
	for _, ids := range byUser {
		users <- ids
	}
	close(users)
	wg.Wait()
}

// recheck completes the answer about one login.
func (s *rowSweep) recheck(ctx context.Context, id *Identity, fresh bool) {
	s.mu.Lock()
	answer, err := s.answers[id], s.lastErr
	if s.failed < askers {
		err = nil
	}
	s.mu.Unlock()
	now := id
	if answer.Identity != nil {
		now = answer.Identity
	}
	renewed := now
	if err == nil {
		renewed, err = s.chain.withRows(ctx, now, fresh)
	}
	var refused *Refused
	gone := errors.As(err, &refused)
	switch {
	case gone:
		answer = Recheck{Err: err}
	case err != nil:
		answer.Err = errors.Join(answer.Err, err)
		if answer.Identity != nil { // what its verifier says holds all the same, with the rows of before
			kept := *answer.Identity
			if kept.Rows, answer.Identity = id.Rows, nil; s.chain.rules.Load().answered(&kept) {
				answer.Identity = &kept
			}
		}
	case renewed != id:
		answer.Identity = renewed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[id] = answer
	if err == nil || gone {
		s.failed = 0
	} else {
		s.failed, s.lastErr = s.failed+1, err
	}
}
