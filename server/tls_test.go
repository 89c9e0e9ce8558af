package server

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/gatecast/gatecast/server/loop"
)

// writePair writes a certificate that signs itself, with serial, and its key to dir.
func writePair(t testing.TB, dir string, serial int64) TLSOptions {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	o := TLSOptions{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{o.Cert: {Type: "CERTIFICATE", Bytes: der}, o.Key: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// overTLS opens a TLS connection to the node after sending head below it. The certificate is looked at, not verified.
func overTLS(n *Node, head string, c *tls.Config) (*tls.Conn, error) {
	raw, err := net.DialTimeout("tcp", n.Addr().String(), patience)
	if err != nil {
		return nil, err
	}
	_ = raw.SetDeadline(time.Now().Add(patience))
	_, err = io.WriteString(raw, head)
	if c == nil {
		c = &tls.Config{}
	}
	c.InsecureSkipVerify = true
	conn := tls.Client(raw, c)
	if err = errors.Join(err, conn.Handshake()); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return conn, nil
}

// dialTLS opens a WebSocket under TLS.
func dialTLS(t testing.TB, n *Node, head, user string) *sock {
	t.Helper()
	conn, err := overTLS(n, head, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	d := ws.Dialer{Header: ws.HandshakeHeaderHTTP{"Cookie": []string{"who=" + user}}}
	br, _, err := d.Upgrade(conn, &url.URL{Scheme: "wss", Host: "localhost", Path: "/ws"})
	if err != nil {
		t.Fatal(err)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	return &sock{t, conn, br}
}

func (s *sock) serial() int64 {
	return s.Conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

func TestACertificateIsReplacedUnderOpenConns(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c, dir := testConfig(t, mode), t.TempDir()
		c.Server.TLS = writePair(t, dir, 1)
		n, _ := startAlone(t, c)
		old := dialTLS(t, n, "", "a")
		old.want(`{"op":"welcome"}`)

		good, err := os.ReadFile(c.Server.TLS.Key)
		if err != nil {
			t.Fatal(err)
		}
		writePair(t, dir, 2)
		if err := os.WriteFile(c.Server.TLS.Key, good, 0o600); err != nil { // the old key under the new certificate
			t.Fatal(err)
		}
		if err := n.SetCertificate(c.Server.TLS); err == nil || !strings.Contains(err.Error(), "server.tls") {
			t.Fatalf("a pair that does not fit: %v, want an error that names server.tls", err)
		}
		if got := dialTLS(t, n, "", "b").serial(); got != 1 {
			t.Fatalf("after a bad reload handshakes see certificate %d, want 1", got)
		}
		writePair(t, dir, 3)
		if got := dialTLS(t, n, "", "b").serial(); got != 1 {
			t.Fatalf("without a reload handshakes see certificate %d, want 1", got)
		}
		if err := n.SetCertificate(c.Server.TLS); err != nil {
			t.Fatal(err)
		}
		if got := dialTLS(t, n, "", "c").serial(); got != 3 {
			t.Fatalf("after a reload handshakes see certificate %d, want 3", got)
		}
		old.send(`{"op":"ping","id":1}`)
		old.want(`{"op":"ok","id":1}`)
		if got := old.serial(); got != 1 {
			t.Fatalf("the old conn has certificate %d, want 1", got)
		}
	})
}

func TestANodeWithoutTLSRefusesACertificate(t *testing.T) {
	n, _ := startAlone(t, testConfig(t, loop.ModeAuto))
	if err := n.SetCertificate(writePair(t, t.TempDir(), 1)); err == nil {
		t.Fatal("SetCertificate of a node without TLS is content")
	}
}

func TestTLSVersionsAndProtocols(t *testing.T) {
	c := testConfig(t, loop.ModeAuto)
	c.Server.TLS = writePair(t, t.TempDir(), 1)
	n, _ := startAlone(t, c)
	for _, tt := range []struct {
		name     string
		config   *tls.Config
		protocol string
		refused  bool
	}{
		{"TLS 1.3 without ALPN", &tls.Config{MinVersion: tls.VersionTLS13}, "", false},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, "", false},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "", true},
		{"HTTP/1.1 by ALPN", &tls.Config{NextProtos: []string{"http/1.1"}}, "http/1.1", false},
		{"HTTP/1.1 behind h2", &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "http/1.1", false},
		{"h2 alone", &tls.Config{NextProtos: []string{"h2"}}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := overTLS(n, "", tt.config)
			if (err != nil) != tt.refused {
				t.Fatalf("handshake: %v, want refused = %v", err, tt.refused)
			}
			if err != nil {
				return
			}
			defer conn.Close()
			if got := conn.ConnectionState().NegotiatedProtocol; got != tt.protocol {
				t.Errorf("ALPN chose %q, want %q", got, tt.protocol)
			}
		})
	}
	eventually(t, "the end of all conns", func() bool { return n.conns.Load() == 0 })
}
