package django

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/authn/breaker"
)

// database reads the site's tables. It holds a fixed number of connections and writes nothing.
type database struct {
	// static
	db      *sql.DB
	dialect dialect
	opts    *Options
	zone    *time.Location // of the times in the session table
	timeout time.Duration  // of one query; 0 = the caller's alone
	log     *slog.Logger

	breakers struct{ session, user, cached *breaker.Breaker } // of what logins ask for

	queries atomic.Pointer[queries] // nil until the tables have been looked at, and when they turn out to have changed

	// held by whoever looks at the tables
	looking   chan struct{} // capacity 1, never closed: a lock that can be waited for with a ctx
	seen      *schema       // of the last look that succeeded; nil = none did
	failure   error         // of the last look
	failureAt time.Time
}

// dialect is what PostgreSQL, SQLite and MySQL differ in.
type dialect interface {
	// columns gives the type of each column, in lower case; none if there is no such table.
	columns(ctx context.Context, db *sql.DB, table string) (map[string]string, error)
	// param is the first parameter in SQL, bound the same as an expression of a primary key's type. "?" has to be given for each place where it stands.
	param() string
	bound(kind idKind) string
	// clock is an expression of "YYYY-MM-DD HH:MM:SS[.ffffff]" for a column of times.
	clock(column string) string
	// zoned tells that times have a zone of their own, so that the site's settings do not matter.
	zoned() bool
	// is and in are conditions that a column is the parameter, or among those of a list; arg makes the parameter of is, and many completes
	// a query with in and makes its parameters.
	is(column string, kind idKind) string
	in(column string, kind idKind) string
	arg(id string, kind idKind) any
	// often comes before the parameters of a query that every login asks, the queries of SQL rules among them.
	often() []any
	many(query string, ids []string, kind idKind) (complete string, args []any, err error)
	// integer and text convert an expression.
	integer(expression string) string
	text(expression string) string
	// list is an aggregate that makes a JSON array.
	list(expression string) string
	// derived tells that a SELECT in FROM may refer to the query around it.
	derived() bool
	// batch bounds the rows of one query of a sweep.
	batch() int
	// explain adds to an error what to do about it; lasting tells that trying again without a change by people is no use.
	explain(err error) (explained error, lasting bool)
	// undefined tells that a table or column of the query is not there.
	undefined(err error) bool
	// prepares tells that the driver prepares each query that has parameters, so that it is as safe, and cheaper, to keep it prepared.
	prepares() bool
	// outdated tells of a query that was prepared that it has to be sent by its text.
	outdated(err error) bool
	// noRight tells that the database's user may not read a table or column.
	noRight(err error) bool
}

// idKind is the type of the user's primary key.
type idKind uint8

const (
	idText idKind = iota
	idInteger
	idUUID
)

// userRow is what one row of the user table and its relations say.
type userRow struct {
	password                 string
	active, staff, superuser bool
	groups, perms            []string
	attrs                    map[string][]string
}

func openDatabase(ctx context.Context, o *Options, log *slog.Logger) (*database, error) {
	d, err := connect(o, log, true)
	if err != nil {
		return nil, err
	}
	if _, err := d.prepare(ctx); err != nil {
		if said, lasting := d.explain(err); lasting {
			d.db.Close()
			return nil, fmt.Errorf("authn.django.database: %w", said)
		}
		log.Warn("the Django database does not answer yet; logins are unavailable until it does", "err", err)
	}
	return d, nil
}

// connect makes the pool; nothing is asked yet. With oneTrip a driver may put parameters into the text of our own queries, where that saves a round trip.
func connect(o *Options, log *slog.Logger, oneTrip bool) (*database, error) {
	address, err := parseDSN(o.Database, o.BaseDir)
	if err != nil {
		return nil, fmt.Errorf("authn.django.database: %w", err)
	}
	d := &database{opts: o, timeout: o.QueryTimeout, log: log, zone: time.UTC, looking: make(chan struct{}, 1)}
	d.breakers.session, d.breakers.user, d.breakers.cached = newBreaker("sessions", log), newBreaker("users", log), newBreaker("the cache's table", log)
	switch {
	case address.path != "":
		d.db, d.dialect, err = openSQLite(address.path)
	case address.mysql != "":
		d.db, d.dialect, err = openMySQL(address.mysql, o.UserTable, oneTrip)
	default:
		d.db, d.dialect, err = openPostgres(address.postgres, sweepTimeout(o.QueryTimeout), log)
	}
	if err != nil {
		return nil, fmt.Errorf("authn.django.database: %w", err)
	}
	if !o.UseTZ && !d.dialect.zoned() { // Validate has loaded it once
		if d.zone, err = time.LoadLocation(o.TimeZone); err != nil {
			return nil, errors.Join(fmt.Errorf("authn.django.time_zone: %w", err), d.db.Close())
		}
	}
	conns, idle := o.DatabaseConns, maxIdle
	if address.path != "" { // a file is read on our own cores, and opening it again is cheap; the memory of a connection is not
		conns, idle = min(conns, max(2, runtime.GOMAXPROCS(0))), maxIdleFile
	}
	d.db.SetMaxOpenConns(conns)
	d.db.SetMaxIdleConns(conns)
	d.db.SetConnMaxIdleTime(idle)
	d.db.SetConnMaxLifetime(30 * time.Minute) // so that a failed-over or resized database is found again
	return d, nil
}

// How long a connection may be idle before it is closed.
const (
	maxIdle     = 5 * time.Minute
	maxIdleFile = 10 * time.Second
)

// sweepTimeout is for queries that read thousands of rows.
func sweepTimeout(query time.Duration) time.Duration { return 10 * query }

func (d *database) close() error { return d.db.Close() }

// limit gives a query its time.
func (d *database) limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}

// ping says what is left alone without asking, and asks otherwise.
func (d *database) ping(ctx context.Context) error {
	if err := errors.Join(d.breakers.session.Check(), d.breakers.user.Check()); err != nil {
		return err
	}
	q, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := d.limit(ctx, d.timeout)
	defer cancel()
	var one int
	if err := d.db.QueryRowContext(ctx, q.ping).Scan(&one); err != nil {
		return d.failed("ask the database", err)
	}
	return nil
}

// failed tells what a query was for. After a migration under us the tables are looked at again, by the next query.
func (d *database) failed(doing string, err error) error {
	if d.dialect.undefined(err) {
		d.queries.Store(nil)
	}
	err, _ = d.explain(err)
	return fmt.Errorf("%s: %w", doing, err)
}

// explained is an error that says what to do about it, and lasts until somebody does.
type explained struct{ error }

func (e *explained) Unwrap() error { return e.error }

// explain is the dialect's, once: an error may have been explained further down.
func (d *database) explain(err error) (said error, lasting bool) {
	if _, already := errors.AsType[*explained](err); already {
		return err, true
	}
	if said, lasting = d.dialect.explain(err); lasting {
		said = &explained{said}
	}
	return said, lasting
}

// wall is t on the clock that the database's times are written by, told as if that were UTC. Times are compared on that clock, as Django does,
// so the repeated hour of a summer-time change means the same to both.
func (d *database) wall(t time.Time) time.Time {
	t = t.In(d.zone)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is the inverse of wall.
func (d *database) instant(w time.Time) time.Time {
	return time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), d.zone)
}

const wallLayout = "2006-01-02 15:04:05.999999"

// session reads one row; nil if there is none.
func (d *database) session(ctx context.Context, key string) (row *sessionRow, err error) {
	err = d.breakers.session.Ask(ctx, func() error {
		row, err = d.readSession(ctx, key)
		return err
	})
	return row, err
}

func (d *database) readSession(ctx context.Context, key string) (*sessionRow, error) {
	q, err := d.prepare(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := d.limit(ctx, d.timeout)
	defer cancel()
	var data string
	var expires sql.NullString
	err = d.db.QueryRowContext(ctx, q.session, append(d.dialect.often(), key)...).Scan(&data, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, d.failed("read the session", err)
	}
	return d.newSessionRow(data, expires), nil
}

// newSessionRow takes NULL too, which is what PostgreSQL makes of 'infinity'.
func (d *database) newSessionRow(data string, expires sql.NullString) *sessionRow {
	at, err := time.Parse(wallLayout, expires.String)
	if err != nil {
		return &sessionRow{err: fmt.Errorf("read the session: expire_date is not a time like %q", wallLayout)}
	}
	return &sessionRow{data: data, wall: at, expires: d.instant(at)}
}

// sessions reads many rows at once, by key. One that cannot be read does not keep the others from being read.
func (d *database) sessions(ctx context.Context, keys []string) (map[string]*sessionRow, error) {
	q, err := d.prepare(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := d.limit(ctx, d.sweepTime(d.breakers.session))
	defer cancel()
	query, args, err := d.dialect.many(q.sessions, keys, idText)
	if err != nil {
		return nil, err
	}
	rows, err := d.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, d.failed("read sessions", err)
	}
	defer rows.Close()
	found := make(map[string]*sessionRow, len(keys))
	for rows.Next() {
		var key, data string
		var expires sql.NullString
		if err := rows.Scan(&key, &data, &expires); err != nil {
			return nil, d.failed("read sessions", err)
		}
		found[key] = d.newSessionRow(data, expires)
	}
	if err := rows.Err(); err != nil {
		return nil, d.failed("read sessions", err)
	}
	d.breakers.session.Answered()
	return found, nil
}

// user reads one user; nil if there is none, also when id cannot be a primary key of this table, or is one in another spelling.
func (d *database) user(ctx context.Context, id string) (row *userRow, err error) {
	if q := d.queries.Load(); q != nil {
		if _, ok := normalID(id, q.schema.id); !ok { // the database is not asked, which is no answer
			return nil, nil
		}
	}
	err = d.breakers.user.Ask(ctx, func() error {
		row, err = d.readUser(ctx, id)
		return err
	})
	return row, err
}

func (d *database) readUser(ctx context.Context, id string) (*userRow, error) {
	q, err := d.prepare(ctx)
	if err != nil {
		return nil, err
	}
	key, ok := normalID(id, q.schema.id)
	if !ok {
		return nil, nil
	}
	ctx, cancel := d.limit(ctx, d.timeout)
	defer cancel()
	scan := q.newScan()
	err = d.db.QueryRowContext(ctx, q.user, append(d.dialect.often(), d.dialect.arg(key, q.schema.id))...).Scan(scan.dst...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, d.failed("read the user", err)
	}
	if !sameKey(scan.id, key, q.schema.id) {
		return nil, nil
	}
	return scan.row(q.schema)
}

// users reads many users at once, by the id they were asked for.
func (d *database) users(ctx context.Context, ids []string) (map[string]*userRow, error) {
	q, err := d.prepare(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := d.limit(ctx, d.sweepTime(d.breakers.user))
	defer cancel()
	asked := make(map[string][]string, len(ids)) // by normal form
	keys := make([]string, 0, len(ids))
	for _, id := range ids {
		key, ok := normalID(id, q.schema.id)
		if !ok {
			continue
		}
		if asked[key] == nil {
			keys = append(keys, key)
		}
		asked[key] = append(asked[key], id)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	query, args, err := d.dialect.many(q.users, keys, q.schema.id)
	if err != nil {
		return nil, err
	}
	rows, err := d.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, d.failed("read users", err)
	}
	defer rows.Close()
	found := make(map[string]*userRow, len(ids))
	scan := q.newScan()
	for rows.Next() {
		if err := rows.Scan(scan.dst...); err != nil {
			return nil, d.failed("read users", err)
		}
		row, err := scan.row(q.schema)
		if err != nil {
			return nil, err
		}
		key, _ := normalID(scan.id, q.schema.id)
		for _, id := range asked[key] {
			found[id] = row
		}
	}
	if err := rows.Err(); err != nil {
		return nil, d.failed("read users", err)
	}
	d.breakers.user.Answered()
	return found, nil
}

// userScan is where a row of the user query goes, column by column.
type userScan struct {
	id                       string
	password                 sql.NullString
	active, staff, superuser int
	groups, perms            string
	attrs                    []sql.NullString
	dst                      []any
}

func (q *queries) newScan() *userScan {
	s := &userScan{attrs: make([]sql.NullString, len(q.schema.attributes))}
	s.dst = append(make([]any, 0, 7+len(s.attrs)), &s.id, &s.password, &s.active, &s.staff, &s.superuser, &s.groups, &s.perms)
	for i := range s.attrs {
		s.dst = append(s.dst, &s.attrs[i])
	}
	return s
}

func (s *userScan) row(schema *schema) (*userRow, error) {
	u := &userRow{password: s.password.String, active: s.active != 0, staff: s.staff != 0, superuser: s.superuser != 0}
	var err error
	if u.groups, err = names(s.groups); err != nil {
		return nil, err
	}
	if u.perms, err = names(s.perms); err != nil {
		return nil, err
	}
	for i, a := range s.attrs {
		if !a.Valid {
			continue
		}
		if u.attrs == nil {
			u.attrs = make(map[string][]string, len(s.attrs))
		}
		u.attrs[schema.attributes[i]] = []string{a.String}
	}
	return u, nil
}

// names reads a JSON array of strings; nulls, which an outer join could make, are left out.
func names(list string) ([]string, error) {
	if list == "[]" {
		return nil, nil
	}
	var all []*string
	if err := json.Unmarshal([]byte(list), &all); err != nil {
		return nil, fmt.Errorf("read the user's groups: %w", err)
	}
	out := make([]string, 0, len(all))
	for _, n := range all {
		if n != nil {
			out = append(out, *n)
		}
	}
	return out, nil
}

// quoteName quotes a table, with or without a schema, or a column. Validate has seen to it that there is no quote in it.
func quoteName(name string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(name, `"`, `""`), ".", `"."`) + `"`
}
