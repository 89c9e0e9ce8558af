package django

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/authn/django/cache"
)

// sessions is where an engine keeps its sessions.
type sessions interface {
	// session reads one; nil if there is none.
	session(ctx context.Context, key string) (*sessionRow, error)
	// sessions reads many at once, by key. One that cannot be read does not keep the others from being read.
	sessions(ctx context.Context, keys []string) (map[string]*sessionRow, error)
	ping(ctx context.Context) error
	close() error
}

// sessionRow is a session as its engine keeps it.
type sessionRow struct {
	data    string
	plain   bool      // data is the serialised session itself, from a cache, and not signed
	expires time.Time // zero: the engine does not say
	wall    time.Time // expires on the clock that the database's times are written by, told as if it were UTC (see database.wall); zero: expires is all there is
	written time.Time // of engine file, which counts from here
	err     error     // the session cannot be read, which says nothing about the login
}

// openSessions makes what o.Engine needs; nil for signed_cookies, whose sessions are in nobody's keeping.
func openSessions(o *Options, db *database, log *slog.Logger) (sessions, error) {
	switch o.Engine {
	case EngineSignedCookies:
		return nil, nil
	case EngineFile:
		return &files{dir: o.SessionFilePath, cookie: o.CookieName}, nil
	case EngineDB:
		return rows{db}, nil
	}
	silence := log                  // what hears that the cache is left alone
	if o.Engine == EngineCachedDB { // it does without, and says so itself
		silence = nil
	}
	c := &cached{format: o.cacheKey()}
	if strings.HasPrefix(o.Cache, cacheTable) {
		c.cache, db.breakers.cached.Log = tableCache{db}, silence
	} else {
		var err error
		if c.cache, err = cache.Open(cache.Options{Address: o.Cache, Conns: o.CacheConns, Timeout: o.CacheTimeout, Log: silence}); err != nil {
			return nil, fmt.Errorf("authn.django.cache: %w", err)
		}
	}
	if o.Engine == EngineCachedDB {
		return &cachedDB{cached: c, db: db, log: log}, nil
	}
	return c, nil
}

// rows are the sessions of engine db. The database is closed by its owner.
type rows struct{ *database }

func (rows) close() error { return nil }

// cacheKey is the key of a session in the cache, with {session} for its own.
func (o *Options) cacheKey() string {
	prefix := o.CacheSessionPrefix
	if prefix == "" {
		prefix = "django.contrib.sessions." + o.Engine // KEY_PREFIX of cache.py, "django.contrib.sessions.cached_db" of cached_db.py
	}
	return strings.NewReplacer("{prefix}", o.CacheKeyPrefix, "{version}", strconv.Itoa(o.CacheVersion), "{key}", prefix+sessionMark).Replace(o.CacheKeyFormat)
}

const sessionMark = "{session}"

// cached are the sessions of engine cache (django/contrib/sessions/backends/cache.py).
type cached struct {
	cache  cache.Cache
	format string
}

func (c *cached) key(session string) string {
	return strings.ReplaceAll(c.format, sessionMark, session)
}

func (c *cached) session(ctx context.Context, key string) (*sessionRow, error) {
	found, err := c.sessions(ctx, []string{key})
	return found[key], err
}

func (c *cached) sessions(ctx context.Context, keys []string) (map[string]*sessionRow, error) {
	full := make([]string, len(keys))
	for i, key := range keys {
		full[i] = c.key(key)
	}
	entries, err := c.cache.Get(ctx, full...)
	if err != nil {
		return nil, fmt.Errorf("read the session from the cache: %w", err)
	}
	found := make(map[string]*sessionRow, len(entries))
	for i, key := range keys {
		if e, ok := entries[full[i]]; ok {
			found[key] = &sessionRow{data: string(e.Data), plain: true, expires: e.Expires, err: e.Err}
		}
	}
	return found, nil
}

func (c *cached) ping(ctx context.Context) error {
	if err := c.cache.Ping(ctx); err != nil {
		return fmt.Errorf("ask the cache: %w", err)
	}
	return nil
}

func (c *cached) close() error { return c.cache.Close() }

// cachedDB are the sessions of engine cached_db: what the cache does not know, or cannot tell, is asked of the database. It never writes to the cache,
// where Django would fill it.
type cachedDB struct {
	cached *cached
	db     *database
	log    *slog.Logger
	warned atomic.Int64 // when it was last said that the cache does not answer, in unix seconds
}

func (c *cachedDB) session(ctx context.Context, key string) (*sessionRow, error) {
	found, err := c.sessions(ctx, []string{key})
	return found[key], err
}

func (c *cachedDB) sessions(ctx context.Context, keys []string) (map[string]*sessionRow, error) {
	found, err := c.cached.sessions(ctx, keys)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		c.warn(err)
	}
	var missing []string
	for _, key := range keys {
		if row := found[key]; row == nil || row.err != nil {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	if len(missing) == 1 { // the usual question
		row, err := c.db.session(ctx, missing[0])
		if err != nil {
			return nil, err
		}
		if found == nil {
			found = map[string]*sessionRow{}
		}
		delete(found, missing[0])
		if row != nil {
			found[missing[0]] = row
		}
		return found, nil
	}
	fromDB, err := c.db.sessions(ctx, missing)
	if err != nil {
		return nil, err
	}
	for key, row := range found {
		if fromDB[key] == nil && row.err == nil {
			fromDB[key] = row
		}
	}
	return fromDB, nil
}

// warn tells once a minute.
func (c *cachedDB) warn(err error) {
	now, last := time.Now().Unix(), c.warned.Load()
	if now-last >= 60 && c.warned.CompareAndSwap(last, now) {
		c.log.Warn("the site's cache does not answer; sessions are read from its database", "err", err)
	}
}

// ping does without the cache: logins do too.
func (c *cachedDB) ping(ctx context.Context) error { return nil }

func (c *cachedDB) close() error { return c.cached.close() }

// files are the sessions of engine file (django/contrib/sessions/backends/file.py): one file each, named by cookie and key.
type files struct{ dir, cookie string }

func (f *files) session(_ context.Context, key string) (*sessionRow, error) {
	file, err := os.Open(filepath.Join(f.dir, f.cookie+key)) // key is [a-z0-9]: see couldBe
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the session: %w", withoutKey(err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the session: %w", withoutKey(err))
	}
	if info.Size() > 2*maxPayload || !info.Mode().IsRegular() {
		return &sessionRow{err: errors.New("read the session: it is no file of a session")}, nil
	}
	data := make([]byte, info.Size())
	n, err := file.ReadAt(data, 0)
	if err != nil && n == 0 && info.Size() > 0 {
		return nil, fmt.Errorf("read the session: %w", withoutKey(err))
	}
	if n == 0 { // made and not written yet
		return nil, nil
	}
	return &sessionRow{data: string(data[:n]), written: info.ModTime()}, nil
}

// withoutKey takes the path out of an error, for the path holds the session's key.
func withoutKey(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s a file in session_file_path: %w", path.Op, path.Err)
	}
	return err
}

func (f *files) sessions(ctx context.Context, keys []string) (map[string]*sessionRow, error) {
	found := make(map[string]*sessionRow, len(keys))
	for _, key := range keys {
		row, err := f.session(ctx, key)
		if err != nil {
			row = &sessionRow{err: err}
		}
		if row != nil {
			found[key] = row
		}
	}
	return found, ctx.Err()
}

func (f *files) ping(context.Context) error {
	info, err := os.Stat(f.dir)
	if err != nil {
		return fmt.Errorf("session_file_path: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("session_file_path: %s is not a folder", f.dir)
	}
	return nil
}

func (f *files) close() error { return nil }
