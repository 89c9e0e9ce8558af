package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// authority makes a CA and a certificate of it for ips, as files.
func authority(t *testing.T, ips ...string) broker.TLSOptions {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sign := func(c, parent *x509.Certificate, k, by *ecdsa.PrivateKey) []byte {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &k.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	caKey, nodeKey := key(), key()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	node := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, ip := range ips {
		node.IPAddresses = append(node.IPAddresses, net.ParseIP(ip))
	}
	nodeKeyDER, err := x509.MarshalPKCS8PrivateKey(nodeKey)
	if err != nil {
		t.Fatal(err)
	}
	return broker.TLSOptions{
		CA:   write("ca.pem", "CERTIFICATE", sign(ca, ca, caKey, caKey)),
		Cert: write("cert.pem", "CERTIFICATE", sign(node, ca, nodeKey, caKey)),
		Key:  write("key.pem", "PRIVATE KEY", nodeKeyDER),
	}
}

func TestClusterOverTLS(t *testing.T) {
	files := authority(t, "127.0.0.1") // the routes' addresses are in no certificate
	port := freePort(t)
	var known atomic.Pointer[[]netip.Addr]
	known.Store(&[]netip.Addr{})
	lookup := func(context.Context, string) ([]netip.Addr, error) { return *known.Load(), nil }
	open := func(i int, addr string, tls broker.TLSOptions) *brokertest.Node {
		o := brokertest.ClusterOptions(i, "nats://nodes.test:"+port)
		o.Cluster.Listen = net.JoinHostPort(addr, port)
		o.TLS = tls
		r := brokertest.NewRecorder()
		b, err := broker.OpenWith(t.Context(), o, r, brokertest.Log(), func(b *broker.Broker) { broker.SetLookup(b, 50*time.Millisecond, lookup) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return &brokertest.Node{Broker: b, Recorder: r}
	}
	a, b := open(0, "127.0.0.2", files), open(1, "127.0.0.3", files)
	nc, err := nats.Connect(strings.Replace(a.ClientURL(), "nats:", "tls:", 1), nats.Token(brokertest.ServiceToken), nats.RootCAs(files.CA), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	known.Store(&[]netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")})
	brokertest.WaitCluster(t, a, b)
	joinThenSend(t, "tls", 50, a, b)
	b.JoinWait(t, "g")
	if answer, err := nc.Request("gc.in.g", []byte("1"), 5*time.Second); err != nil || string(answer.Data) != `{"ok":true}` {
		t.Errorf("through the reload: %v", err)
	}
	b.WaitMessages(t, "g", 1)

	t.Run("another authority's node stays out", func(t *testing.T) {
		o := brokertest.ClusterOptions(2, "nats://127.0.0.2:"+port)
		o.TLS = authority(t, "127.0.0.1")
		ctx, cancel := context.WithTimeout(t.Context(), brokertest.Within)
		defer cancel()
		c, err := broker.Open(ctx, o, brokertest.NewRecorder(), nil)
		if err == nil {
			c.Close()
			t.Fatal("it serves")
		}
		if !strings.Contains(err.Error(), "certificates of one authority") {
			t.Errorf("got %v", err)
		}
	})
}

func TestExternalOverTLS(t *testing.T) {
	files := authority(t, "127.0.0.1")
	s := brokertest.StartNATS(t, 0, func(o *server.Options) {
		config, err := server.GenTLSConfig(&server.TLSConfigOpts{CertFile: files.Cert, KeyFile: files.Key, CaFile: files.CA, Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		o.TLS, o.TLSConfig, o.TLSTimeout = true, config, 5
	})
	url := "tls://" + s.Addr().String()
	o := broker.DefaultOptions()
	o.URL, o.Token, o.TLS = url, brokertest.ServiceToken, files
	n := brokertest.Open(t, o, brokertest.NewRecorder())
	n.JoinWait(t, "g")
	n.Send(t, "g", "1")
	n.WaitMessages(t, "g", 1)
}
