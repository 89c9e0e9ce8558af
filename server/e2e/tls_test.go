package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTLS: wss:// without a proxy in front, in portable mode by itself.
func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	n := startNode(t, "a", conf{"server.tls.cert": cert, "server.tls.key": key})
	var socks []*socket
	for range 3 {
		conn, err := tls.Dial("tcp", n.addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := upgrade(conn, n.addr, "/ws", bearer(token(t, "kim")))
		if err != nil {
			t.Fatal(err)
		}
		s.t = t
		t.Cleanup(func() { conn.Close() })
		s.must("welcome")
		s.add("room.tls")
		socks = append(socks, s)
	}
	body := strings.Repeat("0123456789", 5000)
	socks[0].groupSend("room.tls", body)
	for _, s := range socks {
		s.wantData("room.tls", body)
	}
	// Somebody who speaks no TLS disturbs nobody.
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Write(append(upgradeLines(nil), "\r\n"...))
	c.SetReadDeadline(time.Now().Add(patience))
	for b := make([]byte, 100); err == nil; {
		_, err = c.Read(b)
	}
	c.Close()
	for _, s := range socks {
		s.leave()
	}
	n.waitConns(t, 0)
}

// certificate makes a key and a certificate of localhost that signs itself.
func certificate(t testing.TB) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, b := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, pool
}
