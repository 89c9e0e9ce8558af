package jwt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatecast/gatecast/authn"
)

// Reasons of a refusal, for logs and metrics.
const (
	reasonTooLong      = "too_long"
	reasonAlgorithm    = "bad_algorithm" // the header names none that is allowed, or that a key is for
	reasonHeader       = "bad_header"    // crit, or a kid that is no text
	reasonMalformed    = "malformed"     // not JSON, or a registered claim of the wrong type
	reasonUnknownKey   = "unknown_key"   // no key has the token's kid
	reasonBadSignature = "bad_signature"
	reasonNoExpiry     = "no_expiry"
	reasonExpired      = "expired"
	reasonNotYetValid  = "not_yet_valid" // nbf or iat is in the future
	reasonAudience     = "bad_audience"
	reasonIssuer       = "bad_issuer"
	reasonTokenType    = "bad_token_type" // a refresh token
	reasonUserClaim    = "bad_user_claim"
	reasonGrants       = "bad_grants" // the claim gatecast
	reasonKeyGone      = "key_gone"   // in a sweep: the key that signed it was taken away
	reasonPassword     = "hash_mismatch"
	reasonOther        = "other_user" // in a sweep: the site spells the id in another way
)

const (
	maxToken = 16 << 10
	// clockSkew forgives an issuer whose clock is a little ahead.
	clockSkew = 5 * time.Second
)

// CookieName implements authn.CookieNamer.
func (v *Verifier) CookieName() string { return v.ring.Load().opts.CookieName }

// Verify implements authn.Verifier. Whatever looks like a JWT is its own, but for those of other issuers if it is one of several.
// With users it costs a query.
func (v *Verifier) Verify(ctx context.Context, c authn.Credential) (*authn.Identity, error) {
	token := c.Value
	if c.Carrier == authn.CarrierCookie {
		name := v.CookieName()
		var ok bool
		if token, ok = c.Cookie(name); !ok || name == "" {
			return nil, authn.ErrNotMine
		}
	}
	return v.login(ctx, token)
}

// looksRight tells whether this looks like a JWT at all (RFC 7519 §7.2): three parts in base64url of which the first is a JSON object
// with alg.
func looksRight(token string) bool {
	head, rest, ok := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || head == "" || len(head) > 4096 || !base64URL(head) || !base64URL(payload) || !base64URL(signature) {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	var h map[string]json.RawMessage
	return json.Unmarshal(raw, &h) == nil && h["alg"] != nil && string(h["alg"]) != "null"
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

// parser decodes; what a token says is checked by us, with a reason for each.
var parser = jwt.NewParser(jwt.WithStrictDecoding(), jwt.WithJSONNumber())

// verify checks everything there is to check in a token by itself.
func (v *Verifier) verify(r *ring, token string) (jwt.MapClaims, *authn.Identity, error) {
	if !looksRight(token) {
		return nil, nil, authn.ErrNotMine
	}
	if len(token) > maxToken {
		return nil, nil, authn.Refuse(reasonTooLong, fmt.Errorf("a token has at most %d bytes", maxToken))
	}
	claims := jwt.MapClaims{}
	parsed, parts, err := parser.ParseUnverified(token, claims)
	if errors.Is(err, jwt.ErrTokenMalformed) { // the library's texts may quote the token
		return nil, nil, authn.Refuse(reasonMalformed, errors.New("the token does not decode"))
	}
	// Before the key is looked for: who signs for one issuer is nobody to another.
	if issuer, _ := claims["iss"].(string); r.opts.Issuer != "" && issuer != r.opts.Issuer {
		if r.opts.Shared {
			return nil, nil, authn.ErrNotMine
		}
		return nil, nil, authn.Refuse(reasonIssuer, fmt.Errorf("its iss is %.100q, not %q", issuer, r.opts.Issuer))
	}
	alg, _ := parsed.Header["alg"].(string)
	if err != nil || !slices.Contains(r.algorithms, alg) {
		return nil, nil, authn.Refuse(reasonAlgorithm, fmt.Errorf("the token has to be signed with %s", r.wanted()))
	}
	kid, err := checkHeader(parsed.Header)
	if err != nil {
		return nil, nil, authn.Refuse(reasonHeader, err)
	}
	k, err := r.find(alg, kid, func(k *key) bool {
		return parsed.Method.Verify(parts[0]+"."+parts[1], parsed.Signature, k.public) == nil
	})
	if err != nil {
		return nil, nil, err
	}
	expires, err := v.checkClaims(&r.opts, claims)
	if err != nil {
		return nil, nil, err
	}
	id, err := v.identity(&r.opts, claims)
	if err != nil {
		return nil, nil, err
	}
	id.Expires, id.Ref = expires, k.mark
	return claims, id, nil
}

// checkHeader refuses what we would have to understand (RFC 7515 §4.1.11) and do not, and finds the kid. What says where keys
// might be (jku, x5u, x5c, jwk) is nobody's business: keys come from config.
func checkHeader(header map[string]any) (kid string, err error) {
	if _, has := header["crit"]; has {
		return "", errors.New("its header has crit, and no such extension is known")
	}
	claim, has := header["kid"]
	kid, ok := claim.(string)
	if has && !ok {
		return "", errors.New("its kid is no string")
	}
	return kid, nil
}

func (v *Verifier) checkClaims(o *Options, claims jwt.MapClaims) (expires time.Time, err error) {
	malformed := func(claim string) error {
		return authn.Refuse(reasonMalformed, fmt.Errorf("the claim %s has a wrong type", claim))
	}
	now, leeway := v.now(), o.Leeway
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
	if want := o.Audience; want != "" {
		audience, err := claims.GetAudience()
		if err != nil {
			return expires, malformed("aud")
		}
		if !slices.Contains(audience, want) {
			return expires, authn.Refuse(reasonAudience, fmt.Errorf("its aud is not %q", want))
		}
	}
	// SimpleJWT's refresh tokens are signed with the same key.
	if typ, has := claims["token_type"]; has && typ != "access" && typ != "sliding" {
		return expires, authn.Refuse(reasonTokenType, errors.New("send the access token; this one is of another type"))
	}
	return expires, nil
}

// Revalidate implements authn.Revalidator: a login ends when the key that signed its token is taken away, by a reload or out of the
// JWKS, and with users when its user is no longer good.
func (v *Verifier) Revalidate(ctx context.Context, ids []*authn.Identity) []authn.Recheck {
	r := v.ring.Load()
	answers := make([]authn.Recheck, len(ids))
	seen := map[authn.Secret]error{}
	for i, id := range ids {
		mark := id.Ref[:markSize]
		err, known := seen[mark]
		if !known {
			err = r.inUse(mark)
			seen[mark] = err
		}
		answers[i].Err = err
	}
	if r.users != nil {
		r.sweep(ctx, ids, answers)
	}
	return answers
}
