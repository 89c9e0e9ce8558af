package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// Error is a refusal the caller may see. Code is one of the native protocol's error codes or one of the four that only HTTP has.
type Error struct {
	Code    string
	Message string // for people: what was wrong and what would be right
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Error codes of the API and the HTTP status each is sent with.
const (
	CodeBadRequest       = "bad_request"
	CodeBadGroup         = "bad_group"
	CodeUnauthorized     = "unauthorized"
	CodeForbidden        = "forbidden"
	CodeNotMember        = "not_member"
	CodeTooLarge         = "too_large"
	CodeRateLimited      = "rate_limited"
	CodeLimit            = "limit"
	CodeInternal         = "internal"
	CodeUnavailable      = "unavailable"
	CodeTimeout          = "timeout"
	CodeNotFound         = "not_found"          // HTTP only: no such path
	CodeMethodNotAllowed = "method_not_allowed" // HTTP only: see the Allow header
)

var statusOf = map[string]int{
	CodeBadRequest:       http.StatusBadRequest,
	CodeBadGroup:         http.StatusBadRequest,
	CodeUnauthorized:     http.StatusUnauthorized,
	CodeForbidden:        http.StatusForbidden,
	CodeNotMember:        http.StatusConflict,
	CodeTooLarge:         http.StatusRequestEntityTooLarge,
	CodeRateLimited:      http.StatusTooManyRequests,
	CodeLimit:            http.StatusTooManyRequests,
	CodeInternal:         http.StatusInternalServerError,
	CodeUnavailable:      http.StatusServiceUnavailable,
	CodeTimeout:          http.StatusGatewayTimeout,
	CodeNotFound:         http.StatusNotFound,
	CodeMethodNotAllowed: http.StatusMethodNotAllowed,
}

func badRequest(format string, args ...any) *Error {
	return &Error{CodeBadRequest, fmt.Sprintf(format, args...)}
}

// writeError is the one place that turns an error into an answer. Errors that are no *Error are logged and shown as "internal".
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		s.log.Error("admin request failed", "method", r.Method, "path", r.URL.Path, "err", err)
		e = &Error{CodeInternal, "the node could not do this; its log says why"}
	}
	status, ok := statusOf[e.Code]
	if !ok {
		status = http.StatusBadRequest
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="gatecast"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": e.Code, "message": e.Message}})
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	writeBody(w, status, append(body, '\n'))
	return nil
}

// writeBody sends JSON that is encoded already. A failed write means the caller is gone: nobody is left to tell.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
