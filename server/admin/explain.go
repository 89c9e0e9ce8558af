package admin

import (
	"context"
	"net/http"
	"strings"
)

// Explain asks what a login may do with a group, and why. One of the fields behind Group is set.
type Explain struct {
	Group  string
	Conn   string // id of an open conn
	User   string // id of a user with open conns
	Cookie string // a Cookie header
	Token  string
}

// explain is POST explain: {group, conn|user|cookie|token}. It is a POST because a credential has no place in an address. A credential
// takes the role admin.
func (s *Server) explain(ctx context.Context, r *http.Request) (any, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	obj, err := decodeObject(body, "group", "conn", "user", "cookie", "token")
	if err != nil {
		return nil, err
	}
	q := &Explain{}
	if q.Group, err = obj.required("group"); err != nil {
		return nil, err
	}
	field, value, err := obj.oneOf("conn", "user", "cookie", "token")
	if err != nil {
		return nil, err
	}
	if field == "cookie" || field == "token" { // who may only read must not try credentials
		key, err := s.authorize(r, roleAdmin)
		if err != nil {
			return nil, err
		}
		s.log.Info("admin request", "call", "explain of a "+field, "key", key, "remote", r.RemoteAddr)
	}
	switch field {
	case "conn":
		q.Conn = value
	case "user":
		q.User = value
	case "cookie":
		if !strings.Contains(value, "=") {
			return nil, badRequest(`cookie is a Cookie header, name=value: such as "sessionid=…"`)
		}
		q.Cookie = value
	default:
		q.Token = value
	}
	return s.deps.Node.Explain(ctx, q)
}
