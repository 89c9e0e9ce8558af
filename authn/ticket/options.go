package ticket

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn/django"
)

// Options are the section [authn.ticket].
type Options struct {
	// Key verifies tickets of an application that is not Django: 64 hex characters, any 32 random bytes that it signs with (openssl rand -hex 32). Empty:
	// the ticket_key of [authn.django] and those of its fallbacks.
	Key string `toml:"key" secret:"true"`
	// UserPrefix goes before the user's id, beside Key. Without Key it is that of [authn.django].
	UserPrefix string `toml:"user_prefix"`
	// MaxAge is how long after it was signed a ticket may be used. A ticket that was signed in the future, by a clock that is ahead, waits till then if that is
	// 3 s at most, and is refused if it is more.
	MaxAge time.Duration `toml:"max_age"`
	// Lookup reads is_active, kind, groups and permissions of the user from the database of [authn.django], now and at every revalidation, and not from the
	// ticket. Without it the login lasts until the ticket's expires, a logout of its session or a disconnect.
	Lookup bool `toml:"lookup"`
}

// DefaultOptions returns the defaults of config.toml.
func DefaultOptions() Options { return Options{MaxAge: time.Minute} }

const longestAge = 10 * time.Minute

// Validate reports every value that cannot work.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.ticket."+format, args...)) }
	if o.Key != "" {
		if _, err := django.NewTickets(o.Key); err != nil {
			bad("key has %d characters or is a placeholder: want 64 hex characters, e.g. of: openssl rand -hex 32", len(o.Key))
		}
		if o.Lookup {
			bad("lookup: the users of an application that is not Django cannot be looked up; take out key or lookup")
		}
	} else if o.UserPrefix != "" {
		bad("user_prefix belongs to key; without key it is that of [authn.django]")
	}
	if len(o.UserPrefix) > 64 || strings.ContainsFunc(o.UserPrefix, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		bad("user_prefix: want at most 64 bytes and no control characters")
	}
	if o.MaxAge < time.Second || o.MaxAge > longestAge {
		bad("max_age is %v: want 1s to %v", o.MaxAge, longestAge)
	}
	return errors.Join(errs...)
}
