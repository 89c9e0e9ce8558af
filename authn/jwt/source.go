package jwt

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// source is where a key set comes from.
type source struct {
	where string // for people: without a query
	fetch func(context.Context) ([]byte, error)

	first *keySet // of a file; nil for an address
	text  [sha256.Size]byte
}

// source makes the source that jwks names: a file is read and checked now, an address only looked at.
func (o *Options) source() (source, error) {
	if !strings.Contains(o.JWKS, "://") {
		path := o.path(o.JWKS)
		text, err := readFile(path)
		if err != nil {
			return source{}, fmt.Errorf("jwks: %w", err)
		}
		set, err := parseSet(text)
		if err != nil {
			return source{}, fmt.Errorf("jwks: %s: %w", path, err)
		}
		return source{where: path, first: set, text: sha256.Sum256(text), fetch: func(context.Context) ([]byte, error) { return readFile(path) }}, nil
	}
	if wrong := checkAddress(o.JWKS, o.JWKSInsecure); wrong != "" {
		return source{}, fmt.Errorf("jwks %s", wrong)
	}
	u, err := url.Parse(o.JWKS)
	if err != nil { // checkAddress told
		return source{}, err
	}
	client, err := o.client()
	if err != nil {
		return source{}, fmt.Errorf("jwks_ca: %w", err)
	}
	return source{where: host(u) + u.Path, fetch: func(ctx context.Context) ([]byte, error) { return fetch(ctx, client, o.JWKS) }}, nil
}

// client fetches from one address: it follows no redirect and keeps no conn between fetches that are minutes apart.
func (o *Options) client() (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.JWKSCA != "" {
		text, err := readFile(o.path(o.JWKSCA))
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("no certificate in %s", o.JWKSCA)
		}
	}
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// maxDocument bounds a key set.
const maxDocument = 256 << 10

func fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "gatecast")
	res, err := client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) { // it holds the address with its query
			err = wrapped.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		return nil, fmt.Errorf("it answers with a redirect (%d), which is not followed; set authn.jwt.jwks to where the keys are", res.StatusCode)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers with status %d", res.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(text) > maxDocument {
		return nil, fmt.Errorf("its answer is longer than %d bytes", maxDocument)
	}
	return text, nil
}
