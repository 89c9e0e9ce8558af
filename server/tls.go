package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"github.com/gatecast/gatecast/server/proxyproto"
)

// A listener under TLS. With server.proxy_protocol the PROXY header stands before the TLS handshake, where the loops never look: it is
// read below TLS and handed up as the first bytes of the conn, so that one place (handshake.go) judges it in every mode.
//
//	TCP ─► headedConn: PROXY header ─┬────────────────► headedTLS: header, then plain text ─► loop ─► owner.readHeader
//	                                 └─► tls.Conn ────┘

// certificate is what handshakes are answered with. Conns keep what they began with.
type certificate struct {
	config atomic.Pointer[tls.Config]
}

// load replaces the configuration by that of the files, or says what is wrong with them and keeps it.
func (c *certificate) load(o TLSOptions) error {
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return fmt.Errorf("server.tls: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"}, // a client that offers others only is refused, RFC 7301 §3.2
	}
	if o.ClientCA != "" {
		pem, err := os.ReadFile(o.ClientCA)
		if err != nil {
			return fmt.Errorf("server.tls.client_ca: %w", err)
		}
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
		if !config.ClientCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("server.tls.client_ca: %s holds no certificate in PEM", o.ClientCA)
		}
		if o.ClientRequired {
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
		// A session that is resumed shows no certificate again, and may be of one whose authority is not believed any more.
		config.SessionTicketsDisabled = true
	}
	c.config.Store(config)
	return nil
}

// leaf is the certificate that is shown now.
func (c *certificate) leaf() *x509.Certificate { return c.config.Load().Certificates[0].Leaf }

// current looks up the configuration for each handshake.
func (c *certificate) current() *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.config.Load(), nil }}
}

// clientCertificate is the one that the client of a slot has shown and TLS has verified; nil without one.
func (o *owner) clientCertificate(slot uint32) *x509.Certificate {
	c, ok := o.loop.NetConn(slot).(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	if chains := c.ConnectionState().VerifiedChains; len(chains) > 0 { // none without client_ca
		return chains[0][0]
	}
	return nil
}

// SetCertificate reads the certificate and key files again, for later handshakes. If they do not fit together nothing changes. Only a
// node that began with TLS has a certificate to replace.
func (n *Node) SetCertificate(o TLSOptions) error {
	if n.opts.TLS.Cert == "" {
		return errors.New("server.tls: this node began without TLS; start it again to serve TLS")
	}
	old := n.certificate.leaf()
	if err := n.certificate.load(o); err != nil {
		return err
	}
	if leaf := n.certificate.leaf(); !leaf.Equal(old) {
		n.log.Info("server.tls: later handshakes see a new certificate", "expires", leaf.NotAfter)
	}
	return nil
}

// tlsListener makes a TLS conn of every connection.
type tlsListener struct {
	net.Listener
	config *tls.Config
	headed func(peer netip.Addr) bool // whether a PROXY header comes first
}

// Accept implements [net.Listener].
func (l *tlsListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	peer, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !l.headed(peer.AddrPort().Addr().Unmap()) {
		return tls.Server(conn, l.config), nil
	}
	h := &headedConn{Conn: conn}
	return &headedTLS{Conn: tls.Server(h, l.config), below: h}, nil
}

// headedConn is a connection that begins with a PROXY header. Its Read returns what follows.
type headedConn struct {
	net.Conn

	mu   sync.Mutex // reading the header: both directions of TLS begin with it
	head []byte     // guarded by mu: the header, or what is none
	rest []byte     // guarded by mu: read behind the header
	done bool       // guarded by mu
	err  error      // guarded by mu: why there is no header
}

// header reads the header, once. The bytes of a bad one are returned too.
func (c *headedConn) header() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return c.head, c.err
	}
	c.done = true
	var b []byte
	chunk := make([]byte, 512)
	for {
		n, err := c.Conn.Read(chunk)
		b = append(b, chunk[:n]...)
		_, size, bad := proxyproto.Parse(b)
		switch {
		case size > 0:
			c.head, c.rest = b[:size:size], b[size:]
			return c.head, nil
		case bad != nil:
			c.head, c.err = b, bad
			return c.head, c.err
		case err != nil:
			c.head, c.err = b, err
			return c.head, c.err
		}
	}
}

// Read implements [net.Conn].
func (c *headedConn) Read(b []byte) (int, error) {
	if _, err := c.header(); err != nil {
		return 0, err
	}
	c.mu.Lock()
	if n := copy(b, c.rest); n > 0 {
		if c.rest = c.rest[n:]; len(c.rest) == 0 {
			c.rest = nil
		}
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(b)
}

// headedTLS is TLS on a headedConn. Its Read returns the header first, as it came.
type headedTLS struct {
	*tls.Conn
	below *headedConn

	// owned by the reader
	begun bool
	head  []byte
}

// Read implements [net.Conn].
func (c *headedTLS) Read(b []byte) (int, error) {
	if !c.begun {
		head, err := c.below.header()
		if len(head) == 0 && err != nil {
			return 0, err
		}
		c.begun, c.head = true, head
	}
	if len(c.head) > 0 {
		n := copy(b, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// NetConn returns the TCP connection, to be tuned and reset.
func (c *headedTLS) NetConn() net.Conn { return c.below.Conn }
