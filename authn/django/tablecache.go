package django

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/gatecast/gatecast/authn/django/cache"
)

// tableCache reads a DatabaseCache (django/core/cache/backends/db.py): a table of the site's database with the base64 of pickles.
type tableCache struct{ db *database }

// Get implements cache.Cache. One key is a login's.
func (t tableCache) Get(ctx context.Context, keys ...string) (found map[string]cache.Entry, err error) {
	err = t.db.read(ctx, t.db.breakers.cached, len(keys), func(timeout time.Duration) error {
		found, err = t.read(ctx, timeout, keys)
		return err
	})
	return found, err
}

func (t tableCache) read(ctx context.Context, timeout time.Duration, keys []string) (map[string]cache.Entry, error) {
	q, err := t.db.prepare(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := t.db.limit(ctx, timeout)
	defer cancel()
	query, args, err := t.db.dialect.many(q.cache, keys, idText)
	if err != nil {
		return nil, err
	}
	rows, err := t.db.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, t.db.failed("read the cache's table", err)
	}
	defer rows.Close()
	found := make(map[string]cache.Entry, len(keys))
	now := t.db.wall(time.Now())
	for rows.Next() {
		var key, value string
		var expires sql.NullString
		if err := rows.Scan(&key, &value, &expires); err != nil {
			return nil, t.db.failed("read the cache's table", err)
		}
		at, err := time.Parse(wallLayout, expires.String)
		if err != nil {
			found[key] = cache.Entry{Err: fmt.Errorf("read the cache's table: expires is not a time like %q", wallLayout)}
			continue
		}
		if !at.Before(now) {
			found[key] = t.entry(value, at)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, t.db.failed("read the cache's table", err)
	}
	return found, nil
}

func (t tableCache) entry(value string, at time.Time) cache.Entry {
	if len(value) > 2*cache.MaxEntry {
		return cache.Entry{Err: errors.New("the cache entry is too large")}
	}
	data, err := base64.StdEncoding.DecodeString(value)
	e := cache.Entry{Data: data, Err: err}
	if at.Year() < 9999 { // datetime.max is for ever
		e.Expires = t.db.instant(at)
	}
	return e
}

// Ping implements cache.Cache: it says that the table is left alone. The database is asked by its owner.
func (t tableCache) Ping(context.Context) error { return t.db.breakers.cached.Check() }

// Close implements cache.Cache. The database is closed by its owner.
func (tableCache) Close() error { return nil }
