// Package proxyproto reads the header by which a TCP proxy says for whom it opened a connection: versions 1 (a line of text) and 2
// (binary) of HAProxy's PROXY protocol. It keeps no bytes and calls nothing: [Parse] is asked again with more until it knows.
package proxyproto
