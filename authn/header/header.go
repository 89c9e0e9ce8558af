package header

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatecast/gatecast/authn"
)

// Options are the section [authn.header].
type Options struct {
	// User is the header with the user's id, such as "X-Remote-User". Empty: not configured. The proxy must remove it from what clients send.
	User string `toml:"user"`
	// Groups is the header with the user's groups, for rules to "group:…" and {groups}. Empty: no groups. The proxy must remove it too.
	Groups string `toml:"groups"`
	// Separator stands between two groups.
	Separator string `toml:"separator"`
	// UserPrefix goes before the user's id. Set it when another verifier's ids could be the same and mean somebody else.
	UserPrefix string `toml:"user_prefix"`
}

// DefaultOptions returns the defaults of config.toml.
func DefaultOptions() Options { return Options{Separator: ","} }

// maxGroups bounds what a header of 16 KB could make of itself.
const maxGroups = 1000

// Validate reports every value that cannot work. That server.trusted_proxies names somebody is seen by config.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.header."+format, args...)) }
	name := func(key, value string) {
		known := []string{"cookie", "authorization", "host", "origin", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
		switch {
		case strings.ContainsAny(value, "_: \t\r\n"):
			bad("%s = %q is no name of a header that is passed on; write it with -, such as X-Remote-User", key, value)
		case slices.Contains(known, strings.ToLower(value)):
			bad("%s = %q is a header that clients send by themselves; have the proxy use one of its own", key, value)
		}
	}
	name("user", o.User)
	name("groups", o.Groups)
	if o.Groups != "" && strings.EqualFold(o.User, o.Groups) {
		bad("groups is the same header as user")
	}
	if o.Groups != "" && o.User == "" {
		bad("user is empty, so nobody would be logged in; set it to the header with the user's id")
	}
	if o.Separator == "" {
		bad(`separator is empty; use ","`)
	}
	if len(o.UserPrefix) > 64 || strings.ContainsFunc(o.UserPrefix, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		bad("user_prefix: want at most 64 bytes and no control characters")
	}
	return errors.Join(errs...)
}

// Reasons of a refusal, for logs and metrics.
const (
	reasonTwo       = "two_users" // the proxy adds the header to one that the client sent
	reasonMalformed = "malformed"
)

// Verifier answers for what the trusted proxies say. It has no state.
type Verifier struct{ opts Options }

// New checks o.
func New(o Options) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.User == "" {
		return nil, errors.New("authn.header.user is empty; set it to the header with the user's id")
	}
	return &Verifier{o}, nil
}

// CookieName implements authn.CookieNamer: it reads none.
func (v *Verifier) CookieName() string { return "" }

// CacheKey implements authn.CacheKeyer: the headers it reads.
func (v *Verifier) CacheKey(c authn.Credential) (string, bool) {
	user, groups := v.read(c)
	return strings.Join(user, "\n") + "\n\n" + strings.Join(groups, "\n"), len(user) > 0
}

// read gives the values of the headers; no user if this is not for us.
func (v *Verifier) read(c authn.Credential) (user, groups []string) {
	if c.Carrier != authn.CarrierProxy || c.Request == nil || !c.Request.Proxied || c.Request.Headers == nil {
		return nil, nil
	}
	user = c.Request.Headers.Values(v.opts.User)
	if len(user) == 0 || len(user) == 1 && user[0] == "" { // nobody is logged in at the proxy
		return nil, nil
	}
	if v.opts.Groups != "" {
		groups = c.Request.Headers.Values(v.opts.Groups)
	}
	return user, groups
}

// Verify implements authn.Verifier.
func (v *Verifier) Verify(_ context.Context, c authn.Credential) (*authn.Identity, error) {
	user, lists := v.read(c)
	switch {
	case len(user) == 0:
		return nil, authn.ErrNotMine
	case len(user) > 1:
		return nil, authn.Refuse(reasonTwo, fmt.Errorf("the header %s is there %d times: the proxy must remove the client's", v.opts.User, len(user)))
	case len(lists) > 1:
		return nil, authn.Refuse(reasonTwo, fmt.Errorf("the header %s is there %d times: the proxy must remove the client's", v.opts.Groups, len(lists)))
	case !utf8.ValidString(user[0]):
		return nil, authn.Refuse(reasonMalformed, fmt.Errorf("the header %s is no UTF-8", v.opts.User))
	}
	id := &authn.Identity{ID: v.opts.UserPrefix + user[0], Kind: authn.KindUser}
	for _, list := range lists {
		for group := range strings.SplitSeq(list, v.opts.Separator) {
			if group = strings.TrimSpace(group); group == "" || slices.Contains(id.Groups, group) {
				continue
			}
			if len(id.Groups) == maxGroups || !utf8.ValidString(group) {
				return nil, authn.Refuse(reasonMalformed, fmt.Errorf("the header %s has more than %d groups, or is no UTF-8", v.opts.Groups, maxGroups))
			}
			id.Groups = append(id.Groups, group)
		}
	}
	return id, nil
}
