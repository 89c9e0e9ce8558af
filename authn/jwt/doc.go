// Package jwt verifies JSON Web Tokens signed with a shared secret: those of djangorestframework-simplejwt with HS256, HS384 or HS512, and those that
// `gatecast token make` or an application makes.
//
//	token ─► shape (else not mine) ─► algorithm and signature ─► exp, nbf, iat, aud, iss, token_type ─► user claim ─► Identity
//
// The algorithm is pinned to HMAC, whatever the token's header says, and exp is required. The claim gatecast carries
// grants and Django groups, other claims become attributes for templates in [[grants]]. [New] makes the [Verifier], [Make]
// makes tokens, [Verifier.Inspect] explains one.
package jwt
