package authn

import "net/netip"

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
}
