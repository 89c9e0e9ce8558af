package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math"
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

// TestRenewedCertificate: SIGHUP and POST reload take a renewed pair into use under open sockets, which go on as they began; a pair that
// cannot work changes nothing and the log says why.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	first, firstKey, firstPool := certificate(t)
	renewed, renewedKey, renewedPool := certificate(t)
	n := startNode(t, "a", conf{"server.tls.cert": first, "server.tls.key": firstKey})
	connect := func(pool *x509.CertPool) (*socket, error) {
		conn, err := tls.Dial("tcp", n.addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		s, err := upgrade(conn, n.addr, "/ws", bearer(token(t, "kim")))
		if err != nil {
			return nil, err
		}
		s.t = t
		s.must("welcome")
		return s, nil
	}
	put := func(from, to string) {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, err := connect(firstPool)
	if err != nil {
		t.Fatal(err)
	}
	put(renewed, first) // half of the renewal
	line := n.logs.len()
	n.signal(sighup)
	n.logs.waitLine(t, line, "nothing was changed", "server.tls")
	if status, answer := n.call(adminKey, "POST", "/api/v1/reload", nil); status < 400 || apiCode(answer) == "" {
		t.Errorf("POST reload of half a renewal: %d %v, want an error", status, answer)
	}
	if _, err := connect(firstPool); err != nil {
		t.Errorf("after a bad reload: %v, want the first certificate", err)
	}
	put(renewedKey, firstKey)
	if status, answer := n.call(adminKey, "POST", "/api/v1/reload", nil); status != 200 || answer["ok"] != true {
		t.Fatalf("POST reload: %d %v", status, answer)
	}
	if _, err := connect(firstPool); err == nil {
		t.Error("after the reload the first certificate is shown")
	}
	young, err := connect(renewedPool)
	if err != nil {
		t.Fatal(err)
	}
	young.add("room.tls")
	old.add("room.tls")
	old.groupSend("room.tls", "hello")
	young.wantData("room.tls", "hello")
}

// dialTLS opens a native socket of a user over conn, which it handshakes on.
func dialTLS(t testing.TB, n *node, conn net.Conn, pool *x509.CertPool, user string) *socket {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	s, err := upgrade(tls.Client(conn, &tls.Config{RootCAs: pool, ServerName: "localhost"}), n.addr, "/ws", bearer(token(t, user)))
	if err != nil {
		t.Fatal(err)
	}
	s.t, s.user = t, user
	s.conID = s.must("welcome").str("conn")
	return s
}

// bytewise writes one byte at a time.
type bytewise struct{ net.Conn }

func (c bytewise) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		_, err = c.Conn.Write(b[n : n+1])
		n++
	}
	return n, err
}

// TestTLSByteByByte: handshakes and records that come a byte at a time are read as others are.
func TestTLSByteByByte(t *testing.T) {
	t.Parallel()
	cert, key, pool := certificate(t)
	n := startNode(t, "a", conf{"server.tls.cert": cert, "server.tls.key": key})
	s := dialTLS(t, n, bytewise{(&attacker{t, n}).raw()}, pool, "kim")
	s.add("room.bytes")
	s.groupSend("room.bytes", "ü")
	s.wantData("room.bytes", "ü")
	s.leave()
}

// clientHello is what a TLS client says first.
func clientHello(t testing.TB) []byte {
	t.Helper()
	near, far := net.Pipe()
	done := make(chan struct{})
	go func() { // ends when far is closed
		defer close(done)
		tls.Client(near, &tls.Config{ServerName: "localhost"}).Handshake()
		near.Close()
	}()
	b := make([]byte, 4096)
	n, err := far.Read(b)
	far.Close()
	<-done
	if err != nil || n < 100 {
		t.Fatalf("a ClientHello of %d bytes: %v", n, err)
	}
	return b[:n]
}

// TestHostileTLS: who misuses TLS is gone within its timeouts, disturbs nobody, and leaves nothing behind.
func TestHostileTLS(t *testing.T) {
	heavy(t)
	t.Parallel()
	cert, key, pool := certificate(t)
	n := startNode(t, "a", conf{
		"server.tls.cert": cert, "server.tls.key": key, "server.limits.handshake_timeout": "1s", "server.limits.message_timeout": "1s",
	})
	h := &attacker{t, n}
	by := &bystander{socket: dialTLS(t, n, h.raw(), pool, "bystander"), group: "room.bystander"}
	by.add(by.group)
	hello := clientHello(t)
	secure := func() *tls.Conn {
		c := tls.Client(h.raw(), &tls.Config{RootCAs: pool, ServerName: "localhost"})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := n.settled(t, 1, math.Inf(1))
	for _, attack := range []struct {
		name string
		do   func()
	}{
		{"silent", func() { h.raw() }},
		{"half a ClientHello", func() { h.raw().Write(hello[:len(hello)/2]) }},
		{"a ClientHello of a byte now and then", func() {
			c := h.raw()
			go drip(c, hello[:6], []byte{0}) // ends with the conn
		}},
		{"a ClientHello and no more", func() { h.raw().Write(hello) }},
		{"a ClientHello, then a reset", func() {
			c := h.raw()
			c.Write(hello)
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}},
		{"a record of no TLS", func() { h.raw().Write([]byte("\x16\x03\x01\xff\xff" + strings.Repeat("x", 70000))) }},
		{"HTTP without TLS", func() { h.raw().Write(append(upgradeLines(nil), "\r\n"...)) }},
		{"silent behind the handshake", func() { secure() }},
		{"half a header block", func() { secure().Write(upgradeLines(nil)) }},
		{"a broken record in the middle", func() {
			raw := h.raw()
			dialTLS(t, n, raw, pool, "mallory")
			raw.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
		}},
		{"half a frame", func() {
			s := dialTLS(t, n, h.raw(), pool, "mallory")
			s.write(appendFrame(nil, 0x80|opText, []byte(`{"op":"ping"}`))[:5])
		}},
		{"the end in the middle of a record", func() {
			raw := h.raw()
			dialTLS(t, n, raw, pool, "mallory")
			raw.Write([]byte("\x17\x03\x03\x01\x00half"))
			raw.(*net.TCPConn).CloseWrite()
		}},
	} {
		attack.do()
		by.echo()
	}
	n.waitConns(t, 1) // none of them closed its socket but the one that reset it
	by.echo()
	after := n.settled(t, 1, before.heap+6e6)
	if after.goroutines > before.goroutines+4 || after.descriptors > before.descriptors+1 || after.heap > before.heap+6e6 {
		t.Errorf("something leaked: before %+v, after %+v", before, after)
	}
	by.leave()
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
