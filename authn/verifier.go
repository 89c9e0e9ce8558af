package authn

import (
	"context"
	"errors"
	"time"
)

// Carrier is where in a request a credential stands.
type Carrier string

// The carriers, by their names in config.
const (
	CarrierCookie      Carrier = "cookie"
	CarrierHeader      Carrier = "header"
	CarrierSubprotocol Carrier = "subprotocol"
	CarrierQuery       Carrier = "query"
	CarrierMessage     Carrier = "message"
	// CarrierProxy is what a trusted proxy says about its client in headers, CarrierCertificate the client's TLS certificate. They hold no Value: the
	// verifier reads Credential.Request, and is a CacheKeyer.
	CarrierProxy       Carrier = "proxy"
	CarrierCertificate Carrier = "certificate"
)

// ambient tells a carrier that a browser fills by itself, so that the page's origin has to be checked.
func (c Carrier) ambient() bool {
	return c == CarrierCookie || c == CarrierProxy || c == CarrierCertificate
}

// Credential is what one carrier of a request holds, shown to every verifier of the chain in turn.
type Credential struct {
	Carrier Carrier
	// Scheme is the one of Options.Schemes for the header, in lower case, "bearer" for the subprotocol, else "".
	Scheme string
	// Value is the token; "" for the carriers cookie, proxy and certificate. It may hold any bytes.
	Value string
	// Cookies gives a cookie of the request as Django would read it; nil for other carriers.
	Cookies func(name string) (value string, ok bool)

	// Request is the handshake it came with, for verifiers that are CacheKeyers: others must decide by what is above. May be nil.
	Request *Request

	header string // of the cookie carrier, for the cache key
}

// Cookie gives a cookie, and none for carriers that have no cookies.
func (c Credential) Cookie(name string) (string, bool) {
	if c.Cookies == nil {
		return "", false
	}
	return c.Cookies(name)
}

// Verifier answers for one kind of credential. Verify is called from worker goroutines, concurrently, and may block on
// I/O as long as it honours ctx. It returns
//
//   - an Identity: accepted;
//   - [ErrNotMine]: the credential has not the shape of this kind, another verifier may know it. Decided without I/O;
//   - [ErrNoLogin]: a valid session without a user, which counts as no credential;
//   - a [*Refused]: it is of this kind and not good;
//   - a [*Pending]: it cannot tell before something that is under way has ended. A Verifier that waits for a thing that many logins share, and that anybody
//     can make it wait for, answers so;
//   - any other error: the verifier cannot tell now, nobody is let in or thrown out because of it.
//
// No error text may hold the credential or another secret.
type Verifier interface {
	Verify(ctx context.Context, c Credential) (*Identity, error)
}

// SessionHasher is a Verifier whose logins are sessions. SessionHash tells, without I/O, the lower-case hex SHA-256 of the
// session key in c, as in Identity.SessionHash; ok is false if c holds no session key of the right shape. Two credentials
// of one carrier with the same hash get the same answer: the hash is also the cache key. It lets a revoked session be
// refused unread.
type SessionHasher interface {
	SessionHash(c Credential) (hash string, ok bool)
}

// CookieNamer is a Verifier that reads one cookie, which makes that cookie instead of the whole header its cache key.
// "" says that it reads none and needs not be asked about cookies.
type CookieNamer interface {
	CookieName() string
}

// CacheKeyer is a Verifier whose answer depends on more of the request than the credential, or on something else. CacheKey tells, without I/O, all that it
// depends on; mine is false if there is no credential of its own in c. The carriers proxy and certificate are shown to these only.
type CacheKeyer interface {
	CacheKey(c Credential) (key string, mine bool)
}

// OneTimer is a Verifier with credentials that are good for one login. Their answers are neither kept nor shared: each login asks. OneTime tells, without
// I/O, whether c has the shape of one; if it has not, it is not this verifier's.
type OneTimer interface {
	OneTime(c Credential) bool
}

// Inspector is a Verifier whose Verify uses a credential up. Inspect says what Verify would as far as it can without.
type Inspector interface {
	Inspect(ctx context.Context, c Credential) (*Identity, error)
}

// Recheck is the answer about one identity in a sweep.
//
//	Identity == nil, Err == nil    still good, nothing changed
//	Identity != nil, Err == nil    still good, this replaces it (same ID; other kind, groups, expiry, …)
//	Err is *Refused                gone: close its Conns
//	any other Err                  could not tell: keep it until the next sweep. With an Identity it could tell in part: that replaces it
type Recheck struct {
	Identity *Identity
	Err      error
}

// Revalidator is a Verifier that can look at many logins again at once. It answers one Recheck for each identity, in
// order; a shorter answer counts as "could not tell" for the rest. The identities are its own (Identity.Verifier) and it
// must not change them. It splits large batches itself.
type Revalidator interface {
	Revalidate(ctx context.Context, ids []*Identity) []Recheck
}

// Pinger is a Verifier that depends on something else that may be down. An error makes the node not ready.
type Pinger interface {
	Ping(ctx context.Context) error
}

// TombstoneKeeper is a Verifier whose sessions stay valid longer than the usual ten minutes after logout, because nothing
// is deleted at logout (signed cookies, tickets). TombstoneTTL is how long a revoked session has to be remembered.
type TombstoneKeeper interface {
	TombstoneTTL() time.Duration
}

var (
	// ErrNotMine is a Verifier's answer to a credential of another shape.
	ErrNotMine = errors.New("not a credential of this verifier")
	// ErrNoLogin is a Verifier's answer to a valid session without a user.
	ErrNoLogin = errors.New("a session without a user")
	// ErrLoginLater is Authenticate's answer when nothing was sent yet and the message carrier is on: upgrade and wait for the auth op.
	ErrLoginLater = errors.New("no credential yet: wait for the auth message")
)

// Codes of a [Refused], as in the error frame.
const (
	CodeUnauthorized = "unauthorized"
	CodeForbidden    = "forbidden"
)

// Refused says why a credential was not good. It is the peer's mistake: its texts are safe to show.
type Refused struct {
	// Code is CodeUnauthorized or CodeForbidden; "" is CodeUnauthorized.
	Code string
	// Reason is a stable snake_case word for logs and metrics, e.g. "bad_signature". A verifier has a fixed set of them.
	Reason string
	// Soft says that the credential is only unknown or expired: with anonymous = true it counts as no credential.
	Soft bool
	// Err is the detail, for people; it holds no secret. May be nil.
	Err error
}

// Refuse makes a Refused with CodeUnauthorized. detail may be nil.
func Refuse(reason string, detail error) *Refused {
	return &Refused{Code: CodeUnauthorized, Reason: reason, Err: detail}
}

func (r *Refused) Error() string {
	if r.Err != nil {
		return r.Reason + ": " + r.Err.Error()
	}
	return r.Reason
}

func (r *Refused) Unwrap() error { return r.Err }
