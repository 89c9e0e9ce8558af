package gatecast

import (
	"errors"
	"fmt"
	"time"
)

// Error codes of the native protocol.
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

var (
	// ErrClosed is returned by everything on a Conn after Close, or after the server ended it for good (then joined with the reason).
	ErrClosed = errors.New("gatecast: the connection is closed")

	// ErrLost means that the connection broke before the reply came: the message may or may not have been delivered.
	ErrLost = errors.New("gatecast: the connection was lost before the reply")
)

// Error is a refusal by the server; the Conn goes on.
type Error struct {
	Code    string // one of the Code constants; new ones may come
	Message string // for people
	Group   string // the group it is about, if any
}

func (e *Error) Error() string {
	if e.Group != "" {
		return fmt.Sprintf("gatecast: group %q: %s: %s", e.Group, e.Code, e.Message)
	}
	return fmt.Sprintf("gatecast: %s: %s", e.Code, e.Message)
}

// Temporary tells that the same request may succeed later.
func (e *Error) Temporary() bool {
	return e.Code == CodeUnavailable || e.Code == CodeTimeout || e.Code == CodeRateLimited
}

// CodeOf returns the code of the *Error in err, or "".
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// CloseError tells why a connection ended.
type CloseError struct {
	Code   int    // RFC 6455 or 4xxx; 1006 if the socket broke without a close frame
	Reason string // from the server
	Err    error  // what else is known: the *Error before the close, or the network's error

	retry *retryRange // from the close frame of the native protocol
}

type retryRange struct{ min, max time.Duration }

func (e *CloseError) Error() string {
	s := fmt.Sprintf("gatecast: closed with code %d", e.Code)
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *CloseError) Unwrap() error { return e.Err }

// HandshakeError tells that the server answered the handshake with HTTP instead of a WebSocket.
type HandshakeError struct {
	Status     int
	Body       string        // the first line
	RetryAfter time.Duration // from the server, 0 if it did not say
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("gatecast: the server refused the handshake with status %d: %s", e.Status, e.Body)
}
