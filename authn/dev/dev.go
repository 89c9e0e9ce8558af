package dev

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"strings"

	"github.com/gatecast/gatecast/authn"
)

// users are who can log in.
var users = []string{"alice", "bob"}

// prefix makes a token recognisable, to us and in a leak.
const prefix = "dev-"

// Token logs in a user.
type Token struct{ User, Token string }

// Verifier knows the tokens of this process. It does no I/O and may be used concurrently.
type Verifier struct{ tokens []Token }

// New makes a Verifier with fresh tokens.
func New() *Verifier {
	v := &Verifier{}
	for _, user := range users {
		v.tokens = append(v.tokens, Token{User: user, Token: prefix + user + "-" + rand.Text()})
	}
	return v
}

// Tokens returns a token for each user.
func (v *Verifier) Tokens() []Token { return append([]Token(nil), v.tokens...) }

// CookieName implements authn.CookieNamer: it reads none.
func (v *Verifier) CookieName() string { return "" }

// Verify implements authn.Verifier.
func (v *Verifier) Verify(_ context.Context, c authn.Credential) (*authn.Identity, error) {
	if c.Carrier == authn.CarrierCookie || !strings.HasPrefix(c.Value, prefix) {
		return nil, authn.ErrNotMine
	}
	var id *authn.Identity
	for _, t := range v.tokens {
		if subtle.ConstantTimeCompare([]byte(c.Value), []byte(t.Token)) == 1 {
			id = &authn.Identity{ID: t.User, Kind: authn.KindUser}
		}
	}
	if id == nil {
		return nil, authn.Refuse("bad_token", errors.New("not a token of this process; it prints new ones at each start"))
	}
	return id, nil
}
