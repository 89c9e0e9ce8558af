package authn

import (
	"crypto/x509"
	"net/netip"
	"strings"
)

// Request is what a handshake says about itself, as plain data. Everything but Remote and Path comes from the peer.
type Request struct {
	// Cookie is the raw Cookie header, several joined by "; ".
	Cookie string
	// Authorization is the raw header.
	Authorization string
	// Subprotocols are those offered, in order.
	Subprotocols []string
	// Token is the query parameter token.
	Token string
	// Message is the token of the auth op. If it is set, only it is looked at.
	Message string

	Remote netip.Addr
	Path   string

	// Origin is the last Origin header; HasOrigin tells an empty one from none.
	Origin    string
	HasOrigin bool
	Host      string
	// ForwardedHost is X-Forwarded-Host, set only if the peer is a trusted proxy.
	ForwardedHost string
	SecFetchSite  string
	// SSE tells an event stream from a WebSocket.
	SSE bool

	// Headers are all of the request; nil where there are none.
	Headers Headers
	// Proxied tells that the peer is a trusted proxy, so that headers which only a proxy may set are believed.
	Proxied bool
	// Certificate is the client's, verified by TLS; nil without one.
	Certificate *x509.Certificate
}

// Headers gives the values of a header, in the order sent, by name without case.
type Headers interface {
	Values(name string) []string
}

// Header gives a header, repeated ones joined by ", ". ok tells an empty one from none.
func (r *Request) Header(name string) (value string, ok bool) {
	if r.Headers == nil {
		return "", false
	}
	all := r.Headers.Values(name)
	return strings.Join(all, ", "), len(all) > 0
}
