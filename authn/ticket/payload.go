package ticket

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker/subject"
)

// payload is the JSON of a ticket. Unknown fields are ignored.
type payload struct {
	User    *string               `json:"user"`    // the primary key; user_prefix goes before it
	ID      *string               `json:"id"`      // random, so that no two tickets are the same
	Age     float64               `json:"age"`     // seconds it may be used, less than max_age; 0 = max_age
	Kind    string                `json:"kind"`    // "user", "staff" or "superuser"
	Groups  []string              `json:"groups"`  // names of Django groups
	Perms   []string              `json:"perms"`   // "app.codename"
	Attrs   map[string]attributes `json:"attrs"`   // for {attr.NAME} of grants
	Session string                `json:"session"` // hex SHA-256 of the session key: its logout ends the login
	Expires int64                 `json:"expires"` // Unix seconds, when the login ends; 0 = never
	Grants  json.RawMessage       `json:"grants"`  // see authn.ParseClaimed
}

// attributes is a string or a list of them.
type attributes []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *attributes) UnmarshalJSON(b []byte) error {
	if strings.HasPrefix(string(b), "[") {
		return json.Unmarshal(b, (*[]string)(a))
	}
	*a = attributes{""}
	return json.Unmarshal(b, &(*a)[0])
}

// decode reads what was signed. Its errors are safe to show: they are about what the application wrote.
func decode(data []byte) (*payload, error) {
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("the ticket does not hold what it should: %w", plain(err))
	}
	switch {
	case p.User == nil || p.ID == nil || *p.ID == "":
		return nil, errors.New("the ticket wants a user and an id, both as text")
	case p.Kind != "" && p.Kind != authn.KindUser && p.Kind != authn.KindStaff && p.Kind != authn.KindSuperuser:
		return nil, errors.New(`the ticket's kind is none of "user", "staff" and "superuser"`)
	case p.Session != "" && !isHash(p.Session):
		return nil, errors.New("the ticket's session is no hex SHA-256 of a session key")
	case p.Age < 0:
		return nil, errors.New("the ticket's age is negative")
	}
	return &p, nil
}

// plain cuts a JSON error down to what it says about the shape: a syntax error may quote what it found.
func plain(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("%s is not a %s", kind.Field, kind.Type)
	}
	return errors.New("no JSON object")
}

func isHash(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// identity is who a ticket says somebody is.
func (p *payload) identity(prefix string) (*authn.Identity, error) {
	id := &authn.Identity{ID: prefix + *p.User, Kind: p.Kind, SessionHash: p.Session, Groups: p.Groups, Perms: p.Perms}
	if err := subject.CheckUserID(id.ID); err != nil {
		return nil, err
	}
	if id.Kind == "" {
		id.Kind = authn.KindUser
	}
	if p.Expires != 0 {
		id.Expires = time.Unix(p.Expires, 0)
	}
	for name, values := range p.Attrs {
		if id.Attrs == nil {
			id.Attrs = make(map[string][]string, len(p.Attrs))
		}
		id.Attrs[name] = values
	}
	var err error
	if id.Claimed, err = authn.ParseClaimed(p.Grants); err != nil {
		return nil, fmt.Errorf("the ticket's grants: %w", err)
	}
	return id, nil
}
