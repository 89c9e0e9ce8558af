package admin

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// role is what a key opens. A route asks for one of rolePublish, roleRead, roleAdmin; roleAdmin opens every route.
type role uint8

const (
	roleNone role = iota
	rolePublish
	roleRead
	roleAdmin
)

func (r role) String() string { return [...]string{"none", "publish", "read", "admin"}[r] }

func (r role) opens(need role) bool { return r == need || r == roleAdmin }

func parseRole(s string) (role, error) {
	for r := rolePublish; r <= roleAdmin; r++ {
		if s == r.String() {
			return r, nil
		}
	}
	return roleNone, fmt.Errorf(`role = %q: write "publish", "read" or "admin"`, s)
}

// keyring holds the keys' hashes; immutable.
type keyring struct{ keys []hashedKey }

type hashedKey struct {
	hash [sha256.Size]byte
	role role
	name string
}

// newKeyring expects keys that passed validateKeys.
func newKeyring(keys []Key) *keyring {
	r := &keyring{keys: make([]hashedKey, len(keys))}
	for i, k := range keys {
		kr, _ := parseRole(k.Role)
		r.keys[i] = hashedKey{sha256.Sum256([]byte(k.Key)), kr, cmp.Or(k.Name, k.Role)}
	}
	return r
}

// find compares the hash with every key's, so that time tells neither which key matched nor how much of it.
func (k *keyring) find(secret string) (hashedKey, bool) {
	hash := sha256.Sum256([]byte(secret))
	var found hashedKey
	ok := 0
	for _, key := range k.keys {
		if subtle.ConstantTimeCompare(hash[:], key.hash[:]) == 1 {
			found, ok = key, 1
		}
	}
	return found, ok == 1
}

// authorize returns the name of the caller's key if it opens a route that needs need.
func (s *Server) authorize(r *http.Request, need role) (name string, err error) {
	keys := s.keys.Load()
	if len(keys.keys) == 0 {
		return "dev", s.authorizeWithoutKeys(r)
	}
	secret, ok := bearer(r.Header.Get("Authorization"))
	if !ok {
		return "", &Error{CodeUnauthorized, "send the header `Authorization: Bearer KEY` with a key of [[admin.keys]]"}
	}
	key, ok := keys.find(secret)
	if !ok {
		return "", &Error{CodeUnauthorized, "this key is not in [[admin.keys]]"}
	}
	if !key.role.opens(need) {
		return "", &Error{CodeForbidden, fmt.Sprintf("this needs a key with role %q or \"admin\", yours has %q", need, key.role)}
	}
	return key.name, nil
}

// authorizeWithoutKeys opens the API in dev mode to programs on this machine, but not to web pages of others: a name that only
// resolves to loopback (DNS rebinding) is refused here, a cross-site form by checkSite.
func (s *Server) authorizeWithoutKeys(r *http.Request) error {
	if !s.deps.Dev {
		return &Error{CodeUnauthorized, "no admin key is configured: add [[admin.keys]] with key and role to config.toml"}
	}
	if !isLoopback(r.Host) || !isLoopback(r.RemoteAddr) {
		return &Error{CodeForbidden, "without [[admin.keys]], -dev answers this machine only: use http://127.0.0.1"}
	}
	return nil
}

func bearer(header string) (secret string, ok bool) {
	scheme, secret, ok := strings.Cut(header, " ")
	secret = strings.TrimSpace(secret)
	return secret, ok && strings.EqualFold(scheme, "Bearer") && secret != ""
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// sites refuses state-changing requests that a browser makes for another site's page. There is no CORS.
var sites = http.NewCrossOriginProtection()

func checkSite(r *http.Request) error {
	if err := sites.Check(r); err != nil {
		return &Error{CodeForbidden, "requests from pages of other sites are refused"}
	}
	return nil
}
