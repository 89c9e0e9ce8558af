package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker/subject"
)

// Reasons of a refusal, for logs and metrics.
const (
	reasonRefused   = "webhook_refused" // 401
	reasonForbidden = "forbidden"       // 403
	reasonExpired   = "expired"
	reasonOther     = "other_user" // in a sweep: it is somebody else now
	reasonNoLogin   = "no_login"   // in a sweep: it is nobody now
)

// answer is the body of a 200. Unknown fields are ignored.
type answer struct {
	User    *text             `json:"user"` // none or null: a good session of nobody
	Kind    string            `json:"kind"` // "user", "staff" or "superuser"
	Groups  []string          `json:"groups"`
	Perms   []string          `json:"perms"` // "app.codename"
	Attrs   map[string]values `json:"attrs"`
	Session string            `json:"session"` // hex SHA-256 of the session key, for logout
	Expires float64           `json:"expires"` // Unix seconds; 0 = never
	Grants  json.RawMessage   `json:"grants"`  // see authn.ParseClaimed
}

// text is a string, or an integer as people write ids.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	var n json.Number
	if len(b) > 0 && b[0] != '"' && json.Unmarshal(b, &n) == nil {
		if _, err := n.Int64(); err != nil {
			return errors.New("user is a number that is no integer")
		}
		*t = text(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// values is a string or a list of them.
type values []string

// UnmarshalJSON implements json.Unmarshaler.
func (v *values) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(v))
	}
	*v = values{""}
	return json.Unmarshal(b, &(*v)[0])
}

// decode reads a 200. An answer that is not what it should be is no answer: the application is wrong, not the user.
func decode(body []byte, prefix string, now time.Time) (*authn.Identity, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return nil, fmt.Errorf("the answer's %s is no %s", kind.Field, kind.Type)
		}
		return nil, errors.New("the answer is no JSON object of the right kind") // err may quote it
	}
	if a.User == nil || *a.User == "" {
		return nil, authn.ErrNoLogin
	}
	id := &authn.Identity{ID: prefix + string(*a.User), Kind: a.Kind, SessionHash: a.Session, Groups: a.Groups, Perms: a.Perms}
	switch a.Kind {
	case "":
		id.Kind = authn.KindUser
	case authn.KindUser, authn.KindStaff, authn.KindSuperuser:
	default:
		return nil, errors.New(`the answer's kind is none of "user", "staff" and "superuser"`)
	}
	if err := subject.CheckUserID(id.ID); err != nil {
		return nil, fmt.Errorf("the answer's user: %w", err)
	}
	if a.Session != "" && (len(a.Session) != 64 || strings.Trim(a.Session, "0123456789abcdef") != "") {
		return nil, errors.New("the answer's session is no hex SHA-256 of a session key")
	}
	if a.Expires < 0 || a.Expires > 1e11 {
		return nil, errors.New("the answer's expires is no Unix time in seconds")
	}
	if a.Expires > 0 {
		if id.Expires = time.UnixMilli(int64(a.Expires * 1000)); !id.Expires.After(now) {
			return nil, authn.Refuse(reasonExpired, nil)
		}
	}
	for name, list := range a.Attrs {
		if id.Attrs == nil {
			id.Attrs = make(map[string][]string, len(a.Attrs))
		}
		id.Attrs[name] = list
	}
	var err error
	if id.Claimed, err = authn.ParseClaimed(a.Grants); err != nil {
		return nil, fmt.Errorf("the answer's grants: %w", err)
	}
	return id, nil
}

// same tells whether a login is what it was, without order: the application promises none.
func same(a, b *authn.Identity) bool {
	set := func(a, b []string) bool {
		return len(a) == len(b) && slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	patterns := func(a, b *authn.Patterns) bool {
		if a == nil || b == nil {
			return a == b
		}
		return set(a.Join, b.Join) && set(a.Subscribe, b.Subscribe) && set(a.Publish, b.Publish) && set(a.Deny, b.Deny)
	}
	return a.Kind == b.Kind && a.SessionHash == b.SessionHash && a.Expires.Equal(b.Expires) && set(a.Groups, b.Groups) && set(a.Perms, b.Perms) &&
		maps.EqualFunc(a.Attrs, b.Attrs, slices.Equal) && patterns(a.Claimed, b.Claimed)
}
