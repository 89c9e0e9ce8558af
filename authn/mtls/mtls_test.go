package mtls

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

func shown(cert *x509.Certificate) authn.Credential {
	return authn.Credential{Carrier: authn.CarrierCertificate, Request: &authn.Request{Certificate: cert}}
}

// subject is a name as x509 parses it.
func subject(name pkix.Name) (parsed pkix.Name) {
	rdns := name.ToRDNSequence()
	parsed.FillFromRDNSequence(&rdns)
	return parsed
}

// ada is a certificate as x509 parses it; only its fields matter here, for TLS has verified it.
func ada(change func(*x509.Certificate)) *x509.Certificate {
	c := &x509.Certificate{
		Raw: []byte("raw"), SerialNumber: big.NewInt(0xabc), NotAfter: time.Now().Add(time.Hour),
		Subject:        subject(pkix.Name{CommonName: "ada", OrganizationalUnit: []string{"Editors", "Staff"}, Organization: []string{"Acme"}}),
		EmailAddresses: []string{"ada@example.com"}, DNSNames: []string{"ada.example.com"}, URIs: []*url.URL{{Scheme: "spiffe", Host: "acme", Path: "/ada"}},
	}
	if change != nil {
		change(c)
	}
	return c
}

func TestConformance(t *testing.T) {
	authntest.Run(t, func(t *testing.T) authntest.Harness {
		v, err := New(Options{User: "cn"})
		if err != nil {
			t.Fatal(err)
		}
		return authntest.Harness{
			Verifier: v,
			Good:     []authntest.Good{{Credential: shown(ada(nil)), ID: "ada"}},
			Bad:      map[string]authn.Credential{"nobody": shown(ada(func(c *x509.Certificate) { c.Subject = subject(pkix.Name{Country: []string{"SE"}}) }))},
			NotMine:  []authn.Credential{{Carrier: authn.CarrierCertificate}, shown(nil), {Carrier: authn.CarrierHeader, Request: &authn.Request{Certificate: ada(nil)}}},
			Takes:    func(authn.Credential) bool { return false },
		}
	})
}

func TestFields(t *testing.T) {
	for field, want := range map[string]string{"cn": "x-ada", "email": "x-ada@example.com", "dns": "x-ada.example.com", "uri": "x-spiffe://acme/ada", "serial": "x-abc"} {
		v, err := New(Options{User: field, Groups: "ou", UserPrefix: "x-"})
		if err != nil {
			t.Fatal(err)
		}
		cert := ada(nil)
		id, err := v.Verify(t.Context(), shown(cert))
		if err != nil || id.ID != want || !slices.Equal(id.Groups, []string{"Editors", "Staff"}) || !id.Expires.Equal(cert.NotAfter) {
			t.Errorf("%s: %+v, %v, want %s", field, id, err, want)
		}
	}
	v, _ := New(Options{User: "email", Groups: "o"})
	if id, err := v.Verify(t.Context(), shown(ada(nil))); err != nil || !slices.Equal(id.Groups, []string{"Acme"}) {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := v.Verify(t.Context(), shown(ada(func(c *x509.Certificate) { c.EmailAddresses = []string{"a@x", "b@x"} }))); err == nil {
		t.Errorf("two addresses are user %s", id.ID)
	}
	// x509 gives the last of several common names; another program on the way, the authority for one, may have looked at the first.
	v, _ = New(Options{User: "cn"})
	two := pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: commonName, Value: "eve"}, {Type: commonName, Value: "root"}}}
	if id, err := v.Verify(t.Context(), shown(ada(func(c *x509.Certificate) { c.Subject = subject(two) }))); err == nil {
		t.Errorf("two common names are user %s", id.ID)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]Options{`user is "sn"`: {User: "sn"}, `groups is "c"`: {User: "cn", Groups: "c"}, "user_prefix": {User: "cn", UserPrefix: "\n"}} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "authn.mtls."+want) {
			t.Errorf("Validate = %v, want it to say %q", err, want)
		}
	}
	if _, err := New(Options{}); err == nil {
		t.Error("New without a field = nil")
	}
}
