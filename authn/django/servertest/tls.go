//go:build unix

package servertest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is an authority of a test's own.
type CA struct {
	File string // its certificate in PEM

	// static
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey

	issued int // owned by the test's goroutine
}

// NewCA makes an authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	c := &CA{t: t, dir: folder(t, "tls"), key: newKey(t)}
	c.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c.File = c.write("ca.pem", "CERTIFICATE", c.sign(c.cert, &c.key.PublicKey))
	return c
}

// Issue makes a certificate for names and addresses, and returns the files of it and of its key.
func (c *CA) Issue(hosts ...string) (cert, key string) {
	c.t.Helper()
	c.issued++
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(int64(c.issued) + 1), Subject: pkix.Name{CommonName: "test server"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	k := newKey(c.t)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		c.t.Fatal(err)
	}
	name := leaf.SerialNumber.String()
	return c.write(name+".cert.pem", "CERTIFICATE", c.sign(leaf, &k.PublicKey)), c.write(name+".key.pem", "PRIVATE KEY", der)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (c *CA) sign(leaf *x509.Certificate, key *ecdsa.PublicKey) []byte {
	c.t.Helper()
	leaf.NotBefore, leaf.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, leaf, c.cert, key, c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return der
}

func (c *CA) write(name, kind string, der []byte) string {
	c.t.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// RedisTLS starts a Redis server that speaks TLS alone. More arguments are its own.
func RedisTLS(t testing.TB, cert, key string, args ...string) *Server {
	t.Helper()
	return startRedis(t, func(port string) []string {
		return append([]string{"--port", "0", "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"}, args...)
	})
}

// MariaDBTLS starts a MariaDB that offers TLS.
func MariaDBTLS(t testing.TB, cert, key string) *Maria {
	t.Helper()
	return MariaDB(t, "--ssl-cert="+cert, "--ssl-key="+key)
}
