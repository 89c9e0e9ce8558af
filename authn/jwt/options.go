package jwt

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn/django"
)

// Options are the section [authn.jwt].
type Options struct {
	// Secret is the key shared with who makes the tokens (HS256, HS384, HS512), at least 16 bytes, better 32 and more. SimpleJWT: SIGNING_KEY, which is SECRET_KEY by default.
	Secret string `toml:"secret" secret:"true"`
	// PublicKey is the path of a PEM file with public keys or certificates, or their text: RSA from 2048 bits (RS256, PS256 and so on), ECDSA P-256, P-384, P-521 (ES256, ES384, ES512), Ed25519 (EdDSA).
	// Several in one file may all sign, for rotation. SimpleJWT: VERIFYING_KEY.
	PublicKey string `toml:"public_key"`
	// JWKS is the address (https://…) or the path of a JSON Web Key Set, such as an identity provider's jwks_uri. It is fetched from nowhere else, whatever a token says. SimpleJWT: JWK_URL.
	JWKS string `toml:"jwks"`
	// JWKSRefresh is the time between two fetches of jwks. A token that names an unknown key makes one more, at most every 10 s.
	JWKSRefresh time.Duration `toml:"jwks_refresh"`
	// JWKSKeep is how long the keys count after the last fetch that succeeded; then nobody is let in until one does. 0 = for ever.
	JWKSKeep time.Duration `toml:"jwks_keep"`
	// JWKSCA is the path of a PEM file with the authorities that may sign the certificate of the jwks address; "" = those of the system.
	JWKSCA string `toml:"jwks_ca"`
	// JWKSInsecure fetches jwks over plain http also from another machine: who sits between can then let anybody in as anybody.
	JWKSInsecure bool `toml:"jwks_insecure"`
	// Algorithms are the values of alg that a token may have, such as ["RS256"]; [] = all that fit the keys.
	Algorithms []string `toml:"algorithms"`
	// Audience must be among the token's aud; "" = aud is not looked at.
	Audience string `toml:"audience"`
	// Issuer must be the token's iss; "" = iss is not looked at. With several issuers in the chain each answers for its own tokens.
	Issuer string `toml:"issuer"`
	// UserClaim is the claim with the user's id, a string or an integer. SimpleJWT: "user_id".
	UserClaim string `toml:"user_claim"`
	// UserPrefix is put before the id, to keep users of several verifiers apart.
	UserPrefix string `toml:"user_prefix"`
	// CookieName is the cookie to read tokens from (dj-rest-auth: JWT_AUTH_COOKIE); "" = tokens are not looked for in cookies.
	CookieName string `toml:"cookie_name"`
	// Users says whose database has the users of the tokens: "django" is that of [authn.django], "django:shop" that of [authn.django.sites.shop]. A token's user is then looked up at login
	// and at every revalidation, as SimpleJWT does, by database_conns connections of its own: who is not there or not active is refused, and kind, groups, permissions, attributes and
	// user_prefix are the site's. The claim user_claim has to hold the primary key (SimpleJWT: USER_ID_FIELD). "" = a token says everything itself, and is believed until it ends.
	Users string `toml:"users"`
	// RevokeTokenClaim is the claim that must fit the user's password, so that a new password ends the logins by older tokens. Needs users; "" = not looked at. SimpleJWT with
	// CHECK_REVOKE_TOKEN: REVOKE_TOKEN_CLAIM, which is "hash_password".
	RevokeTokenClaim string `toml:"revoke_token_claim"`
	// Leeway is added to exp, and taken from nbf and iat, for clocks that differ. nbf and iat have 5 s in any case.
	Leeway time.Duration `toml:"leeway"`

	// Shared says that a later verifier of the chain answers for tokens of other issuers: they are not mine, instead of refused. Who makes the chain sets it.
	Shared bool `toml:"-"`
	// Site is the section that Users names. Who makes the chain sets it.
	Site django.Options `toml:"-"`
	// BaseDir is the folder of config.toml, for relative paths. config sets it.
	BaseDir string `toml:"-"`
}

// DefaultOptions returns the defaults of config.toml.
func DefaultOptions() Options {
	return Options{UserClaim: "sub", JWKSRefresh: 5 * time.Minute, JWKSKeep: 24 * time.Hour}
}

// Configured reports whether there is anything to verify a token with.
func (o *Options) Configured() bool { return o.Secret != "" || o.PublicKey != "" || o.JWKS != "" }

const (
	shortestSecret  = 16
	longestLeeway   = 10 * time.Minute
	shortestRefresh = 10 * time.Second
)

// Validate reports every value that cannot work. It reads the files of public_key, jwks and jwks_ca, and fetches nothing.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.jwt."+format, args...)) }
	if !o.Configured() {
		bad("secret is empty, and so are public_key and jwks; set one: secret to the key that signs the tokens (SimpleJWT: SIGNING_KEY)")
	}
	if o.Secret != "" {
		o.checkSecret(bad)
	}
	var types []any
	if o.Secret != "" {
		types = append(types, []byte(nil))
	}
	if keys, err := o.publicKeys(); err != nil {
		bad("public_key: %w", err)
	} else {
		for _, k := range keys {
			types = append(types, k.public)
		}
	}
	if o.JWKS != "" {
		o.checkJWKS(bad)
	}
	o.checkAlgorithms(bad, types)
	if o.UserClaim == "" {
		bad(`user_claim is empty; use "sub", or "user_id" for SimpleJWT`)
	}
	o.checkUsers(bad)
	if len(o.UserPrefix) > 64 {
		bad("user_prefix has %d bytes; at most 64, an id has 128 with it", len(o.UserPrefix))
	}
	if strings.ContainsAny(o.CookieName, "=; \t\r\n") {
		bad("cookie_name = %q is no name of a cookie", o.CookieName)
	}
	if o.Leeway < 0 || o.Leeway > longestLeeway {
		bad("leeway = %v is not between 0s and %v", o.Leeway, longestLeeway)
	}
	if o.Shared && o.Issuer == "" {
		bad("issuer is empty; with several issuers in authn.chain only the last may be without, for it decides whose a token is")
	}
	return errors.Join(errs...)
}

func (o *Options) checkUsers(bad func(string, ...any)) {
	kind, site, named := strings.Cut(o.Users, ":")
	if o.Users != "" && (kind != "django" || named && site == "") {
		bad(`users = %q is no site; want "django" for [authn.django], or "django:NAME" for [authn.django.sites.NAME]`, o.Users)
	}
	if o.Users != "" && o.UserPrefix != "" {
		bad("user_prefix: with users it is that of the site; take it out here")
	}
	if o.RevokeTokenClaim != "" && o.Users == "" {
		bad(`revoke_token_claim is compared with the password of a user, who is not looked up; set users = "django", or take it out`)
	}
}

func (o *Options) checkSecret(bad func(string, ...any)) {
	switch {
	case strings.Contains(o.Secret, "-----BEGIN"):
		bad("secret holds a PEM key, which verifies no shared-secret token; put the public key into public_key, and leave the private one with who makes the tokens")
	case placeholder(o.Secret):
		bad("secret is a placeholder that anybody can guess; make one with: openssl rand -base64 48")
	case len(o.Secret) < shortestSecret:
		bad("secret has %d bytes; at least %d, better 32, e.g. of: openssl rand -base64 48", len(o.Secret), shortestSecret)
	}
}

func (o *Options) checkJWKS(bad func(string, ...any)) {
	if o.JWKSRefresh < shortestRefresh {
		bad("jwks_refresh = %v is below %v, which no identity provider likes", o.JWKSRefresh, shortestRefresh)
	}
	if o.JWKSKeep != 0 && o.JWKSKeep < o.JWKSRefresh {
		bad("jwks_keep = %v is shorter than jwks_refresh, so the keys would be gone between two fetches; 0 = for ever", o.JWKSKeep)
	}
	if _, err := o.source(); err != nil {
		bad("%w", err)
	}
}

// checkAddress tells what is wrong with an address of jwks; "" if nothing.
func checkAddress(address string, insecure bool) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "is no address; want one like https://id.example.com/jwks.json"
	case u.User != nil:
		return "holds a user or password, which config print would show; public keys need none"
	case u.Scheme == "http" && !insecure && !loopback(u.Hostname()):
		return "is plain http: who sits between could let anybody in; use https, or set jwks_insecure = true in a network you trust"
	}
	return ""
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// host gives the host and port of an address, for people.
func host(u *url.URL) string {
	if u.Port() != "" {
		return net.JoinHostPort(u.Hostname(), u.Port())
	}
	return u.Hostname()
}

func (o *Options) checkAlgorithms(bad func(string, ...any), types []any) {
	for i, alg := range o.Algorithms {
		switch {
		case !slices.Contains(algorithms, alg):
			bad("algorithms has %q, which is none; there are %s", alg, strings.Join(algorithms, ", "))
		case slices.Contains(o.Algorithms[:i], alg):
			bad("algorithms has %q twice", alg)
		case strings.HasPrefix(alg, "HS") && o.Secret == "":
			bad("algorithms has %q, which needs secret", alg)
		case o.JWKS != "" && !strings.HasPrefix(alg, "HS"): // whatever comes there
		case !slices.ContainsFunc(types, func(public any) bool { return fits(alg, public) }):
			bad("algorithms has %q, and no key is of its type; take it out, or add the key to public_key", alg)
		}
	}
}

// path is a path of config.toml, relative to its folder.
func (o *Options) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(o.BaseDir, p)
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
