package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/broker/subject"
)

// Chain decides which credential of a request counts, and asks its verifier. All methods may be called concurrently; those
// with a ctx may wait for I/O.
type Chain struct {
	// static
	opts     Options
	carriers []Carrier
	schemes  []string // of the Authorization header, in lower case
	links    []*link
	log      *slog.Logger
	source   RowSource // nil: no SQL rule can be asked

	rules atomic.Pointer[Rules]

	mu       sync.Mutex
	accepted cache                // guarded by mu, as are all below
	others   cache                // refusals and the like, which must not push out logins
	flights  map[cacheKey]*flight // lookups that others may wait for
	watches  map[*watch]struct{}  // lookups and sweeps in progress
	recent   recentRows
	graves   tombstones
	counts   map[answerKey]uint64
	stats    Stats // counters only
}

// link is one verifier of the chain with what it can do beyond Verify.
type link struct {
	name     string
	index    byte
	verifier Verifier
	hasher   SessionHasher // nil for most
	cookie   CookieNamer   // nil for most
	once     OneTimer      // nil for most
	keyer    CacheKeyer    // nil for most
}

const (
	// maxCredential bounds a token; the server bounds headers and messages before.
	maxCredential = 16 << 10
	maxLinks      = 255
)

// NewChain makes the chain named by o.Chain out of verifiers by name. Without rules everybody has the own personal group
// only; log may be nil.
func NewChain(o Options, verifiers map[string]Verifier, rules *Rules, log *slog.Logger) (*Chain, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Chain{
		opts:     o,
		log:      log,
		accepted: newCache(o.CacheEntries),
		others:   newCache(max(o.CacheEntries/8, 1024)),
		flights:  make(map[cacheKey]*flight),
		watches:  make(map[*watch]struct{}),
		recent:   recentRows{limit: o.CacheEntries},
		graves:   newTombstones(o.Tombstones),
		counts:   make(map[answerKey]uint64),
	}
	for _, name := range o.Carriers {
		c.carriers = append(c.carriers, Carrier(name))
	}
	for _, scheme := range o.Schemes {
		c.schemes = append(c.schemes, strings.ToLower(scheme))
	}
	var errs []error
	for i, name := range o.Chain {
		v := verifiers[name]
		if v == nil || i >= maxLinks {
			errs = append(errs, fmt.Errorf("authn.chain names %q, which is not configured; fill in its section or remove it", name))
			continue
		}
		l := &link{name: name, index: byte(i), verifier: v}
		l.hasher, _ = v.(SessionHasher)
		l.cookie, _ = v.(CookieNamer)
		l.once, _ = v.(OneTimer)
		l.keyer, _ = v.(CacheKeyer)
		c.links = append(c.links, l)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.rules.Store(rules)
	return c, nil
}

// SetRules replaces the rules for later logins and revalidations. It tells whether the logins that are in should be revalidated now: there are queries, or were. A
// rule may be for others than before with the same query, and a login whose user a query is new for has no Grants until it is revalidated.
func (c *Chain) SetRules(rules *Rules) (revalidate bool) {
	before := c.rules.Swap(rules)
	return len(rules.Queries())+len(before.Queries()) > 0
}

// Grants compiles what id may hear and say on the conn with this id.
func (c *Chain) Grants(id *Identity, conn string) (*Grants, error) {
	return c.rules.Load().GrantsFor(id, conn)
}

// Why tells what decides whether id may hear, say and join a group on the conn with this id.
func (c *Chain) Why(id *Identity, group, conn string) (*Why, error) {
	return c.rules.Load().Explain(id, group, conn)
}

// Authenticate decides who sent r:
//
//	*Identity         accepted, or anonymous (ID "") where that is allowed
//	ErrLoginLater     no credential, and the message carrier is on: upgrade and wait for the auth op
//	*Refused          refused
//	*Pending          ask again when that is over
//	any other error   a verifier is unavailable, or ctx is done
//
// For each carrier in order, each verifier in order is asked; the first that accepts or refuses decides. If r.Message is
// set, only it is looked at. An Identity from a cookie is Ambient: the server then checks the origin.
func (c *Chain) Authenticate(ctx context.Context, r *Request) (*Identity, error) {
	return c.decide(c.carriers, r, func(l *link, cred Credential) (*Identity, error) { return c.lookup(ctx, l, cred) }, nil)
}

// ErrNotCached is what [Chain.Cached] returns when a verifier would have to be asked.
var ErrNotCached = errors.New("not in the cache")

// Cached is Authenticate for a request whose credential is in the cache; it asks no verifier and waits for none.
func (c *Chain) Cached(r *Request) (*Identity, error) { return c.decide(c.carriers, r, c.peek, nil) }

// CachedToken is AuthenticateToken as Cached is Authenticate.
func (c *Chain) CachedToken(token string) (*Identity, error) {
	if token == "" {
		return nil, Refuse("no_credential", nil)
	}
	return c.decide([]Carrier{CarrierMessage}, &Request{Message: token}, c.peek, nil)
}

// AuthenticateToken decides about a token that came in by a door without carriers, such as a native NATS user's. It
// returns what Authenticate does, but neither an anonymous Identity, ErrLoginLater nor Pending, which it waits for.
func (c *Chain) AuthenticateToken(ctx context.Context, token string) (*Identity, error) {
	if token == "" {
		return nil, Refuse("no_credential", nil)
	}
	ask := func(l *link, cred Credential) (*Identity, error) {
		return Await(ctx, func() (*Identity, error) { return c.lookup(ctx, l, cred) })
	}
	return c.decide([]Carrier{CarrierMessage}, &Request{Message: token}, ask, nil)
}

// anonymous is shared by all who have no credential, stale by those whose session is unknown or has expired.
var anonymous, stale = &Identity{Kind: KindAnonymous}, &Identity{Kind: KindAnonymous}

// decide is "Which credential decides", once for Authenticate and once for Explain, which notes the steps.
func (c *Chain) decide(carriers []Carrier, r *Request, ask func(*link, Credential) (*Identity, error), note func(Step)) (*Identity, error) {
	var none undecided
	for _, carrier := range carriers {
		if r.Message != "" && carrier != CarrierMessage {
			continue
		}
		cred, present, err := c.credential(r, carrier)
		if err != nil || !present {
			if note != nil {
				note(stepOf(carrier, "", nil, err, !present))
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		known := false
		for _, l := range c.links {
			id, err := ask(l, cred)
			decides := none.decides(err, c.opts.Anonymous)
			if note != nil {
				step := stepOf(carrier, l.name, id, err, false)
				step.Decides = decides
				note(step)
			}
			if decides {
				return id, err
			}
			known = known || !errors.Is(err, ErrNotMine)
		}
		if !known && !carrier.ambient() && len(c.links) > 0 { // other cookies are everywhere
			none.unknown = true
		}
	}
	return c.withoutCredential(slices.Contains(carriers, CarrierMessage), r, &none)
}

// undecided collects why a request that no verifier accepted or refused has no credential.
type undecided struct {
	unknown bool     // a token was sent that no verifier knows
	noLogin bool     // a session without a user
	soft    *Refused // an unknown or expired session that counts as no credential
}

func (u *undecided) decides(err error, allowAnonymous bool) bool {
	if err == nil {
		return true
	}
	var refused *Refused
	switch {
	case errors.Is(err, ErrNotMine):
		return false
	case errors.Is(err, ErrNoLogin):
		u.noLogin = true
		return false
	case allowAnonymous && errors.As(err, &refused) && refused.Soft:
		u.soft = refused
		return false
	}
	return true
}

// withoutCredential answers for who has no credential. A token that was sent on purpose and that nobody knows is not none:
// who sent it does not expect to be anonymous.
func (c *Chain) withoutCredential(byMessage bool, r *Request, none *undecided) (*Identity, error) {
	switch {
	case r.Message != "" && !byMessage:
		return nil, Refuse("carrier_off", errors.New(`"message" is not in authn.carriers`))
	case none.unknown:
		return nil, Refuse("unknown_credential", errors.New("no verifier of authn.chain knows a token of this shape"))
	case r.Message != "" && none.soft != nil:
		return nil, none.soft
	case r.Message != "":
		return nil, Refuse("no_login", ErrNoLogin)
	case c.opts.Anonymous && none.soft != nil:
		return stale, nil
	case c.opts.Anonymous:
		return anonymous, nil
	case byMessage:
		return nil, ErrLoginLater
	case none.noLogin:
		return nil, Refuse("no_login", ErrNoLogin)
	}
	return nil, Refuse("no_credential", nil)
}

// credential finds what stands in a carrier.
func (c *Chain) credential(r *Request, carrier Carrier) (cred Credential, present bool, err error) {
	cred.Carrier, cred.Request = carrier, r
	switch carrier {
	case CarrierCookie:
		if r.Cookie == "" {
			return cred, false, nil
		}
		raw := r.Cookie
		cred.header = raw
		cred.Cookies = func(name string) (string, bool) { return Cookie(raw, name) }
		return cred, true, nil
	case CarrierHeader:
		cred.Scheme, cred.Value, _ = header(r.Authorization, c.schemes)
		for _, name := range c.opts.TokenHeaders {
			if cred.Value == "" {
				cred.Value, _ = r.Header(name)
			}
		}
	case CarrierProxy:
		return cred, r.Proxied && r.Headers != nil, nil
	case CarrierCertificate:
		return cred, r.Certificate != nil, nil
	case CarrierSubprotocol:
		for _, p := range r.Subprotocols {
			token, ok, err := CredentialSubprotocol(p)
			switch {
			case !ok:
				continue
			case err != nil:
				return cred, true, Refuse("malformed_credential", err)
			case cred.Value != "":
				return cred, true, Refuse("two_credentials", errors.New("offer one credential as a subprotocol"))
			}
			cred.Scheme, cred.Value = "bearer", token
		}
	case CarrierQuery:
		cred.Value = r.Token
	case CarrierMessage:
		cred.Value = r.Message
	}
	if len(cred.Value) > maxCredential {
		return cred, true, Refuse("credential_too_long", fmt.Errorf("a credential has at most %d bytes", maxCredential))
	}
	return cred, cred.Value != "", nil
}

// complete checks what a verifier returned, and gives a copy of the chain's own with what it left empty.
func complete(id *Identity, l *link, carrier Carrier) (*Identity, error) {
	if id == nil {
		return nil, fmt.Errorf("verifier %s returned neither an identity nor an error", l.name)
	}
	own := *id
	if err := subject.CheckUserID(own.ID); err != nil {
		return nil, Refuse("bad_user_id", err)
	}
	if own.Kind == "" {
		own.Kind = KindUser
	}
	if own.Verifier == "" {
		own.Verifier = l.name
	}
	own.Carrier = carrier
	if own.expired(time.Now()) {
		return nil, &Refused{Code: CodeUnauthorized, Reason: "expired", Soft: carrier == CarrierCookie}
	}
	return &own, nil
}

// Ready asks every verifier that is a Pinger, all at once.
func (c *Chain) Ready(ctx context.Context) error {
	errs := make([]error, len(c.links)+1) // the last is of the rows
	var wg sync.WaitGroup
	for i, l := range c.links {
		pinger, ok := l.verifier.(Pinger)
		if !ok {
			continue
		}
		wg.Go(func() { // ends with ctx at the latest
			if err := pinger.Ping(ctx); err != nil {
				errs[i] = fmt.Errorf("authn %s: %w", l.name, err)
			}
		})
	}
	if pinger, ok := c.source.(Pinger); ok {
		wg.Go(func() { // ends with ctx at the latest
			if err := pinger.Ping(ctx); err != nil {
				errs[len(c.links)] = fmt.Errorf("SQL rules of [[grants]]: %w", err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
