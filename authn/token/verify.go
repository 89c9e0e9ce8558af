package token

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
)

// Reasons of a refusal, for logs and metrics.
const (
	reasonUnknown = "unknown_token" // never was, or was deleted: logged out
	reasonExpired = "expired"
	reasonOther   = "other_user" // in a sweep: the token belongs to somebody else now
)

// Verifier answers for the tokens of one Django site. All methods may be called concurrently.
type Verifier struct {
	kinds []kind
	users *django.Users
	now   func() time.Time
}

// Open checks o and connects to the database of site, whose keys it does not need. A database that does not answer yet is no error. Close it.
func Open(ctx context.Context, o Options, site django.Options, log *slog.Logger) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	v := &Verifier{now: time.Now}
	var tables []django.TokenTable
	for _, name := range o.Kinds {
		var k kind
		if name == KindDRF {
			k = newDRF(&o)
		} else {
			k = newKnox(&o)
		}
		v.kinds = append(v.kinds, k)
		tables = append(tables, *k.table())
	}
	if len(v.kinds) == 0 {
		return nil, errors.New(`authn.token.kinds is empty; set it to ["drf"], ["knox"] or both`)
	}
	var err error
	if v.users, err = django.OpenUsers(ctx, site, log, tables...); err != nil {
		return nil, err
	}
	return v, nil
}

// Close closes the connections to the database. No other call may follow.
func (v *Verifier) Close() error { return v.users.Close() }

// Ping implements authn.Pinger.
func (v *Verifier) Ping(ctx context.Context) error { return v.users.Ping(ctx) }

// CookieName implements authn.CookieNamer: neither package puts tokens into cookies.
func (v *Verifier) CookieName() string { return "" }

// Verify implements authn.Verifier. It costs two queries.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	if c.Carrier == authn.CarrierCookie {
		return nil, authn.ErrNotMine
	}
	for i, k := range v.kinds {
		if lookup, value, ok := k.parse(c.Value); ok {
			return v.verify(ctx, ref{kind: i, lookup: lookup, value: value})
		}
	}
	return nil, authn.ErrNotMine
}

func (v *Verifier) verify(ctx context.Context, r ref) (*authn.Identity, error) {
	rows, err := v.users.Tokens(ctx, v.kinds[r.kind].table(), []string{r.lookup})
	if err != nil {
		return nil, err
	}
	row, err := v.judge(rows, r)
	if err != nil {
		return nil, err
	}
	found, err := v.users.Find(ctx, []string{row.User})
	if err != nil {
		return nil, err
	}
	return v.identity(r, row, found[row.User])
}

// judge finds the row of a token and tells whether it is still good.
func (v *Verifier) judge(rows []django.TokenRow, r ref) (*django.TokenRow, error) {
	row := match(rows, r.value)
	switch {
	case row == nil:
		return nil, authn.Refuse(reasonUnknown, errors.New("no such token: it was never there or is deleted"))
	case row.Err != nil:
		return nil, row.Err
	case !row.Expires.IsZero() && !row.Expires.After(v.now()):
		return nil, authn.Refuse(reasonExpired, nil)
	}
	return row, nil
}

// identity is the login of a row, by its user, nil if there is none, as TokenAuthentication of both packages checks it.
func (v *Verifier) identity(r ref, row *django.TokenRow, user *django.User) (*authn.Identity, error) {
	return v.users.Complete(&authn.Identity{Expires: row.Expires, Ref: r.secret()}, user)
}
