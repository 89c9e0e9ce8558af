package ticket

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django"
)

// Reasons of a refusal, for logs and metrics.
const (
	reasonBadSignature = "bad_signature"
	reasonMalformed    = "malformed"
	reasonTooOld       = "expired"         // past max_age, or the login it is for has ended
	reasonFuture       = "from_the_future" // signed by a clock that is ahead
	reasonUsed         = "ticket_used"
	reasonTooEarly     = "ticket_too_early" // signed before the cluster began, so nobody knows whether it was used
	reasonRevoked      = "revoked"          // its session was logged out, as an older node knows
)

// leeway is how far the application's clock may be ahead of ours. A login waits for as long, so it is less than authn.timeout usually is.
const leeway = 3 * time.Second

// Verifier answers for the tickets of one application. All methods may be called concurrently.
type Verifier struct {
	opts   Options
	keys   *django.Tickets
	prefix string
	users  *django.Users // nil without lookup
	ledger *Ledger
	now    func() time.Time
}

// Open checks o. Of site it takes the keys, unless o has one, and with lookup the database. ledger is the node's; nil for one that uses no ticket: it can
// only Inspect. Close it.
func Open(ctx context.Context, o Options, site django.Options, ledger *Ledger, log *slog.Logger) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	v := &Verifier{opts: o, prefix: site.UserPrefix, ledger: ledger, now: time.Now}
	keys := site.TicketKeys()
	if o.Key != "" {
		keys, v.prefix = []string{o.Key}, o.UserPrefix
	}
	var err error
	if v.keys, err = django.NewTickets(keys...); err != nil {
		return nil, err
	}
	if o.Lookup {
		if v.users, err = django.OpenUsers(ctx, site, log); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Close closes the connections to the database, if there are any. No other call may follow.
func (v *Verifier) Close() error {
	if v.users == nil {
		return nil
	}
	return v.users.Close()
}

// Ping implements authn.Pinger.
func (v *Verifier) Ping(ctx context.Context) error {
	if v.users == nil {
		return nil
	}
	return v.users.Ping(ctx)
}

// TombstoneTTL implements authn.TombstoneKeeper: a ticket of a session can come for as long after its logout, signed by a clock that is ahead.
func (v *Verifier) TombstoneTTL() time.Duration { return v.opts.MaxAge + leeway }

// CookieName implements authn.CookieNamer: a cookie is sent more than once.
func (v *Verifier) CookieName() string { return "" }

// OneTime implements authn.OneTimer.
func (v *Verifier) OneTime(c authn.Credential) bool {
	return c.Carrier != authn.CarrierCookie && django.LooksLikeTicket(c.Value)
}

// Verify implements authn.Verifier. It burns the ticket, also if a node cannot be asked.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	id, signed, err := v.read(ctx, c)
	if err != nil {
		return nil, err
	}
	if v.ledger == nil {
		return nil, errors.New("no node, no cluster: a ticket can be inspected here, not used")
	}
	switch err := v.ledger.use(ctx, sha256.Sum256([]byte(c.Value)), id.SessionHash, signed); {
	case errors.Is(err, errUsed):
		return nil, authn.Refuse(reasonUsed, err)
	case errors.Is(err, errTooEarly):
		return nil, authn.Refuse(reasonTooEarly, err)
	case errors.Is(err, errRevoked):
		return nil, authn.Refuse(reasonRevoked, err)
	case err != nil:
		return nil, err
	}
	return id, nil
}

var errFuture = errors.New("the ticket was signed in the future: set the clocks")

// Inspect implements authn.Inspector: Verify without burning the ticket, so it cannot tell whether it was used.
func (v *Verifier) Inspect(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	id, _, err := v.read(ctx, c)
	return id, err
}

// read checks all of a ticket but whether it was used.
func (v *Verifier) read(ctx context.Context, c authn.Credential) (id *authn.Identity, signed time.Time, err error) {
	if !v.OneTime(c) {
		return nil, signed, authn.ErrNotMine
	}
	if err := ctx.Err(); err != nil {
		return nil, signed, err
	}
	data, signed, err := v.keys.Open(c.Value)
	switch {
	case errors.Is(err, django.ErrTicketSignature):
		return nil, signed, authn.Refuse(reasonBadSignature, err)
	case err != nil:
		return nil, signed, authn.Refuse(reasonMalformed, errors.New("the ticket is well signed but cannot be read"))
	}
	p, err := decode(data)
	if err != nil {
		return nil, signed, authn.Refuse(reasonMalformed, err)
	}
	limit := v.opts.MaxAge
	if own := time.Duration(p.Age * float64(time.Second)); own > 0 && own < limit {
		limit = own
	}
	switch age := v.now().Sub(signed); {
	case age > limit:
		return nil, signed, authn.Refuse(reasonTooOld, errors.New("the ticket is too old; ask for a new one"))
	case age < -leeway:
		return nil, signed, authn.Refuse(reasonFuture, errFuture)
	case age < 0: // used before it was signed, it could be used again by a node that starts between
		until, cancel := context.WithTimeout(context.Background(), -age)
		context.AfterFunc(until, cancel)
		return nil, signed, &authn.Pending{Until: until, Err: errFuture}
	}
	if id, err = p.identity(v.prefix); err != nil {
		return nil, signed, authn.Refuse(reasonMalformed, err)
	}
	if !id.Expires.IsZero() && !id.Expires.After(v.now()) {
		return nil, signed, authn.Refuse(reasonTooOld, errors.New("the login that the ticket is for has ended"))
	}
	if v.users == nil {
		return id, signed, nil
	}
	id.Ref = authn.Secret(*p.User)
	found, err := v.users.Find(ctx, []string{*p.User})
	if err == nil {
		id, err = v.users.Complete(id, found[*p.User])
	}
	return id, signed, err
}

// Revalidate implements authn.Revalidator: with lookup one query for a batch of logins, without it everything is still good.
func (v *Verifier) Revalidate(ctx context.Context, ids []*authn.Identity) []authn.Recheck {
	answers := make([]authn.Recheck, len(ids))
	if v.users == nil {
		return answers
	}
	done := 0
	for batch := range slices.Chunk(ids, v.users.Batch()) {
		keys := make([]string, len(batch))
		for i, id := range batch {
			keys[i] = string(id.Ref)
		}
		found, err := v.users.Find(ctx, keys)
		for i, old := range batch {
			if err != nil {
				answers[done+i].Err = err
				continue
			}
			now, err := v.users.Complete(old, found[keys[i]])
			if err != nil {
				answers[done+i].Err = err
				continue
			}
			answers[done+i] = django.Compare(old, now)
		}
		done += len(batch)
	}
	return answers
}
