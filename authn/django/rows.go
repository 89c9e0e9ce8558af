package django

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/breaker"
)

// Rows runs the SQL rules of [[grants]] in a site's database, on connections of its own, as many as database_conns. All methods may be called
// concurrently. It writes nothing.
type Rows struct {
	opts Options
	db   *database

	// held by whoever looks at the tables
	looking chan struct{} // capacity 1, never closed: a lock that can be waited for with a ctx

	mu       sync.Mutex
	plans    map[authn.QueryKey]*plan   // of queries that were tried; guarded by mu, as are all below
	failures map[authn.QueryKey]failure // of the last look, of queries without a plan
	queries  []*authn.Query             // that are in use, for Ping
	breakers map[authn.QueryKey]*breaker.Breaker
}

// failure is why a query could not be tried.
type failure struct {
	err error
	at  time.Time
}

// plan is a query as it is sent.
type plan struct {
	text    string
	params  int
	id      idKind   // of them
	columns []string // that are wanted

	spelling string // see database.spelling

	stmt   *sql.Stmt   // the text, prepared once on each connection; nil where that is the driver's to do, or not to be done
	closed atomic.Bool // stmt is
}

// Bounds on what a query may give one user.
const (
	maxRows  = 1024
	maxValue = 200 // bytes; no name of a group is longer
)

// OpenRows connects to the site's database. Of o it needs the database, the user table and its primary key. A database that does not answer yet is no
// error, as in [Open]; one that answers and does not know the tables or columns of queries is. Close it.
func OpenRows(ctx context.Context, o Options, log *slog.Logger, queries ...*authn.Query) (*Rows, error) {
	o.Engine, o.VerifyHash = "", false // no session is read here
	if err := o.ValidateUsers(); err != nil {
		return nil, err
	}
	r := &Rows{opts: o, looking: make(chan struct{}, 1), plans: make(map[authn.QueryKey]*plan), failures: make(map[authn.QueryKey]failure),
		breakers: make(map[authn.QueryKey]*breaker.Breaker)}
	var err error
	if r.db, err = connect(&r.opts, log, false); err != nil {
		return nil, err
	}
	if err := r.Try(ctx, queries...); err != nil {
		return nil, errors.Join(err, r.db.close())
	}
	r.Use(queries...)
	return r, nil
}

// Close closes the connections to the database. No other call may follow.
func (r *Rows) Close() error { return r.db.close() }

// Try has queries tried, and changes nothing about those that are in use. The error says that one of them cannot work; a database that does not answer is none.
func (r *Rows) Try(ctx context.Context, queries ...*authn.Query) error {
	r.mu.Lock()
	for _, q := range queries {
		delete(r.failures, q.Key())
	}
	r.mu.Unlock()
	for _, q := range queries {
		_, err := r.plan(ctx, q)
		if err == nil {
			continue
		}
		var refused *authn.Refused
		if _, lasting := r.explain(err); lasting || errors.As(err, &refused) { // which it would be for everybody
			return fmt.Errorf("%q: %w", strings.Join(strings.Fields(q.SQL("{id}")), " "), err) // there may be many
		}
		r.db.log.Warn("the database of an SQL rule does not answer yet; logins it decides about are unavailable until it does", "err", err)
		return nil
	}
	return nil
}

// Use has Ping look after these queries, in place of those before, and forgets what was found out about others.
func (r *Rows) Use(queries ...*authn.Query) {
	used := make(map[authn.QueryKey]bool, len(queries))
	for _, q := range queries {
		used[q.Key()] = true
	}
	r.mu.Lock()
	r.queries = queries
	maps.DeleteFunc(r.failures, func(key authn.QueryKey, _ failure) bool { return !used[key] })
	maps.DeleteFunc(r.breakers, func(key authn.QueryKey, _ *breaker.Breaker) bool { return !used[key] })
	r.mu.Unlock()
	r.forget(func(key authn.QueryKey) bool { return !used[key] })
}

// forget drops plans. It waits for who is asking by them.
func (r *Rows) forget(which func(authn.QueryKey) bool) {
	var dropped []*plan
	r.mu.Lock()
	maps.DeleteFunc(r.plans, func(key authn.QueryKey, p *plan) bool {
		if !which(key) {
			return false
		}
		dropped = append(dropped, p)
		return true
	})
	r.mu.Unlock()
	for _, p := range dropped {
		p.close()
	}
}

// Ping implements authn.Pinger: it tries what was not tried yet, and asks the database for an answer, also while a query is left alone: the node is good for
// those whose rules need others. A database that no query in use is for is not asked.
func (r *Rows) Ping(ctx context.Context) error {
	r.mu.Lock()
	queries := r.queries
	r.mu.Unlock()
	if len(queries) == 0 {
		return nil
	}
	for _, q := range queries {
		if _, err := r.plan(ctx, q); err != nil {
			return err
		}
	}
	ctx, cancel := r.db.limit(ctx, r.db.timeout)
	defer cancel()
	var one int
	if err := r.db.db.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return r.failed("ask the database", err)
	}
	return nil
}

// Rows implements authn.RowSource for the queries of this site. Who cannot be one of its users has no rows. A query that was not answered again and again is
// left alone for a moment; others are asked.
func (r *Rows) Rows(ctx context.Context, q *authn.Query, user string) (values []string, err error) {
	if p, _ := r.planned(q); p != nil {
		if _, ok := r.key(p, user); !ok { // the database is not asked, which is no answer
			return nil, nil
		}
	}
	err = r.breaker(q).Ask(ctx, func() error {
		values, err = r.ask(ctx, q, user)
		return err
	})
	return values, err
}

func (r *Rows) breaker(q *authn.Query) *breaker.Breaker {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.breakers[q.Key()]
	if b == nil {
		b = newBreaker("rows of an SQL rule", r.db.log)
		r.breakers[q.Key()] = b
	}
	return b
}

func (r *Rows) ask(ctx context.Context, q *authn.Query, user string) ([]string, error) {
	p, err := r.plan(ctx, q)
	if err != nil {
		return nil, err
	}
	key, ok := r.key(p, user)
	if !ok {
		return nil, nil
	}
	ctx, cancel := r.db.limit(ctx, r.db.timeout)
	defer cancel()
	var values []string
	otherwise, err := r.spelledOtherwise(ctx, p, key)
	if err == nil && !otherwise {
		values, err = r.run(ctx, p, key)
	}
	if err != nil && r.db.dialect.undefined(err) { // a migration under us
		r.forget(func(authn.QueryKey) bool { return true })
	}
	return values, err
}

// key is a user's primary key. ok is false for who cannot be a user of this site.
func (r *Rows) key(p *plan, user string) (key string, ok bool) {
	spelling, ok := strings.CutPrefix(user, r.opts.UserPrefix)
	if !ok {
		return "", false
	}
	key, ok = normalID(spelling, p.id)
	return key, ok && spelled(key, p.id) == spelling // another one is another user for Gatecast: "007" must not have what 7 may
}

// plan gives how a query is sent, and tries it the first time: as nobody, so that a missing table, column or right is found at start.
func (r *Rows) plan(ctx context.Context, q *authn.Query) (*plan, error) {
	if p, err := r.planned(q); p != nil || err != nil {
		return p, err
	}
	select {
	case r.looking <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the database: %w", ctx.Err())
	}
	defer func() { <-r.looking }()
	if p, err := r.planned(q); p != nil || err != nil {
		return p, err
	}
	p, err := r.look(ctx, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			r.failures[q.Key()] = failure{err: err, at: time.Now()}
		}
		return nil, err
	}
	delete(r.failures, q.Key())
	r.plans[q.Key()] = p
	return p, nil
}

// planned is a plan that is there, or an error that is too young to ask again.
func (r *Rows) planned(q *authn.Query) (*plan, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.plans[q.Key()]; p != nil {
		return p, nil
	}
	if f := r.failures[q.Key()]; f.err != nil && time.Since(f.at) < lookPause {
		return nil, f.err
	}
	return nil, nil
}

func (r *Rows) look(ctx context.Context, q *authn.Query) (*plan, error) {
	ctx, cancel := r.db.limit(ctx, sweepTimeout(r.db.timeout))
	defer cancel()
	id, err := r.detect(ctx)
	if err != nil {
		return nil, err
	}
	p := &plan{text: q.SQL(r.db.dialect.bound(id)), params: 1, id: id, columns: q.Columns(), spelling: r.db.spelling()}
	if r.db.dialect.param() == "?" {
		p.params = q.Params()
	}
	if _, err = r.spelledOtherwise(ctx, p, nobody[id]); err != nil {
		return nil, err
	}
	if r.db.dialect.prepares() {
		if p.stmt, err = r.db.db.PrepareContext(ctx, p.text); err != nil {
			return nil, r.failed("run the sql", err)
		}
	}
	if _, err = r.run(ctx, p, nobody[id]); err != nil {
		p.close()
	}
	return p, err
}

// detect finds out the type of the user's primary key.
func (r *Rows) detect(ctx context.Context) (idKind, error) {
	columns, err := r.db.dialect.columns(ctx, r.db.db, r.opts.UserTable)
	if err != nil {
		return 0, r.failed("look at table "+r.opts.UserTable, err)
	}
	kind, ok := columns[r.opts.UserIDColumn]
	if !ok {
		return 0, wrong("there is no table %s with a column %s: set user_table and user_id_column to where the users of this database are, for {id} has the type of that column", r.opts.UserTable, r.opts.UserIDColumn)
	}
	return idKindOf(kind), nil
}

// run asks for the rows of the user with this key.
func (r *Rows) run(ctx context.Context, p *plan, key string) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	rows, err := r.send(ctx, p, key)
	if err != nil {
		cancel()
		return nil, r.failed("run the sql", err)
	}
	defer rows.Close()
	defer cancel() // before Close, which would read a result of any length to its end
	names, err := rows.Columns()
	if err != nil {
		return nil, r.failed("run the sql", err)
	}
	places := make([]int, len(p.columns))
	for i, want := range p.columns {
		if places[i] = slices.Index(names, want); places[i] < 0 {
			return nil, wrong("the sql gives no column %s for {row.%s}; it gives %s", want, want, strings.Join(names, ", "))
		}
	}
	cells, scan := make([]cell, len(places)), make([]any, len(names))
	for i := range scan {
		scan[i] = unwanted{}
	}
	for i, place := range places {
		scan[place] = &cells[i]
	}
	var found [][]string
	for rows.Next() {
		if len(found) == maxRows {
			return nil, &authn.Refused{Code: authn.CodeForbidden, Reason: "grants", Err: fmt.Errorf("an SQL rule of [[grants]] gives more than %d rows; let it give fewer, with wildcards in the patterns", maxRows)}
		}
		if err := rows.Scan(scan...); err != nil {
			return nil, r.failed("read a row", err)
		}
		row := make([]string, max(1, len(places)))
		for i, c := range cells {
			row[i] = string(c)
		}
		found = append(found, row)
	}
	if err := rows.Err(); err != nil {
		return nil, r.failed("read the rows", err)
	}
	slices.SortFunc(found, slices.Compare)
	found = slices.CompactFunc(found, slices.Equal)
	return slices.Concat(found...), nil
}

// send sends the query as it was prepared, where it was. What was prepared before a migration may hold no more, and is asked for again by its text.
func (r *Rows) send(ctx context.Context, p *plan, key string) (rows *sql.Rows, err error) {
	args := slices.Repeat([]any{r.db.dialect.arg(key, p.id)}, p.params)
	if p.stmt != nil {
		rows, err = p.stmt.QueryContext(ctx, args...)
	} else {
		rows, err = r.db.db.QueryContext(ctx, p.text, slices.Concat(r.db.dialect.often(), args)...)
	}
	if err != nil && (p.closed.Load() || r.db.dialect.outdated(err)) {
		return r.db.db.QueryContext(ctx, p.text, args...)
	}
	return rows, err
}

// close gives back what was prepared. Who has the plan still asks by its text.
func (p *plan) close() {
	if p.stmt != nil {
		p.closed.Store(true)
		p.stmt.Close()
	}
}

func (r *Rows) failed(doing string, err error) error {
	err, _ = r.explain(err)
	return fmt.Errorf("%s: %w", doing, err)
}

// explain adds what to do about an error, and tells whether it stays until somebody does.
func (r *Rows) explain(err error) (error, bool) {
	if advised := new(noRight); errors.As(err, &advised) {
		return err, true
	}
	if r.db.dialect.noRight(err) {
		return &noRight{err}, true
	}
	return r.db.explain(err)
}

// noRight says that the database user may not read what an sql does.
type noRight struct{ err error }

func (e *noRight) Error() string {
	return e.err.Error() + "; GRANT SELECT ON the columns that the sql reads, and on the user table's primary key, to gatecast's database user"
}

func (e *noRight) Unwrap() error { return e.err }
