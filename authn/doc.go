// Package authn answers who a handshake is and what it may hear and say: plain data in, [Identity] and [Grants] out. It knows no sockets.
//
// The flow:
//
//	Request ─► Chain.Authenticate ─► Credential ─► Verifier.Verify ─► Identity ─► Rules.GrantsFor ─► Grants
//	              │  for each carrier (cookie, header, subprotocol, query, message),
//	              │  for each verifier of the chain: not mine, no login, accepted or refused
//	              └─ cache, singleflight and revocation stand between chain and verifiers
//
// A [Verifier] knows one kind of credential (a Django session, a JWT) and nothing of carriers or grants; the packages
// below this one are verifiers, and authntest is the suite each of them passes. What a verifier can do beyond Verify it
// says by optional interfaces: [SessionHasher], [CookieNamer], [Revalidator], [Pinger], [TombstoneKeeper],
// [CacheKeyer], [OneTimer], [Inspector]. What it cannot tell yet is [Pending].
//
// [OriginPolicy] and the subprotocol functions belong to the handshake and are called by the server before and after the
// chain. [Grants] are compiled once per login, see sharing.go, and checked at every group_add and group_send without allocating.
package authn
