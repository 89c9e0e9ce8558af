package broker

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

func (t *TLSOptions) pair() ([]tls.Certificate, error) {
	if t.Cert == "" {
		return nil, nil
	}
	c, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("broker.tls.cert and key: %w", err)
	}
	return []tls.Certificate{c}, nil
}

func (t *TLSOptions) roots() (*x509.CertPool, error) {
	if t.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("broker.tls.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("broker.tls.ca: no PEM certificate in %s", t.CA)
	}
	return pool, nil
}

// client is for connections to broker.url: names are checked.
func (t *TLSOptions) client() (*tls.Config, error) {
	certs, err := t.pair()
	if err != nil {
		return nil, err
	}
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certs, RootCAs: roots}, nil
}

// server is for the client address: clients log in with tokens, not certificates.
func (t *TLSOptions) server() (*tls.Config, error) {
	certs, err := t.pair()
	if err != nil || certs == nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certs}, nil
}

// routes is for both ends of a route. With a CA the chain alone decides, for nodes are dialled by addresses that come and go.
func (t *TLSOptions) routes() (*tls.Config, error) {
	certs, err := t.pair()
	if err != nil || certs == nil {
		return nil, err
	}
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: certs}
	if roots == nil {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		return c, nil
	}
	c.ClientAuth = tls.RequireAnyClientCert
	c.RootCAs, c.ClientCAs = roots, roots
	c.InsecureSkipVerify = true // replaced by what follows
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return fmt.Errorf("the other node shows no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		return err
	}
	return c, nil
}
