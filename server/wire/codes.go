package wire

// Error codes of {"op":"error"} frames, of "error" objects in replies, and of the HTTP API.
const (
	CodeBadRequest   = "bad_request"
	CodeUnknownOp    = "unknown_op"
	CodeBadGroup     = "bad_group"
	CodeForbidden    = "forbidden"
	CodeUnauthorized = "unauthorized"
	CodeNotMember    = "not_member"
	CodeTooLarge     = "too_large"
	CodeRateLimited  = "rate_limited"
	CodeUnavailable  = "unavailable"
	CodeTimeout      = "timeout"
	CodeLimit        = "limit"
	CodeInternal     = "internal"
)

// Code is one row of [Codes].
type Code struct {
	Code    string
	Meaning string // one sentence for docs/codes.md: what happened and what the client does
}

// Codes lists every error code; docs/codes.md is generated from it.
var Codes = []Code{
	{CodeBadRequest, "The op is malformed: a field is missing, has the wrong type or is out of range; the message names it. Fix the client."},
	{CodeUnknownOp, "The op is not part of gatecast.v1. Fix the client or upgrade the server."},
	{CodeBadGroup, "The group is no legal name: 1 to 200 bytes of UTF-8 without spaces, control characters, `*` or `>`."},
	{CodeForbidden, "The grants of this user do not allow it. Asking again does not help until they change."},
	{CodeUnauthorized, "The credential is missing, refused or expired. Get a new one."},
	{CodeNotMember, "The op needs membership of the group. Send group_add first."},
	{CodeTooLarge, "The message is larger than the server accepts."},
	{CodeRateLimited, "The conn sends faster than its limit. Slow down, then retry."},
	{CodeUnavailable, "A part behind the server cannot be reached now. Retry later."},
	{CodeTimeout, "The cluster did not confirm in time and the op was undone. Retry."},
	{CodeLimit, "A limit is reached, for example groups of one conn. Free something first."},
	{CodeInternal, "The server failed; its log says why. Retry later."},
}
