package mtls

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatecast/gatecast/authn"
)

// Options are the section [authn.mtls]. server.tls.client_ca says whose certificates are verified at all.
type Options struct {
	// User is the field that names the user: "cn" (subject's common name), "email", "dns" or "uri" (the certificate must have just one of it), or "serial"
	// (hex). Empty: not configured.
	User string `toml:"user"`
	// Groups is the field with groups, for rules to "group:…" and {groups}: "ou" or "o". Empty: no groups.
	Groups string `toml:"groups"`
	// UserPrefix goes before the user's id. Set it when another verifier's ids could be the same and mean somebody else.
	UserPrefix string `toml:"user_prefix"`
}

// users are the fields of Options.User.
var users = map[string]func(*x509.Certificate) []string{
	"cn":    commonNames,
	"email": func(c *x509.Certificate) []string { return c.EmailAddresses },
	"dns":   func(c *x509.Certificate) []string { return c.DNSNames },
	"uri": func(c *x509.Certificate) (all []string) {
		for _, u := range c.URIs {
			all = append(all, u.String())
		}
		return all
	},
	"serial": func(c *x509.Certificate) []string { return []string{c.SerialNumber.Text(16)} },
}

var commonName = asn1.ObjectIdentifier{2, 5, 4, 3} // X.520

// commonNames are all there are: Subject.CommonName is the last of them.
func commonNames(c *x509.Certificate) (all []string) {
	for _, n := range c.Subject.Names {
		if name, ok := n.Value.(string); ok && n.Type.Equal(commonName) {
			all = append(all, name)
		}
	}
	return all
}

var groups = map[string]func(*x509.Certificate) []string{
	"":   func(*x509.Certificate) []string { return nil },
	"ou": func(c *x509.Certificate) []string { return c.Subject.OrganizationalUnit },
	"o":  func(c *x509.Certificate) []string { return c.Subject.Organization },
}

// Validate reports every value that cannot work. That server.tls.client_ca is set is seen by config.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("authn.mtls."+format, args...)) }
	if users[o.User] == nil && o.User != "" {
		bad(`user is %q: want "cn", "email", "dns", "uri" or "serial"`, o.User)
	}
	if groups[o.Groups] == nil {
		bad(`groups is %q: want "ou", "o" or nothing`, o.Groups)
	}
	if len(o.UserPrefix) > 64 || strings.ContainsFunc(o.UserPrefix, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		bad("user_prefix: want at most 64 bytes and no control characters")
	}
	return errors.Join(errs...)
}

// reasonNoUser: the certificate is good, and names nobody or more than one.
const reasonNoUser = "no_user_in_certificate"

// Verifier answers for verified certificates. It has no state.
type Verifier struct {
	opts   Options
	user   func(*x509.Certificate) []string
	groups func(*x509.Certificate) []string
}

// New checks o.
func New(o Options) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.User == "" {
		return nil, errors.New(`authn.mtls.user is empty; set it to the certificate's field that names the user, such as "cn"`)
	}
	return &Verifier{o, users[o.User], groups[o.Groups]}, nil
}

// CookieName implements authn.CookieNamer: it reads none.
func (v *Verifier) CookieName() string { return "" }

// CacheKey implements authn.CacheKeyer: the certificate.
func (v *Verifier) CacheKey(c authn.Credential) (string, bool) {
	cert := certificate(c)
	if cert == nil {
		return "", false
	}
	sum := sha256.Sum256(cert.Raw)
	return string(sum[:]), true
}

func certificate(c authn.Credential) *x509.Certificate {
	if c.Carrier != authn.CarrierCertificate || c.Request == nil {
		return nil
	}
	return c.Request.Certificate
}

// Verify implements authn.Verifier. The login ends with the certificate.
func (v *Verifier) Verify(_ context.Context, c authn.Credential) (*authn.Identity, error) {
	cert := certificate(c)
	if cert == nil {
		return nil, authn.ErrNotMine
	}
	names := slices.DeleteFunc(slices.Clone(v.user(cert)), func(s string) bool { return s == "" || !utf8.ValidString(s) })
	if len(names) != 1 {
		return nil, authn.Refuse(reasonNoUser, fmt.Errorf("the certificate has %d values of %q, which should name the user; want one", len(names), v.opts.User))
	}
	return &authn.Identity{ID: v.opts.UserPrefix + names[0], Kind: authn.KindUser, Groups: v.groups(cert), Expires: cert.NotAfter}, nil
}
