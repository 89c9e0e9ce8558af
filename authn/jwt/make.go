package jwt

import (
	"context"
	"crypto"
	"crypto/rand"
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

// Claims are what [Verifier.Make] puts into a token, and what it signs it with.
type Claims struct {
	// User is the id, without user_prefix.
	User string
	// Lifetime is the time until exp; it has to be positive.
	Lifetime time.Duration
	// Grants are the claim gatecast; nil is none.
	Grants *authn.Patterns
	// Groups are Django group names.
	Groups []string
	// Attrs become claims of their own.
	Attrs map[string]any

	// Key is the private key of one that the Verifier has, see [ReadPrivate]; nil = authn.jwt.secret.
	Key crypto.Signer
	// Algorithm is alg; "" = the first of authn.jwt.algorithms that fits the key.
	Algorithm string
}

// Make signs a token that v accepts; it says what is wrong with c if it would not.
func (v *Verifier) Make(ctx context.Context, c Claims) (string, error) {
	r := v.ring.Load()
	if c.Lifetime <= 0 {
		return "", errors.New("a token needs a lifetime above zero")
	}
	now, o := v.now(), &r.opts
	claims := jwt.MapClaims{}
	for name, value := range c.Attrs {
		claims[name] = value
	}
	claims[o.UserClaim] = c.User
	claims["jti"] = rand.Text() // SimpleJWT asks for one
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(c.Lifetime).Unix()
	if o.Audience != "" {
		claims["aud"] = o.Audience
	}
	if o.Issuer != "" {
		claims["iss"] = o.Issuer
	}
	if o.UserClaim == "user_id" { // SimpleJWT's own name for it, and it wants this one too
		claims["token_type"] = "access"
	}
	if r.users != nil && o.RevokeTokenClaim != "" {
		found, err := r.users.Find(ctx, []string{c.User})
		if err != nil {
			return "", err
		}
		if user := found[c.User]; user != nil { // else it is refused below
			claims[o.RevokeTokenClaim] = string(passwordSum(user.Password))
		}
	}
	gatecast := make(map[string]any)
	put := func(key string, list []string) {
		if len(list) > 0 {
			gatecast[key] = list
		}
	}
	if g := c.Grants; g != nil {
		put("join", g.Join)
		put("subscribe", g.Subscribe)
		put("publish", g.Publish)
		put("deny", g.Deny)
	}
	put("groups", c.Groups)
	if len(gatecast) > 0 {
		claims[claimGrants] = gatecast
	}
	token, err := r.sign(c.Key, c.Algorithm, claims)
	if err != nil {
		return "", err
	}
	if _, err := v.await(ctx, token); err != nil {
		return "", fmt.Errorf("such a token would be refused: %w", err)
	}
	return token, nil
}

// sign signs with private, or the secret if it is nil.
func (r *ring) sign(private crypto.Signer, alg string, claims jwt.MapClaims) (string, error) {
	var with any = private
	var verifying *key
	if private == nil {
		if r.opts.Secret == "" {
			return "", errors.New("authn.jwt has no secret; sign with the private key that belongs to its public_key or jwks")
		}
		with, verifying = []byte(r.opts.Secret), &r.fixed[0]
	} else {
		mine, err := newKey("", "", private.Public())
		if err != nil {
			return "", fmt.Errorf("the private key: %w", err)
		}
		if verifying = r.marked(mine.mark); verifying == nil {
			return "", errors.New("the private key belongs to none of the keys of authn.jwt; add its public half to public_key or jwks")
		}
	}
	allowed := func(alg string) bool {
		return fits(alg, verifying.public) && (verifying.alg == "" || verifying.alg == alg)
	}
	if alg == "" {
		if i := slices.IndexFunc(r.algorithms, allowed); i >= 0 {
			alg = r.algorithms[i]
		}
	}
	if !slices.Contains(r.algorithms, alg) || !allowed(alg) {
		return "", fmt.Errorf("the key is not for %q; tokens are to be signed with %s", alg, r.wanted())
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims)
	token.Header["alg"] = alg
	if verifying.id != "" {
		token.Header["kid"] = verifying.id
	}
	signed, err := token.SignedString(with)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return signed, nil
}

// marked finds a key by its mark; nil if there is none.
func (r *ring) marked(mark authn.Secret) *key {
	lists := [][]key{r.fixed}
	if r.remote != nil {
		if set, err := r.remote.current(); err == nil {
			lists = append(lists, set.keys)
		}
	}
	for _, keys := range lists {
		if i := slices.IndexFunc(keys, func(k key) bool { return k.mark == mark }); i >= 0 {
			return &keys[i]
		}
	}
	return nil
}

// Inspection is what can be said about a token. Header and Claims are shown as they stand in it, also if it is refused:
// nothing in them is to be believed unless Identity is set.
type Inspection struct {
	Header, Claims json.RawMessage // nil if they do not decode
	Identity       *authn.Identity // nil if refused
	Err            error           // authn.ErrNotMine, *authn.Refused, or the keys cannot be had
}

// Inspect explains a token, for people.
func (v *Verifier) Inspect(ctx context.Context, token string) Inspection {
	var in Inspection
	parts := strings.Split(token, ".")
	if len(parts) == 3 && len(token) <= maxToken {
		in.Header, in.Claims = object(parts[0]), object(parts[1])
	}
	in.Identity, in.Err = v.await(ctx, token)
	return in
}

// await verifies a token, and waits for its key if that is being fetched.
func (v *Verifier) await(ctx context.Context, token string) (*authn.Identity, error) {
	return authn.Await(ctx, func() (*authn.Identity, error) { return v.login(ctx, token) })
}

// Algorithms lists what a token may be signed with, for people.
func (v *Verifier) Algorithms() string { return v.ring.Load().wanted() }

func object(part string) json.RawMessage {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || !json.Valid(raw) {
		return nil
	}
	return raw
}
