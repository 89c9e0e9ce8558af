// Package jwt verifies JSON Web Tokens: those of djangorestframework-simplejwt, of an identity provider with a JWKS, and those that
// `gatecast token make` or an application makes.
//
//	token ─► shape (else not mine) ─► iss (another's: not mine) ─► alg ─► key ─► signature ─► exp, nbf, iat, aud, iss, token_type ─► user claim ─► Identity
//	                                                                       ▲
//	                         secret, public_key ── read by Prepare ──► ring┤
//	                         jwks ── fetched by the remote's goroutine ────┘
//
// With users the Identity is completed by what a Django site's database says of the user, in a login and in a sweep: users.go.
//
// The type of a key decides which algorithms it verifies, never the token's header, so no public key can serve as an HMAC secret.
// Keys come from config and from the configured jwks address only: jku, x5u, x5c and jwk in a header are not read. exp is
// required. The claim gatecast carries grants and Django groups, other claims become attributes for templates in [[grants]].
// [Open] makes the [Verifier], [Verifier.Prepare] replaces its options and keys in a reload, [Verifier.Make] makes tokens and
// [Verifier.Inspect] explains one.
package jwt
