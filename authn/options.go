package authn

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options are the section [authn].
type Options struct {
	// Chain lists the verifiers that may answer for a credential, first to last. A second one of a kind has a name: "django:shop".
	Chain []string `toml:"chain"`
	// Carriers lists where a credential may stand, first to last: cookie, header, subprotocol, query, message, proxy (headers of a trusted proxy), certificate
	// (of the client, by TLS).
	// "query" only by choice: addresses end up in logs.
	Carriers []string `toml:"carriers"`
	// Schemes lists the words that may stand before a token in the Authorization header, in any case. Django REST framework's TokenAuthentication.keyword
	// and knox's AUTH_HEADER_PREFIX are "Token", SimpleJWT's AUTH_HEADER_TYPES "Bearer", unless the site says otherwise. Other schemes count as no credential.
	Schemes []string `toml:"schemes"`
	// TokenHeaders lists further headers that hold a token and nothing else, such as "X-Session-Token" of allauth's headless mode (a session key). They belong
	// to the carrier "header", behind Authorization.
	TokenHeaders []string `toml:"token_headers"`
	// Reject is what a refused handshake gets: "close" upgrades, says why and closes with 44xx, which browsers can read; "http" answers 401 or 403.
	Reject string `toml:"reject"`
	// Anonymous lets in who has no credential, as user "". A bad credential is refused all the same.
	Anonymous bool `toml:"anonymous"`
	// Timeout is how long a conn may take to log in by message, and how long a verifier may take to answer. 0 = no limit.
	Timeout time.Duration `toml:"timeout"`
	// FailedPerSecond bounds the failed logins of one address (IPv6: of one /64), with a burst of one second's worth. Above it what the address sends is not
	// looked at, but for logins in the cache: 4100 with a retry, or 429. Loopback is not counted. 0 = no limit.
	FailedPerSecond int `toml:"failed_per_second"`
	// CacheTTL is how long an accepted login answers for the same credential again without asking its verifier. 0 = never.
	// Refusals are kept for a second at most.
	CacheTTL time.Duration `toml:"cache_ttl"`
	// CacheEntries bounds the accepted logins kept (about 0.5 KB each). 0 = no limit.
	CacheEntries int `toml:"cache_entries"`
	// Revalidate is the time between two looks at every open login. 0 = never: only push and expiry end a login then.
	Revalidate time.Duration `toml:"revalidate"`
	// Tombstones bounds the logged-out sessions remembered (about 0.2 KB each). When they are more, the oldest are forgotten. 0 = no limit.
	Tombstones int `toml:"tombstones"`
}

// DefaultOptions returns the defaults of config.toml.
func DefaultOptions() Options {
	return Options{
		Chain:           []string{"django", "jwt"},
		Carriers:        []string{"cookie", "header", "subprotocol", "message"},
		Schemes:         []string{"Bearer", "Token"},
		Reject:          RejectClose,
		Timeout:         5 * time.Second,
		FailedPerSecond: 20,
		CacheTTL:        10 * time.Second,
		CacheEntries:    65536,
		Revalidate:      60 * time.Second,
		Tombstones:      100000,
	}
}

// Values of Options.Reject.
const (
	RejectClose = "close"
	RejectHTTP  = "http"
)

var carriers = []Carrier{CarrierCookie, CarrierHeader, CarrierSubprotocol, CarrierQuery, CarrierMessage, CarrierProxy, CarrierCertificate}

const longestCache = time.Hour

// Validate reports every value that cannot work. Whether each verifier of the chain is configured is seen by NewChain.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn."+format, args...)) }
	if len(o.Chain) == 0 && !o.Anonymous {
		bad("chain is empty, so nobody could log in; name a verifier, or set anonymous = true")
	}
	for i, name := range o.Chain {
		if name == "" || slices.Contains(o.Chain[:i], name) {
			bad("chain names %q twice or not at all; name each verifier once", name)
		}
	}
	if len(o.Carriers) == 0 && !o.Anonymous {
		bad("carriers is empty, so no credential is looked at; the usual ones are cookie, header, subprotocol, message")
	}
	for i, name := range o.Carriers {
		switch {
		case !slices.Contains(carriers, Carrier(name)):
			names := make([]string, len(carriers))
			for i, c := range carriers {
				names[i] = string(c)
			}
			if near := nearest(name, names); near != "" {
				bad("carriers has %q, which is none; did you mean %q?", name, near)
			} else {
				bad("carriers has %q, which is none; there are %s", name, strings.Join(names, ", "))
			}
		case slices.Contains(o.Carriers[:i], name):
			bad("carriers has %q twice", name)
		}
	}
	for i, name := range o.Schemes {
		switch {
		case name == "" || !tokenChars(name):
			bad("schemes has %q, which is no scheme; write the word before the token, such as \"Token\"", name)
		case slices.ContainsFunc([]string{"basic", "digest", "negotiate", "ntlm"}, func(s string) bool { return strings.EqualFold(s, name) }):
			bad("schemes has %q, which browsers send by themselves and is followed by no token; take it out", name)
		case slices.ContainsFunc(o.Schemes[:i], func(s string) bool { return strings.EqualFold(s, name) }):
			bad("schemes has %q twice", name)
		}
	}
	for i, name := range o.TokenHeaders {
		switch {
		case name == "" || !tokenChars(name) || strings.Contains(name, "_"):
			bad("token_headers has %q, which is no name of a header", name)
		case slices.ContainsFunc([]string{"authorization", "cookie", "origin", "host", "sec-websocket-protocol"}, func(s string) bool { return strings.EqualFold(s, name) }):
			bad("token_headers has %q, which has a meaning of its own; take it out", name)
		case slices.ContainsFunc(o.TokenHeaders[:i], func(s string) bool { return strings.EqualFold(s, name) }):
			bad("token_headers has %q twice", name)
		}
	}
	if o.Reject != RejectClose && o.Reject != RejectHTTP {
		bad("reject = %q is not %q or %q", o.Reject, RejectClose, RejectHTTP)
	}
	if o.CacheTTL < 0 || o.CacheTTL > longestCache {
		bad("cache_ttl = %v is not between 0s and %v", o.CacheTTL, longestCache)
	}
	for _, limit := range []struct {
		key   string
		value int64
	}{{"timeout", int64(o.Timeout)}, {"failed_per_second", int64(o.FailedPerSecond)}, {"revalidate", int64(o.Revalidate)}, {"cache_entries", int64(o.CacheEntries)}, {"tombstones", int64(o.Tombstones)}} {
		if limit.value < 0 {
			bad("%s is negative; 0 = none or no limit", limit.key)
		}
	}
	return errors.Join(errs...)
}
