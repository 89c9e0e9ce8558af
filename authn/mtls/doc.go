// Package mtls takes the user from the TLS certificate of a client, which server.tls.client_ca has verified. A browser that has a certificate shows it to
// every page's request, so the Origin is checked.
package mtls
