package django

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteDialect reads a file that Django writes to at the same time. Each query is a transaction of its own, so it sees every commit before it.
type sqliteDialect struct{ path string }

// openSQLite opens the file read-only twice over: mode=ro keeps SQLite from creating or writing the database, query_only keeps a statement from trying.
// Each connection may keep 256 KB of pages; the system has them all.
// In WAL mode SQLite itself may create the -shm file beside it, so the folder should be writable to us or Django running.
func openSQLite(path string) (*sql.DB, dialect, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		full, _ := filepath.Abs(path)
		return nil, nil, fmt.Errorf("there is no file %s: sqlite:// is followed by the path as it is, relative to config.toml if it does not begin with /", full)
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a file", path)
	}
	name := "file:"
	if filepath.IsAbs(path) {
		name = "file://"
	}
	name += (&url.URL{Path: path}).EscapedPath() + "?mode=ro&_busy_timeout=2000&_query_only=1&_pragma=cache_size(-256)"
	db, err := sql.Open("sqlite", name)
	return db, sqliteDialect{path}, err
}

func (sqliteDialect) columns(ctx context.Context, db *sql.DB, table string) (map[string]string, error) {
	schema, name := "main", table
	if s, n, ok := strings.Cut(table, "."); ok {
		schema, name = s, n
	}
	return readColumns(db.QueryContext(ctx, `SELECT name, lower(type) FROM pragma_table_info(?1, ?2)`, name, schema))
}

func readColumns(rows *sql.Rows, err error) (map[string]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var name, columnType string
		if err := rows.Scan(&name, &columnType); err != nil {
			return nil, err
		}
		found[name] = columnType
	}
	return found, rows.Err()
}

func (sqliteDialect) param() string                     { return "?1" }
func (sqliteDialect) bound(idKind) string               { return "?1" }
func (sqliteDialect) zoned() bool                       { return false }
func (sqliteDialect) clock(column string) string        { return "CAST(" + column + " AS TEXT)" }
func (sqliteDialect) is(column string, _ idKind) string { return column + " = ?1" }
func (sqliteDialect) in(column string, _ idKind) string {
	return column + " IN (SELECT value FROM json_each(?1))"
}
func (sqliteDialect) integer(expression string) string { return "CAST(" + expression + " AS INTEGER)" }
func (sqliteDialect) text(expression string) string    { return "CAST(" + expression + " AS TEXT)" }
func (sqliteDialect) list(expression string) string    { return "json_group_array(" + expression + ")" }
func (sqliteDialect) derived() bool                    { return true }

// batch is small: while a sweep reads, a Django in rollback-journal mode waits with its writes.
func (sqliteDialect) batch() int { return 1000 }

func (sqliteDialect) often() []any { return nil }

// prepares: it would save 20 µs of the 50, and no statement of ours is left in a file that is Django's.
func (sqliteDialect) prepares() bool { return false }

func (sqliteDialect) arg(id string, kind idKind) any {
	if kind == idInteger {
		n, _ := strconv.ParseInt(id, 10, 64) // normalID has parsed it
		return n
	}
	return id
}

func (d sqliteDialect) many(query string, ids []string, kind idKind) (string, []any, error) {
	if kind == idInteger {
		return query, []any{"[" + strings.Join(ids, ",") + "]"}, nil
	}
	list, err := json.Marshal(ids)
	return query, []any{string(list)}, err
}

// undefined: "no such table: t", "no such column: u.c"; SQLite has no code of its own for them.
func (sqliteDialect) undefined(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_ERROR && strings.Contains(e.Error(), "no such ")
}

func (sqliteDialect) outdated(error) bool { return false }

func (sqliteDialect) noRight(error) bool { return false } // SQLite has none

func (d sqliteDialect) explain(err error) (error, bool) {
	var table *wrongTable
	if errors.As(err, &table) {
		return err, true
	}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err, false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY:
		return fmt.Errorf("%s cannot be opened: give gatecast's user the right to read it, and in WAL mode to write to its folder: %w", d.path, err), true
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%s is not a sound SQLite database: %w", d.path, err), true
	case sqlite3.SQLITE_ERROR:
		return err, true
	}
	return err, false
}
