package authn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

// sessions answers like a verifier of session cookies: what is in the cookie says how.
func sessions() *authntest.Fake {
	return &authntest.Fake{Cookie: "sessionid", Answer: func(_ context.Context, c authn.Credential) (*authn.Identity, error) {
		value, ok := c.Cookie("sessionid")
		if !ok {
			return nil, authn.ErrNotMine
		}
		switch value {
		case "nouser":
			return nil, authn.ErrNoLogin
		case "unknown":
			return nil, &authn.Refused{Reason: "unknown_session", Soft: true}
		case "tampered":
			return nil, authn.Refuse("bad_signature", nil)
		case "down":
			return nil, errors.New("no connection to the database")
		case "panic":
			panic("secret " + value)
		case "nothing":
			return nil, nil
		case "expired":
			return &authn.Identity{ID: "1", Expires: time.Now().Add(-time.Second)}, nil
		case "badid":
			return &authn.Identity{ID: "4\n2"}, nil
		}
		return &authn.Identity{ID: value}, nil
	}}
}

// tokens answers for tokens that begin with prefix and are followed by the user's id or "bad".
func tokens(prefix string) *authntest.Fake {
	return &authntest.Fake{Answer: func(_ context.Context, c authn.Credential) (*authn.Identity, error) {
		user, ok := strings.CutPrefix(c.Value, prefix)
		switch {
		case !ok:
			return nil, authn.ErrNotMine
		case user == "bad":
			return nil, authn.Refuse("bad_token", nil)
		case user == "nouser":
			return nil, authn.ErrNoLogin
		case user == "soft":
			return nil, &authn.Refused{Reason: "unknown_session", Soft: true}
		}
		return &authn.Identity{ID: user, Kind: authn.KindStaff}, nil
	}}
}

func options(change func(*authn.Options)) authn.Options {
	o := authn.DefaultOptions()
	o.Chain = []string{"django", "jwt"}
	if change != nil {
		change(&o)
	}
	return o
}

func newChain(t testing.TB, change func(*authn.Options), verifiers map[string]authn.Verifier) *authn.Chain {
	t.Helper()
	if verifiers == nil {
		verifiers = map[string]authn.Verifier{"django": sessions(), "jwt": tokens("jwt-")}
	}
	c, err := authn.NewChain(options(change), verifiers, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answer puts what Authenticate returned into a word.
func answer(id *authn.Identity, err error) string {
	var refused *authn.Refused
	switch {
	case errors.As(err, &refused):
		return "refused " + refused.Reason
	case errors.Is(err, authn.ErrLoginLater):
		return "later"
	case err != nil:
		return "unavailable"
	case id.Anonymous():
		return "anonymous"
	}
	return fmt.Sprintf("%s by %s", id.ID, id.Carrier)
}

func TestWhichCredentialDecides(t *testing.T) {
	plain := func(o *authn.Options) { o.Carriers = []string{"cookie", "header", "subprotocol", "query"} }
	all := func(o *authn.Options) { o.Carriers = append(o.Carriers, "query") }
	anonymous := func(o *authn.Options) { o.Anonymous = true; all(o) }
	headerFirst := func(o *authn.Options) { o.Carriers = []string{"header", "cookie"} }
	type request = authn.Request
	tests := []struct {
		name    string
		options func(*authn.Options)
		request authn.Request
		want    string
	}{
		{"a good cookie", plain, request{Cookie: "sessionid=42"}, "42 by cookie"},
		{"a good cookie among others", plain, request{Cookie: "csrftoken=x; sessionid=42; theme=dark"}, "42 by cookie"},
		{"a bearer header", plain, request{Authorization: "Bearer jwt-42"}, "42 by header"},
		{"a token header", plain, request{Authorization: "token jwt-42"}, "42 by header"},
		{"a subprotocol", plain, request{Subprotocols: []string{"gatecast.v1", "bearer.jwt-42"}}, "42 by subprotocol"},
		{"a subprotocol in base64", plain, request{Subprotocols: []string{"bearer64.and0LTQy"}}, "42 by subprotocol"},
		{"a query token", plain, request{Token: "jwt-42"}, "42 by query"},
		{"a message", all, request{Message: "jwt-42"}, "42 by message"},
		{"the first carrier decides", plain, request{Cookie: "sessionid=42", Authorization: "Bearer jwt-43"}, "42 by cookie"},
		{"the order of carriers is config's", headerFirst, request{Cookie: "sessionid=42", Authorization: "Bearer jwt-43"}, "43 by header"},
		{"a bad first carrier decides", plain, request{Cookie: "sessionid=tampered", Authorization: "Bearer jwt-43"}, "refused bad_signature"},
		{"an unknown session decides", plain, request{Cookie: "sessionid=unknown", Authorization: "Bearer jwt-43"}, "refused unknown_session"},
		{"a session without a user is none", plain, request{Cookie: "sessionid=nouser", Authorization: "Bearer jwt-43"}, "43 by header"},
		{"a carrier that is off is not looked at", headerFirst, request{Token: "jwt-42"}, "refused no_credential"},
		{"nothing", plain, request{}, "refused no_credential"},
		{"other cookies only", plain, request{Cookie: "csrftoken=x"}, "refused no_credential"},
		{"a session without a user only", plain, request{Cookie: "sessionid=nouser"}, "refused no_login"},
		{"another scheme", plain, request{Authorization: "Basic dTpw"}, "refused no_credential"},
		{"a token of nobody", plain, request{Authorization: "Bearer garbage"}, "refused unknown_credential"},
		{"a token of nobody, then a good one", plain, request{Authorization: "Bearer garbage", Token: "jwt-42"}, "42 by query"},
		{"a verifier that is down", plain, request{Cookie: "sessionid=down", Authorization: "Bearer jwt-43"}, "unavailable"},
		{"a verifier that panics", plain, request{Cookie: "sessionid=panic"}, "unavailable"},
		{"a verifier that says nothing", plain, request{Cookie: "sessionid=nothing"}, "unavailable"},
		{"a verifier that accepts what is expired", plain, request{Cookie: "sessionid=expired"}, "refused expired"},
		{"a verifier with a bad id", plain, request{Cookie: "sessionid=badid"}, "refused bad_user_id"},
		{"a subprotocol that does not decode", plain, request{Subprotocols: []string{"bearer64.?"}}, "refused malformed_credential"},
		{"two subprotocols", plain, request{Subprotocols: []string{"bearer.jwt-1", "bearer.jwt-2"}}, "refused two_credentials"},
		{"a huge token", plain, request{Token: strings.Repeat("x", 20<<10)}, "refused credential_too_long"},

		{"nothing, but a message may follow", all, request{}, "later"},
		{"no user, but a message may follow", all, request{Cookie: "sessionid=nouser"}, "later"},
		{"an unknown session is refused before a message", all, request{Cookie: "sessionid=unknown"}, "refused unknown_session"},
		{"a token of nobody is refused before a message", all, request{Token: "garbage"}, "refused unknown_credential"},
		{"a message looks at no cookie", all, request{Cookie: "sessionid=42", Message: "jwt-43"}, "43 by message"},
		{"a bad message", all, request{Message: "jwt-bad"}, "refused bad_token"},
		{"a message of nobody", all, request{Message: "garbage"}, "refused unknown_credential"},
		{"a message without a user", all, request{Message: "jwt-nouser"}, "refused no_login"},
		{"a message where messages are off", plain, request{Message: "jwt-42"}, "refused carrier_off"},

		{"anonymous: nothing", anonymous, request{}, "anonymous"},
		{"anonymous: other cookies only", anonymous, request{Cookie: "csrftoken=x"}, "anonymous"},
		{"anonymous: no user", anonymous, request{Cookie: "sessionid=nouser"}, "anonymous"},
		{"anonymous: an unknown session", anonymous, request{Cookie: "sessionid=unknown"}, "anonymous"},
		{"anonymous: an expired session", anonymous, request{Cookie: "sessionid=expired"}, "anonymous"},
		{"anonymous: an unknown session and a token", anonymous, request{Cookie: "sessionid=unknown", Token: "jwt-42"}, "42 by query"},
		{"anonymous: a bad signature", anonymous, request{Cookie: "sessionid=tampered"}, "refused bad_signature"},
		{"anonymous: a bad token", anonymous, request{Token: "jwt-bad"}, "refused bad_token"},
		{"anonymous: a token of nobody", anonymous, request{Token: "garbage"}, "refused unknown_credential"},
		{"anonymous: a good cookie", anonymous, request{Cookie: "sessionid=42"}, "42 by cookie"},
		{"anonymous: down", anonymous, request{Cookie: "sessionid=down"}, "unavailable"},
		{"anonymous: a message without a user", anonymous, request{Message: "jwt-nouser"}, "refused no_login"},
		{"anonymous: a message of an unknown session", anonymous, request{Message: "jwt-soft"}, "refused unknown_session"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newChain(t, tt.options, nil)
			for _, pass := range []string{"asked", "cached"} {
				if got := answer(c.Authenticate(t.Context(), &tt.request)); got != tt.want {
					t.Errorf("%s: %s, want %s", pass, got, tt.want)
				}
			}
			steps := c.Explain(t.Context(), &tt.request)
			last := steps[len(steps)-1]
			if !last.Decides {
				t.Errorf("Explain = %+v, the last does not decide", steps)
			}
			want, reason, _ := strings.Cut(tt.want, " ")
			switch {
			case want == "refused" && (last.Outcome != authn.OutcomeRefused || last.Reason != reason),
				want == "unavailable" && last.Outcome != authn.OutcomeUnavailable,
				strings.Contains(tt.want, " by ") && (last.Outcome != authn.OutcomeAccepted || last.Identity.ID != want):
				t.Errorf("Explain ends with %+v, want %s", last, tt.want)
			}
			for _, step := range steps[:len(steps)-1] {
				if step.Decides {
					t.Errorf("Explain = %+v, more than the last decide", steps)
				}
			}
		})
	}
}

func TestTheChainCompletesIdentities(t *testing.T) {
	shop := sessions()
	c := newChain(t, func(o *authn.Options) { o.Chain = []string{"django:shop", "jwt"} }, map[string]authn.Verifier{"django:shop": shop, "jwt": tokens("jwt-")})
	id, err := c.Authenticate(t.Context(), &authn.Request{Cookie: "sessionid=42"})
	if err != nil || id.Kind != authn.KindUser || id.Verifier != "django:shop" || !id.Ambient() {
		t.Errorf("Authenticate = %+v, %v", id, err)
	}
	id, err = c.Authenticate(t.Context(), &authn.Request{Authorization: "Bearer jwt-42"})
	if err != nil || id.Kind != authn.KindStaff || id.Verifier != "jwt" || id.Ambient() {
		t.Errorf("Authenticate = %+v, %v", id, err)
	}
}

func TestAuthenticateToken(t *testing.T) {
	c := newChain(t, func(o *authn.Options) { o.Carriers, o.Anonymous = []string{"cookie"}, true }, nil)
	for token, want := range map[string]string{"jwt-42": "42 by message", "jwt-bad": "refused bad_token", "x": "refused unknown_credential", "": "refused no_credential", "jwt-nouser": "refused no_login"} {
		if got := answer(c.AuthenticateToken(t.Context(), token)); got != want {
			t.Errorf("AuthenticateToken(%q) = %s, want %s", token, got, want)
		}
	}
}

func TestExplainNamesEveryStep(t *testing.T) {
	c := newChain(t, nil, nil)
	var lines []string
	for _, s := range c.Explain(t.Context(), &authn.Request{Cookie: "sessionid=nouser", Authorization: "Bearer jwt-42"}) {
		lines = append(lines, fmt.Sprint(s.Carrier, " ", s.Verifier, " ", s.Outcome, " ", s.Decides))
	}
	want := "cookie django no_login false\ncookie jwt not_mine false\nheader django not_mine false\nheader jwt accepted true"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("Explain =\n%s\nwant\n%s", got, want)
	}
}

func TestChainsThatCannotWork(t *testing.T) {
	for want, change := range map[string]func(*authn.Options){
		`authn.chain names "ticket", which is not configured`: func(o *authn.Options) { o.Chain = []string{"django", "ticket"} },
		"authn.reject": func(o *authn.Options) { o.Reject = "" },
	} {
		_, err := authn.NewChain(options(change), map[string]authn.Verifier{"django": sessions()}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewChain = %v, want %q", err, want)
		}
	}
}

func TestRulesCanBeReplaced(t *testing.T) {
	c := newChain(t, nil, nil)
	id := &authn.Identity{ID: "42", Kind: authn.KindUser}
	may := func() bool {
		g, err := c.Grants(id, "conn")
		if err != nil {
			t.Fatal(err)
		}
		return g.CanSubscribe([]byte("chat.7"))
	}
	if may() {
		t.Error("without rules chat.7 may be heard")
	}
	rules, err := authn.CompileRules([]authn.Rule{{To: "authenticated", Subscribe: []string{"chat.>"}}})
	if err != nil {
		t.Fatal(err)
	}
	if c.SetRules(rules); !may() {
		t.Error("the new rules do not count")
	}
}

func TestReady(t *testing.T) {
	down := &authntest.Fake{Down: errors.New("connection refused")}
	c := newChain(t, nil, map[string]authn.Verifier{"django": down, "jwt": tokens("jwt-")})
	if err := c.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "django: connection refused") {
		t.Errorf("Ready = %v", err)
	}
	c.AskRows(&downTable{})
	if err := c.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "django: connection refused") || !strings.Contains(err.Error(), "[[grants]]: no route") {
		t.Errorf("Ready with rows that are down, too = %v", err)
	}
	if err := newChain(t, nil, nil).Ready(t.Context()); err != nil {
		t.Errorf("Ready = %v", err)
	}
}
