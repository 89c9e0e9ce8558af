package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatecast/gatecast/authn"
)

// Claims are what [Make] puts into a token.
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
}

// Make signs a token with HS256 that New(o) accepts; it says what is wrong with c if it would not.
func Make(o Options, c Claims) (string, error) {
	v, err := New(o)
	if err != nil {
		return "", err
	}
	if c.Lifetime <= 0 {
		return "", errors.New("a token needs a lifetime above zero")
	}
	now := v.now()
	claims := jwt.MapClaims{}
	for name, value := range c.Attrs {
		claims[name] = value
	}
	claims[o.UserClaim] = c.User
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
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(v.secret)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	if _, _, err := v.verify(token); err != nil {
		return "", fmt.Errorf("such a token would be refused: %w", err)
	}
	return token, nil
}

// Inspection is what can be said about a token. Header and Claims are shown as they stand in it, also if it is refused:
// nothing in them is to be believed unless Identity is set.
type Inspection struct {
	Header, Claims json.RawMessage // nil if they do not decode
	Identity       *authn.Identity // nil if refused
	Err            error           // authn.ErrNotMine or *authn.Refused
}

// Inspect explains a token, for people.
func (v *Verifier) Inspect(token string) Inspection {
	var in Inspection
	parts := strings.Split(token, ".")
	if len(parts) == 3 && len(token) <= maxToken {
		in.Header, in.Claims = object(parts[0]), object(parts[1])
	}
	_, in.Identity, in.Err = v.verify(token)
	return in
}

func object(part string) json.RawMessage {
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || !json.Valid(raw) {
		return nil
	}
	return raw
}
