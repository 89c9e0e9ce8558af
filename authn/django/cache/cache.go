package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Cache is one of the site's CACHES. All methods may be called concurrently.
type Cache interface {
	// Get reads the entries that are there. An error says that it cannot be told; one entry that cannot be read says so itself.
	Get(ctx context.Context, keys ...string) (map[string]Entry, error)
	// Ping tells whether the cache answers.
	Ping(ctx context.Context) error
	// Close closes what is held open. No other call may follow.
	Close() error
}

// Entry is the value of one key.
type Entry struct {
	// Data is what the cache's serializer wrote, no longer compressed.
	Data []byte
	// Expires is when the entry ends; zero if it does not, or if the server does not tell.
	Expires time.Time
	// Err says that the entry is there and cannot be read.
	Err error
}

// MaxEntry bounds a value, before and after it is inflated.
const MaxEntry = 1 << 20

var errTooLarge = fmt.Errorf("the cache entry is larger than %d bytes", MaxEntry)

// Options say which cache, and how much it may be asked.
type Options struct {
	// Address is redis://, rediss://, unix://, memcached:// or file://.
	Address string
	// Conns bounds the connections to each server.
	Conns int
	// Timeout bounds one call. 0 = the caller's ctx alone.
	Timeout time.Duration
	// Log hears when a server falls silent and when it answers again. May be nil.
	Log *slog.Logger
}

// Open makes a Cache. It connects when first asked.
func Open(o Options) (Cache, error) {
	a, err := parse(o.Address)
	if err != nil {
		return nil, err
	}
	switch {
	case a.redis != nil:
		return openRedis(a.redis, o)
	case a.memcached != nil:
		return openMemcached(a.memcached, o), nil
	}
	return openFiles(a.dir)
}

// Check tells what is wrong with an address, without repeating it: it may hold a password.
func Check(address string) error {
	_, err := parse(address)
	return err
}

// address is an Options.Address taken apart; one of its fields is set.
type address struct {
	redis     *redisAddress
	memcached *memcachedAddress
	dir       string
}

var (
	errForms   = errors.New(`want "redis://host:6379/0", "memcached://host:11211", "file:///dir" or "db://table"`)
	errEncoded = errors.New("the address cannot be read: in user and password, special characters are percent-encoded (@ is %40, / is %2F, # is %23, : is %3A)")
)

func parse(text string) (address, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return address{}, errForms
	}
	switch strings.ToLower(scheme) {
	case "redis", "rediss", "unix":
		a, err := parseRedis(strings.ToLower(scheme), rest)
		return address{redis: a}, err
	case "memcached":
		a, err := parseMemcached(rest)
		return address{memcached: a}, err
	case "file":
		if !strings.HasPrefix(rest, "/") || strings.ContainsRune(rest, 0) {
			return address{}, errors.New("want file:// and an absolute path, such as file:///var/tmp/django_cache")
		}
		return address{dir: rest}, nil
	}
	return address{}, errForms
}

// options takes the known options out of a query and refuses the others by name.
func options(query url.Values, known ...string) (map[string]string, error) {
	got := map[string]string{}
	for _, name := range known {
		if query.Has(name) {
			got[name] = query.Get(name)
			query.Del(name)
		}
	}
	for name := range query {
		if strings.Contains(name, "@") { // the end of a password with a question mark in it
			return nil, errEncoded
		}
		return nil, fmt.Errorf("the option %.40q is not known: there are %s", name, strings.Join(known, ", "))
	}
	return got, nil
}
