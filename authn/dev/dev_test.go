package dev

import (
	"testing"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

func TestConformance(t *testing.T) {
	authntest.Run(t, func(t *testing.T) authntest.Harness {
		v := New()
		h := authntest.Harness{
			Verifier: v,
			Bad: map[string]authn.Credential{
				"a token of another process": authntest.WithBearer(New().Tokens()[0].Token),
				"a guess":                    authntest.WithBearer("dev-alice"),
			},
			NotMine: []authn.Credential{authntest.WithBearer("alice"), authntest.WithCookie("token", v.Tokens()[0].Token)},
			Takes:   func(authn.Credential) bool { return false },
		}
		for _, token := range v.Tokens() {
			h.Good = append(h.Good, authntest.Good{Credential: authntest.WithBearer(token.Token), ID: token.User})
			h.Secrets = append(h.Secrets, token.Token)
		}
		return h
	})
}

func TestTokensAreFresh(t *testing.T) {
	a, b := New().Tokens(), New().Tokens()
	if len(a) != 2 || a[0].User != "alice" || a[1].User != "bob" {
		t.Fatalf("Tokens = %v", a)
	}
	if a[0].Token == b[0].Token || a[0].Token == a[1].Token {
		t.Error("two tokens are the same")
	}
}
