package django

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/gatecast/gatecast/authn/django/cache"
)

// postgresDialect reads PostgreSQL 12 and later, straight or through pgbouncer in any pool mode: there no statement keeps a name on the server
// (QueryExecModeExec: the unnamed statement, one round trip), and no setting outlives its transaction. Straight, the queries of a login and of SQL rules are
// prepared once a connection: their plan costs the server several times what they do (docs/adr/0027).
type postgresDialect struct {
	noTimeout *atomic.Bool // the server refused statement_timeout at connect
	way       *atomic.Int32
	log       *slog.Logger
}

// What is known of the way to the server. It is never better than it once was.
const (
	wayUnknown int32 = iota
	wayStraight
	wayPooled
)

// openPostgres makes the pool. statement_timeout is the server's own bound on a query, besides our deadline, in case we die; pgbouncer refuses
// it unless it is in ignore_startup_parameters, and then we go without.
func openPostgres(address string, timeout time.Duration, log *slog.Logger) (*sql.DB, dialect, error) {
	config, err := pgx.ParseConfig(address)
	if err != nil {
		var parse *pgconn.ParseConfigError
		if errors.As(err, &parse) {
			parse.ConnString = "authn.django.database" // pgconn would repeat the address, and hide the password as well as it can
		}
		return nil, nil, fmt.Errorf("postgres address: %w", err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "gatecast"
	}
	d := postgresDialect{noTimeout: new(atomic.Bool), way: new(atomic.Int32), log: log}
	d.noTimeout.Store(timeout <= 0 || config.RuntimeParams["statement_timeout"] != "")
	return stdlib.OpenDB(*config, stdlib.OptionAfterConnect(d.look), stdlib.OptionBeforeConnect(func(_ context.Context, c *pgx.ConnConfig) error {
		if !d.noTimeout.Load() {
			c.RuntimeParams = maps.Clone(c.RuntimeParams) // all connections share the map
			c.RuntimeParams["statement_timeout"] = strconv.FormatInt(timeout.Milliseconds(), 10)
		}
		return nil
	})), d, nil
}

// look tells by a new connection whether there is a pooler on the way. One that gives a client another server process for the next query cannot
// let it have the key of one, and makes up its own: the number at connect is then not that of the process.
func (d postgresDialect) look(ctx context.Context, c *pgx.Conn) error {
	var pid int64
	if err := c.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return err
	}
	if pid == int64(c.PgConn().PID()) {
		d.way.CompareAndSwap(wayUnknown, wayStraight)
	} else {
		d.way.Store(wayPooled)
	}
	return nil
}

func (d postgresDialect) often() []any {
	if d.way.Load() == wayStraight {
		return []any{pgx.QueryExecModeCacheStatement}
	}
	return nil
}

func (postgresDialect) prepares() bool { return false }

// columns reads the catalogue, which everybody may, also where the right to select is given column by column. It is the first query there is.
func (d postgresDialect) columns(ctx context.Context, db *sql.DB, table string) (map[string]string, error) {
	const query = `SELECT attname, lower(format_type(atttypid, atttypmod)) FROM pg_catalog.pg_attribute` +
		` WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`
	found, err := readColumns(db.QueryContext(ctx, query, quoteName(table)))
	var e *pgconn.PgError
	if errors.As(err, &e) && strings.Contains(e.Message, "startup parameter") && d.noTimeout.CompareAndSwap(false, true) {
		d.log.Info("the database takes no statement_timeout at connect (pgbouncer?); queries are bounded by query_timeout alone")
		found, err = readColumns(db.QueryContext(ctx, query, quoteName(table)))
	}
	return found, err
}

func (postgresDialect) param() string { return "$1" }
func (postgresDialect) zoned() bool   { return true }
func (postgresDialect) clock(column string) string {
	return `to_char(` + column + ` AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')`
}

func (d postgresDialect) is(column string, kind idKind) string {
	if kind == idText {
		return column + " = $1"
	}
	return column + " = " + d.bound(kind)
}

func (postgresDialect) bound(kind idKind) string {
	switch kind {
	case idInteger:
		return "$1::bigint" // else a number beyond the column's type is an error and not nobody
	case idUUID:
		return "$1::uuid"
	}
	return "$1::text"
}

func (postgresDialect) in(column string, kind idKind) string {
	switch kind {
	case idInteger:
		return column + " = ANY($1::bigint[])"
	case idUUID:
		return column + " = ANY($1::text[]::uuid[])"
	}
	return column + " = ANY($1::text[])"
}

func (postgresDialect) integer(expression string) string {
	return "CAST(" + expression + " AS INTEGER)"
}
func (postgresDialect) text(expression string) string { return "CAST(" + expression + " AS TEXT)" }
func (postgresDialect) list(expression string) string { return "json_agg(" + expression + ")" }
func (postgresDialect) derived() bool                 { return true }

func (postgresDialect) batch() int { return 10000 }

func (postgresDialect) arg(id string, kind idKind) any {
	if kind == idInteger {
		n, _ := strconv.ParseInt(id, 10, 64) // normalID has parsed it
		return n
	}
	return id
}

func (d postgresDialect) many(query string, ids []string, kind idKind) (string, []any, error) {
	if kind != idInteger {
		return query, []any{ids}, nil
	}
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i], _ = strconv.ParseInt(id, 10, 64)
	}
	return query, []any{list}, nil
}

// undefined: undefined_table and undefined_column.
func (postgresDialect) undefined(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "42P01" || e.Code == "42703")
}

// outdated: feature_not_supported is "cached plan must not change result type", invalid_sql_statement_name a name that is gone (DISCARD ALL).
func (postgresDialect) outdated(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "0A000" || e.Code == "26000")
}

// noRight: insufficient_privilege.
func (postgresDialect) noRight(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "42501"
}

// explain knows the SQLSTATEs a new site meets (PostgreSQL manual, appendix A).
func (postgresDialect) explain(err error) (error, bool) {
	var table *wrongTable
	if errors.As(err, &table) {
		return err, true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok && strings.Contains(err.Error(), "\n") {
		err = &oneLine{err}
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return cache.ExplainCertificate(err, "sslrootcert")
	}
	switch {
	case e.Code == "42501":
		return fmt.Errorf("%w; GRANT SELECT ON it to gatecast's database user (the session table, the user table, its two many-to-many tables, auth_group, auth_permission, auth_group_permissions, django_content_type)", err), true
	case e.Code == "3D000":
		return fmt.Errorf("%w; is the name at the end of the address right?", err), true
	case strings.HasPrefix(e.Code, "28"):
		return fmt.Errorf("%w; check user and password in the address, and pg_hba.conf", err), true
	case strings.HasPrefix(e.Code, "42"):
		return err, true
	}
	return err, false
}

// oneLine is an error of pgconn, which gives every try to connect a line of its own, also where two failed alike (sslmode=prefer tries with and without TLS).
type oneLine struct{ error }

func (e *oneLine) Unwrap() error { return e.error }

func (e *oneLine) Error() string {
	head, tries, _ := strings.Cut(e.error.Error(), "\n")
	return head + " " + strings.Join(slices.Compact(strings.Split(strings.TrimSpace(tries), "\n\t")), "; ")
}
