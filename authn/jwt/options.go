package jwt

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Options are the section [authn.jwt].
type Options struct {
	// Secret is the key shared with who makes the tokens, at least 16 bytes, better 32 and more. SimpleJWT: SIGNING_KEY, which is SECRET_KEY by default.
	Secret string `toml:"secret" secret:"true"`
	// Audience must be among the token's aud; "" = aud is not looked at.
	Audience string `toml:"audience"`
	// Issuer must be the token's iss; "" = iss is not looked at.
	Issuer string `toml:"issuer"`
	// UserClaim is the claim with the user's id, a string or an integer. SimpleJWT: "user_id".
	UserClaim string `toml:"user_claim"`
	// UserPrefix is put before the id, to keep users of several verifiers apart.
	UserPrefix string `toml:"user_prefix"`
	// CookieName is the cookie to read tokens from (dj-rest-auth: JWT_AUTH_COOKIE); "" = tokens are not looked for in cookies.
	CookieName string `toml:"cookie_name"`
	// Leeway is added to exp, and taken from nbf and iat, for clocks that differ. nbf and iat have 5 s in any case.
	Leeway time.Duration `toml:"leeway"`
}

// DefaultOptions returns the defaults of config.toml.
func DefaultOptions() Options { return Options{UserClaim: "sub"} }

const (
	shortestSecret = 16
	longestLeeway  = 10 * time.Minute
)

// Validate reports every value that cannot work.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.jwt."+format, args...)) }
	switch {
	case o.Secret == "":
		bad("secret is empty; set it to the key that signs the tokens (SimpleJWT: SIGNING_KEY)")
	case placeholder(o.Secret):
		bad("secret is a placeholder that anybody can guess; make one with: openssl rand -base64 48")
	case len(o.Secret) < shortestSecret:
		bad("secret has %d bytes; at least %d, better 32, e.g. of: openssl rand -base64 48", len(o.Secret), shortestSecret)
	}
	if o.UserClaim == "" {
		bad(`user_claim is empty; use "sub", or "user_id" for SimpleJWT`)
	}
	if len(o.UserPrefix) > 64 {
		bad("user_prefix has %d bytes; at most 64, an id has 128 with it", len(o.UserPrefix))
	}
	if strings.ContainsAny(o.CookieName, "=; \t\r\n") {
		bad("cookie_name = %q is no name of a cookie", o.CookieName)
	}
	if o.Leeway < 0 || o.Leeway > longestLeeway {
		bad("leeway = %v is not between 0s and %v", o.Leeway, longestLeeway)
	}
	return errors.Join(errs...)
}

// placeholder tells the values that tutorials and example files leave behind.
func placeholder(secret string) bool {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r | 0x20
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, secret)
	for _, word := range []string{"changeme", "replaceme", "yoursecret", "insertsecret", "putyoursecret", "secretkeyhere", "placeholder"} {
		if strings.Contains(s, word) {
			return true
		}
	}
	for _, word := range []string{"secret", "secretkey", "password", "example", "jwtsecret", "gatecast"} {
		if strings.Trim(s, "0123456789") == word {
			return true
		}
	}
	return s == "" || strings.Count(s, s[:1]) == len(s)
}
