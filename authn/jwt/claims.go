package jwt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker/subject"
)

// identity makes an Identity of checked claims.
func (v *Verifier) identity(o *Options, claims jwt.MapClaims) (*authn.Identity, error) {
	user, err := userID(claims[o.UserClaim])
	if err == nil {
		user = o.UserPrefix + user
		err = subject.CheckUserID(user)
	}
	if err != nil {
		return nil, authn.Refuse(reasonUserClaim, fmt.Errorf("the claim %s: %w", o.UserClaim, err))
	}
	id := &authn.Identity{ID: user, Kind: authn.KindUser, Attrs: attributes(claims, o.UserClaim)}
	groups, _ := list(claims["groups"])
	if raw, has := claims[claimGrants]; has {
		claimed, err := v.readGrants(raw)
		if err != nil {
			return nil, authn.Refuse(reasonGrants, fmt.Errorf("the claim %s: %w", claimGrants, err))
		}
		id.Claimed = claimed.patterns
		if claimed.Groups != nil {
			groups = claimed.Groups
		}
	}
	id.Groups = groups
	return id, nil
}

// userID reads a string or an integer.
func userID(claim any) (string, error) {
	switch value := claim.(type) {
	case nil:
		return "", errors.New("is not there; see authn.jwt.user_claim")
	case string:
		if value == "" {
			return "", errors.New("is empty")
		}
		return value, nil
	case json.Number:
		if s := value.String(); strings.Trim(strings.TrimPrefix(s, "-"), "0123456789") == "" && s != "-0" {
			return s, nil
		}
		return "", errors.New("is a number with a fraction or exponent; it has to be an integer or a string")
	}
	return "", errors.New("has to be a string or an integer")
}

const claimGrants = "gatecast"

// grants is the claim gatecast.
type grants struct {
	Join      []string `json:"join"`
	Subscribe []string `json:"subscribe"`
	Publish   []string `json:"publish"`
	Deny      []string `json:"deny"`
	Groups    []string `json:"groups"`

	patterns *authn.Patterns // the lists above; nil if they are empty
}

// maxGrants bounds the patterns of a token; its length does too.
const maxGrants = 256

// maxKept bounds the claims that are kept to be shared.
const maxKept = 1024

// readGrants reads the claim, or finds what it came to before.
func (v *Verifier) readGrants(raw any) (*grants, error) {
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	v.mu.Lock()
	g := v.grants[string(text)]
	v.mu.Unlock()
	if g != nil {
		return g, nil
	}
	if g, err = parseGrants(text); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.grants) >= maxKept {
		clear(v.grants)
	}
	v.grants[string(text)] = g
	return g, nil
}

func parseGrants(text []byte) (*grants, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var g *grants
	if err := d.Decode(&g); err != nil || g == nil {
		return nil, errors.New(`has to be an object of lists: {"subscribe": [], "publish": [], "join": [], "deny": [], "groups": []}`)
	}
	if n := len(g.Join) + len(g.Subscribe) + len(g.Publish) + len(g.Deny); n > maxGrants {
		return nil, fmt.Errorf("has %d patterns; at most %d", n, maxGrants)
	}
	for _, name := range g.Join {
		if err := subject.CheckName(name); err != nil {
			return nil, fmt.Errorf("join: %q: %w", shorten(name), err)
		}
	}
	for _, patterns := range [][]string{g.Subscribe, g.Publish, g.Deny} {
		for _, p := range patterns {
			if err := subject.CheckPattern(p); err != nil {
				return nil, fmt.Errorf("%q: %w", shorten(p), err)
			}
		}
	}
	if len(g.Join)+len(g.Subscribe)+len(g.Publish)+len(g.Deny) > 0 {
		g.patterns = &authn.Patterns{Join: g.Join, Subscribe: g.Subscribe, Publish: g.Publish, Deny: g.Deny}
	}
	return g, nil
}

func shorten(s string) string { return s[:min(len(s), 64)] }

// Limits of attributes: an Identity lives as long as its conn.
const (
	maxAttributes = 32
	maxValues     = 64
	maxValue      = 256
)

// attributes takes strings, numbers and lists of these for {attr.NAME}. What says nothing about the user is left out, as
// is what is too long.
func attributes(claims jwt.MapClaims, userClaim string) map[string][]string {
	var attrs map[string][]string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		switch name {
		case "exp", "nbf", "iat", "jti", "aud", "iss", "token_type", claimGrants, "groups", userClaim:
			continue
		}
		values, ok := list(claims[name])
		if !ok || len(values) == 0 || len(attrs) >= maxAttributes || len(name) > maxValue {
			continue
		}
		if attrs == nil {
			attrs = make(map[string][]string)
		}
		attrs[name] = values
	}
	return attrs
}

// list reads a string, a number, or a list of strings and numbers.
func list(value any) (values []string, ok bool) {
	switch value := value.(type) {
	case string:
		return []string{value}, value != "" && len(value) <= maxValue
	case json.Number:
		return []string{value.String()}, len(value) <= maxValue
	case []any:
		if len(value) > maxValues {
			return nil, false
		}
		for _, item := range value {
			if _, nested := item.([]any); nested {
				return nil, false
			}
			one, ok := list(item)
			if !ok {
				return nil, false
			}
			values = append(values, one...)
		}
		return values, true
	}
	return nil, false
}
