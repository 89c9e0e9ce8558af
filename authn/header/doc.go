// Package header believes what a trusted proxy says about its client: an identity-aware proxy (oauth2-proxy, Authelia, Apache with REMOTE_USER) has logged
// the user in and puts the id, and perhaps groups, into headers. The server shows these only of peers in server.trusted_proxies, and the proxy must take
// the same headers out of what clients send. A browser passes the proxy with every page's request, so the Origin is checked.
package header
