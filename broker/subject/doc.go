// Package subject turns names of groups and ids of users into NATS subjects and back, and matches grants against names.
//
// A name is what people write: 1 to [MaxName] bytes of UTF-8, dots between its tokens ([CheckName]). It becomes a subject
// by [Escape], one to one, so that no byte of a user ever reaches a protocol line. A value of an identity becomes one
// token of a name by [Quote], so that it can never be two tokens or a wildcard:
//
//	id a.b@x.com ─UserGroup─► user.a%2Eb%40x%2Ecom ─Escape─► user.a=252Eb=2540x=252Ecom
//
// A pattern is a name whose tokens may be '*' (one token) or end in '>' (one or more). Patterns match names, not subjects
// ([Match], [Covers], and [Set] for many at once), and give the same answer as NATS gives for their escaped forms, but
// for names with an empty token: those are escaped to a single token, and here no wildcard matches them.
package subject
