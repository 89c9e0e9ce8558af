package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProxyHeader: a proxy that has logged the user in is believed, nobody else is, and pages of other sites cannot use it.
func TestProxyHeader(t *testing.T) {
	t.Parallel()
	c := conf{
		"authn.chain": []string{"header", "jwt"}, "authn.carriers": []string{"proxy", "header"}, "authn.header.user": "X-Remote-User", "authn.header.groups": "X-Remote-Groups",
		"authn.header.user_prefix": "sso-", "server.trusted_proxies": []string{"127.0.0.1"}, "authn.revalidate": "300ms",
		"grants": []conf{{"to": "group:Editors", "join": []string{"desk"}}},
	}
	n := startNode(t, "a", c)
	said := header{"X-Remote-User: ada", "X-Remote-Groups: Editors, Staff"}
	sock := dialRaw(t, n, "/ws", said)
	if w := sock.must("welcome"); w.str("user") != "sso-ada" || len(w["groups"].([]any)) != 2 {
		t.Errorf("welcome is %v, want sso-ada at the desk", w)
	}
	endsByDisconnect(t, n, sock, "sso-ada")
	if eve := dial(t, n, header{"x-remote-user: eve"}); eve.user != "sso-eve" {
		t.Errorf("another user behind the proxy is %q", eve.user)
	}
	dial(t, n, append(said, "Origin: http://"+n.addr))
	refusedHTTP(t, n, "/ws", append(said, "Origin: https://evil.example"), http.StatusForbidden)
	n.logs.waitLine(t, 0, "handshake refused", "origin_", "evil.example", "server.origins")
	refusedClose(t, n, "/ws", append(said, "X-Remote-User: root"), 4401, "unauthorized")
	n.logs.waitLine(t, 0, "handshake refused", "two_users")
	// The proxy lets others through, who have a token or nothing.
	if kim := dial(t, n, append(bearer(token(t, "kim")), "Origin: https://evil.example")); kim.user != "kim" {
		t.Errorf("a token behind the proxy is %q", kim.user)
	}
	refusedClose(t, n, "/ws", header{"X-Remote-User: "}, 4401, "unauthorized")
	// CGI's spelling of the same header is none.
	refusedClose(t, n, "/ws", header{"X_Remote_User: ada"}, 4401, "unauthorized")

	direct := startNode(t, "b", conf{"server.trusted_proxies": []string{"192.0.2.0/24"}}.over(c))
	refusedClose(t, direct, "/ws", said, 4401, "unauthorized")
	direct.logs.waitLine(t, 0, "handshake refused", "no_credential")
	for want, extra := range map[string]conf{
		"server.trusted_proxies is empty": {"server.trusted_proxies": nil},
		"is everybody":                    {"server.trusted_proxies": []string{"0.0.0.0/0"}},
		`add "proxy"`:                     {"authn.carriers": []string{"header"}},
	} {
		code, out := refusesToStart(t, extra.over(c))
		if code == 0 || !strings.Contains(out, want) {
			t.Errorf("with %v it ends with %d and says %s, want %q", extra, code, out, want)
		}
	}
}

// endsByDisconnect: nobody can be asked about such a login again. Sweeps and a revalidation leave it its rights, a disconnect ends it, here so that
// the client comes back and the login is looked at anew.
func endsByDisconnect(t *testing.T, n *node, sock *socket, user string) {
	t.Helper()
	n.waitGrew(t, n.metrics(), "gatecast_sweeps_total")
	if status, answer := n.call(adminKey, "POST", "/api/v1/revalidate", msg{"user": user}); status != http.StatusOK || answer["conns"] != 1.0 {
		t.Errorf("revalidate of %s = %d %v, want one conn", user, status, answer)
	}
	sock.ok(msg{"op": "group_add", "group": "desk"})
	if status, answer := n.call(adminKey, "POST", "/api/v1/disconnect", msg{"user": user, "code": 4200}); status != http.StatusOK || answer["conns"] == 0.0 {
		t.Errorf("disconnect of %s = %d %v, want its conns", user, status, answer)
	}
	sock.wantClosed(4200)
}

// refusesToStart checks a config that should not work.
func refusesToStart(t *testing.T, extra conf) (code int, out string) {
	t.Helper()
	dir := t.TempDir()
	return cli(t, dir, "config", "check", "-config", nodeConf(t, "x", extra).write(t, dir))
}

// authority signs certificates of clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "authority"}}
	pair := a.sign(t, template)
	a.cert = pair.Leaf
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// sign makes a certificate with a key of its own; the first is the authority's.
func (a *authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer, a.key = template, key, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) client(t *testing.T, name string, lives time.Duration) tls.Certificate {
	return a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lives),
		Subject: pkix.Name{CommonName: name, OrganizationalUnit: []string{"Editors"}}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

// TestClientCertificate: a certificate of the authority logs its subject in, as far as the page's origin allows; another's does not get through TLS.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	ours, theirs := newAuthority(t), newAuthority(t)
	n := startNode(t, "a", conf{
		"server.tls.cert": cert, "server.tls.key": key, "server.tls.client_ca": ours.file,
		"authn.chain": []string{"mtls", "jwt"}, "authn.carriers": []string{"certificate", "header"}, "authn.revalidate": "300ms", "authn.mtls.user": "cn", "authn.mtls.groups": "ou",
		"grants": []conf{{"to": "group:Editors", "join": []string{"desk"}}},
	})
	connect := func(pair *tls.Certificate, h header) (*socket, error) {
		config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
		if pair != nil {
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
		}
		conn, err := tls.Dial("tcp", n.addr, config)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		s, err := upgrade(conn, n.addr, "/ws", h)
		if err == nil {
			s.t = t
		}
		return s, err
	}
	ada := ours.client(t, "ada", time.Hour)
	s, err := connect(&ada, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := s.must("welcome"); w.str("user") != "ada" || len(w["groups"].([]any)) != 2 || int64(w.num("expires")) != ada.Leaf.NotAfter.Unix() {
		t.Errorf("welcome is %v, want ada at the desk until the certificate ends", w)
	}
	endsByDisconnect(t, n, s, "ada")
	if _, err := connect(&ada, header{"Origin: https://evil.example"}); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("from another site: %v, want 403", err)
	}
	if s, err = connect(nil, bearer(token(t, "kim"))); err != nil {
		t.Fatal(err)
	}
	if w := s.must("welcome"); w.str("user") != "kim" {
		t.Errorf("without a certificate, with a token: %v", w)
	}
	if s, err = connect(nil, nil); err != nil {
		t.Fatal(err)
	}
	s.wantClosed(4401)
	for name, pair := range map[string]tls.Certificate{"of another authority": theirs.client(t, "ada", time.Hour), "expired": ours.client(t, "ada", -time.Minute)} {
		if s, err := connect(&pair, bearer(token(t, "kim"))); err == nil {
			t.Errorf("a certificate %s gets through: %v", name, s.head.Status)
		}
	}
	short := ours.client(t, "brief", 6*time.Second)
	if s, err = connect(&short, nil); err != nil {
		t.Fatal(err)
	}
	s.wantClosed(4401)
}
