package jwt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatecast/gatecast/authn"
)

// Reasons of a refusal, for logs and metrics.
const (
	reasonTooLong      = "too_long"
	reasonAlgorithm    = "bad_algorithm" // the header names none of HS256, HS384, HS512
	reasonMalformed    = "malformed"     // not JSON, or a registered claim of the wrong type
	reasonBadSignature = "bad_signature"
	reasonNoExpiry     = "no_expiry"
	reasonExpired      = "expired"
	reasonNotYetValid  = "not_yet_valid" // nbf or iat is in the future
	reasonAudience     = "bad_audience"
	reasonIssuer       = "bad_issuer"
	reasonTokenType    = "bad_token_type" // a refresh token
	reasonUserClaim    = "bad_user_claim"
	reasonGrants       = "bad_grants" // the claim gatecast
)

const (
	maxToken = 16 << 10
	// clockSkew forgives an issuer whose clock is a little ahead.
	clockSkew = 5 * time.Second
)

// Verifier answers for tokens signed with one secret. It does no I/O and may be used concurrently.
type Verifier struct {
	opts   Options
	secret []byte
	parser *jwt.Parser
	now    func() time.Time

	mu     sync.Mutex
	grants map[string]*grants // by the claim's text: most users of a site have the same; guarded by mu
}

// New makes a Verifier of o.
func New(o Options) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	v := &Verifier{opts: o, secret: []byte(o.Secret), now: time.Now, grants: make(map[string]*grants)}
	v.parser = jwt.NewParser(
		jwt.WithValidMethods(algorithms),
		jwt.WithStrictDecoding(),
		jwt.WithJSONNumber(),
		jwt.WithoutClaimsValidation(), // checkClaims has a reason for each
	)
	return v, nil
}

// CookieName implements authn.CookieNamer.
func (v *Verifier) CookieName() string { return v.opts.CookieName }

// Verify implements authn.Verifier. Whatever looks like a JWT is its own.
func (v *Verifier) Verify(_ context.Context, c authn.Credential) (*authn.Identity, error) {
	token := c.Value
	if c.Carrier == authn.CarrierCookie {
		var ok bool
		if token, ok = c.Cookie(v.opts.CookieName); !ok || v.opts.CookieName == "" {
			return nil, authn.ErrNotMine
		}
	}
	_, id, err := v.verify(token)
	return id, err
}

// algorithms are the values of alg that a token may have.
var algorithms = []string{"HS256", "HS384", "HS512"}

// algorithm reads alg out of the header. ok tells whether this looks like a JWT at all (RFC 7519 §7.2): three parts in
// base64url of which the first is a JSON object with alg.
func algorithm(token string) (alg string, ok bool) {
	head, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || head == "" || len(head) > 4096 || !base64URL(head) || !base64URL(payload) || !base64URL(signature) {
		return "", false
	}
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return "", false
	}
	var h struct {
		Alg any `json:"alg"`
	}
	if json.Unmarshal(raw, &h) != nil || h.Alg == nil {
		return "", false
	}
	alg, _ = h.Alg.(string)
	return alg, true
}

func base64URL(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// verify checks everything there is to check. The claims are returned also with some errors, once the signature is good.
func (v *Verifier) verify(token string) (jwt.MapClaims, *authn.Identity, error) {
	alg, ok := algorithm(token)
	switch {
	case !ok:
		return nil, nil, authn.ErrNotMine
	case len(token) > maxToken:
		return nil, nil, authn.Refuse(reasonTooLong, fmt.Errorf("a token has at most %d bytes", maxToken))
	case !slices.Contains(algorithms, alg):
		return nil, nil, authn.Refuse(reasonAlgorithm, errors.New("the token has to be signed with HS256, HS384 or HS512"))
	}
	claims := jwt.MapClaims{}
	// The library's texts may quote the token.
	if _, err := v.parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return v.secret, nil }); errors.Is(err, jwt.ErrTokenMalformed) {
		return nil, nil, authn.Refuse(reasonMalformed, errors.New("the token does not decode"))
	} else if err != nil {
		return nil, nil, authn.Refuse(reasonBadSignature, errors.New("the token was signed with another key than authn.jwt.secret, or changed"))
	}
	expires, err := v.checkClaims(claims)
	if err != nil {
		return claims, nil, err
	}
	id, err := v.identity(claims)
	if err != nil {
		return claims, nil, err
	}
	id.Expires = expires
	return claims, id, nil
}

func (v *Verifier) checkClaims(claims jwt.MapClaims) (expires time.Time, err error) {
	malformed := func(claim string) error {
		return authn.Refuse(reasonMalformed, fmt.Errorf("the claim %s has a wrong type", claim))
	}
	now, leeway := v.now(), v.opts.Leeway
	exp, err := claims.GetExpirationTime()
	switch {
	case err != nil:
		return expires, malformed("exp")
	case exp == nil:
		return expires, authn.Refuse(reasonNoExpiry, errors.New("the token has no exp"))
	}
	expires = exp.Add(leeway)
	if !now.Before(expires) {
		return expires, authn.Refuse(reasonExpired, fmt.Errorf("at %s", exp.UTC().Format(time.RFC3339)))
	}
	for _, begin := range []struct {
		claim string
		get   func() (*jwt.NumericDate, error)
	}{{"nbf", claims.GetNotBefore}, {"iat", claims.GetIssuedAt}} {
		from, err := begin.get()
		if err != nil {
			return expires, malformed(begin.claim)
		}
		if from != nil && now.Add(leeway+clockSkew).Before(from.Time) {
			return expires, authn.Refuse(reasonNotYetValid, fmt.Errorf("its %s is %s, this machine's clock says %s",
				begin.claim, from.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339)))
		}
	}
	if want := v.opts.Audience; want != "" {
		audience, err := claims.GetAudience()
		if err != nil {
			return expires, malformed("aud")
		}
		if !slices.Contains(audience, want) {
			return expires, authn.Refuse(reasonAudience, fmt.Errorf("its aud is not %q", want))
		}
	}
	if want := v.opts.Issuer; want != "" {
		if issuer, err := claims.GetIssuer(); err != nil || issuer != want {
			return expires, authn.Refuse(reasonIssuer, fmt.Errorf("its iss is not %q", want))
		}
	}
	// SimpleJWT's refresh tokens are signed with the same key.
	if typ, has := claims["token_type"]; has && typ != "access" && typ != "sliding" {
		return expires, authn.Refuse(reasonTokenType, errors.New("send the access token; this one is of another type"))
	}
	return expires, nil
}
