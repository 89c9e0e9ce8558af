package authn

import (
	"fmt"
	"log/slog"
	"time"
)

// Kinds of an [Identity].
const (
	KindAnonymous = "anonymous"
	KindUser      = "user"
	KindStaff     = "staff"
	KindSuperuser = "superuser"
)

// Identity is who a Conn is. A verifier makes it, the chain completes and caches it, many Conns of one login share it:
// nobody changes it after Verify returned. Copy it to change it.
type Identity struct {
	// ID is the user's id with the verifier's prefix; "" is anonymous. 1 to 128 bytes, see subject.CheckUserID.
	ID string
	// Kind is one of the Kind constants; the chain puts KindUser where a verifier left it empty.
	Kind string
	// SessionHash is the lower-case hex SHA-256 of the Django session key; "" if the login is no session.
	SessionHash string
	// Expires is when the login ends by itself; zero is never.
	Expires time.Time
	// Groups are the Django group names, Perms the permissions as "app.codename". A superuser's Perms may be empty: it has all.
	Groups, Perms []string
	// Attrs are the values of {attr.NAME} in grants.
	Attrs map[string][]string
	// Claimed are grants that the credential itself carries (JWT claim gatecast); nil is none. They are patterns, not templates.
	Claimed *Patterns
	// Rows are those of the SQL rules that select this identity; the chain puts them there.
	Rows []Rows
	// Verifier is the name in the chain, e.g. "django" or "django:shop"; the chain puts it where it is empty.
	Verifier string
	// Carrier brought the credential; the chain sets it. "" for anonymous.
	Carrier Carrier
	// Ref is what the verifier needs to look at this login again in a sweep (django: the session key). Only that verifier reads it.
	Ref Secret

	memo *memo // nil for those that are not in the cache
}

// expired tells whether the login is over: by the wall clock, for so its issuer meant it.
func (id *Identity) expired(now time.Time) bool {
	return !id.Expires.IsZero() && !now.Before(id.Expires)
}

// Anonymous reports whether nobody is logged in.
func (id *Identity) Anonymous() bool { return id.ID == "" }

// Stale reports whether id is what [Chain.Authenticate] makes of a session that is unknown or has expired, where nobody is welcome too.
func (id *Identity) Stale() bool { return id == stale }

// Ambient reports whether the browser added the credential by itself, so that the page's origin has to be checked.
func (id *Identity) Ambient() bool { return id.Carrier.ambient() }

// rows are those of a query; nil if it was not asked.
func (id *Identity) rows(q *Query) *Rows {
	for i := range id.Rows {
		if id.Rows[i].Query == q.key {
			return &id.Rows[i]
		}
	}
	return nil
}

// LogValue keeps logs to the id, kind and verifier.
func (id *Identity) LogValue() slog.Value {
	if id == nil {
		return slog.StringValue("none")
	}
	return slog.GroupValue(slog.String("user", id.ID), slog.String("kind", id.Kind), slog.String("verifier", id.Verifier))
}

// Patterns are grants as name patterns (unescaped, with '*' and '>').
type Patterns struct{ Join, Subscribe, Publish, Deny []string }

// Secret is a string that never prints itself, also not by %#v, JSON or slog.
type Secret string

const hidden = "[hidden]"

func (Secret) String() string               { return hidden }
func (Secret) GoString() string             { return hidden }
func (Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (Secret) Format(f fmt.State, _ rune)   { fmt.Fprint(f, hidden) }
