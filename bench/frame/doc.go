// Package frame is the client half of RFC 6455 that a load needs: a [Scanner] for what a server sends, which keeps nothing
// between whole frames, and the building of masked frames. Independent of the server's own parser on purpose: one must not
// vouch for the other.
package frame
