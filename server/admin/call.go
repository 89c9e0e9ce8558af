package admin

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// call makes the endpoint of a verb that the whole cluster carries out.
func call(verb string) endpoint {
	return func(s *Server, ctx context.Context, r *http.Request) (any, error) {
		body, err := readBody(r)
		if err != nil {
			return nil, err
		}
		if err := CheckCall(verb, body); err != nil {
			return nil, err
		}
		answer := s.deps.Node.Call(ctx, verb, body)
		var outcome struct {
			OK            bool
			Code, Message string
		}
		if err := json.Unmarshal(answer, &outcome); err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", verb, err)
		}
		if !outcome.OK {
			if outcome.Code == "" {
				return nil, fmt.Errorf("%s failed without a code: %.200s", verb, answer)
			}
			return nil, &Error{outcome.Code, outcome.Message}
		}
		return answer, nil
	}
}

// CheckCall reports what is wrong with the body of group_add, group_discard, disconnect or revalidate. The bodies are the same on
// <ns>.ctl.<verb>, so the NATS door may use it too. Its errors are an [*Error]; group names are left to the node.
func CheckCall(verb string, body []byte) error {
	switch verb {
	case "group_add", "group_discard":
		obj, err := decodeObject(body, "group", "conn", "user")
		if err != nil {
			return err
		}
		if _, err := obj.required("group"); err != nil {
			return err
		}
		_, _, err = obj.oneOf("conn", "user")
		return err
	case "disconnect":
		return checkDisconnect(body)
	case "revalidate":
		return checkRevalidate(body)
	}
	return badRequest("unknown call %q", verb)
}

// maxUsers is of one revalidate: what every node can look at within its two seconds.
const maxUsers = 1000

func checkRevalidate(body []byte) error {
	obj, err := decodeObject(body, "user", "users")
	if err != nil {
		return err
	}
	users, err := obj.texts("users")
	if err != nil {
		return err
	}
	if users == nil {
		_, err = obj.required("user")
		return err
	}
	switch user, err := obj.text("user"); {
	case err != nil:
		return err
	case user != "":
		return badRequest("give only one of user, users")
	case len(users) == 0 || len(users) > maxUsers:
		return badRequest("field \"users\" has %d users; give 1 to %d", len(users), maxUsers)
	case slices.Contains(users, ""):
		return badRequest("field \"users\" has a user without an id")
	}
	return nil
}

func checkDisconnect(body []byte) error {
	obj, err := decodeObject(body, "conn", "user", "session", "code", "reason")
	if err != nil {
		return err
	}
	field, value, err := obj.oneOf("conn", "user", "session")
	if err != nil {
		return err
	}
	if field == "session" {
		if b, err := hex.DecodeString(value); err != nil || len(b) != 32 {
			return badRequest("field \"session\" must be the hex SHA-256 of the session key, 64 digits")
		}
	}
	if raw, ok := obj["code"]; ok && string(raw) != "null" {
		if code, err := strconv.Atoi(string(raw)); err != nil || code < 3000 || code > 4999 {
			return badRequest("field \"code\" must be a close code from 3000 to 4999")
		}
	}
	reason, err := obj.text("reason")
	if err == nil && len(reason) > 123 { // RFC 6455 §5.5: 125 bytes less the code
		err = badRequest("field \"reason\" has %d bytes, a close frame holds 123", len(reason))
	}
	return err
}
