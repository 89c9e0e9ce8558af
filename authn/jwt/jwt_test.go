package jwt

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

// Made by djangorestframework-simplejwt with SECRET_KEY as signing key; it expires in 2100.
const (
	simpleKey   = "django-insecure-vectors-0123456789abcdefghijklmnopqrstuvwxyz"
	simpleToken = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0b2tlbl90eXBlIjoiYWNjZXNzIiwiZXhwIjo0MTAyNDQ0ODAwLCJpYXQiOjE3MDAwMDAwMDAsImp0aSI6IjJhMWMyZjhmMGI3ZTRlNmY5YjFkMGMzYTVlN2Y5MDEyIiwidXNlcl9pZCI6IjQyIn0.mGK9FnT7JzHagVkfPBYGNo06kKCGs_Kop0og0keEw5c"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func options() Options {
	o := DefaultOptions()
	o.Secret = testSecret
	return o
}

func verifier(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// sign makes a token as another library would, with sub and exp unless claims has them. nil removes one.
func sign(t testing.TB, method jwt.SigningMethod, secret any, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"sub": "42", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	token, err := jwt.NewWithClaims(method, all).SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func hs256(t testing.TB, claims jwt.MapClaims) string {
	return sign(t, jwt.SigningMethodHS256, []byte(testSecret), claims)
}

func TestConformance(t *testing.T) {
	authntest.Run(t, func(t *testing.T) authntest.Harness {
		o := options()
		o.CookieName, o.UserPrefix = "access", "jwt:"
		good := hs256(t, jwt.MapClaims{"gatecast": map[string]any{"subscribe": []string{"chat.>"}, "join": []string{"news"}}})
		return authntest.Harness{
			Verifier: verifier(t, o),
			Good: []authntest.Good{
				{Credential: authntest.WithBearer(good), ID: "jwt:42"},
				{Credential: authntest.WithCookie("access", good), ID: "jwt:42"},
				{Credential: authn.Credential{Carrier: authn.CarrierMessage, Value: good}, ID: "jwt:42"},
			},
			Bad: map[string]authn.Credential{
				"expired":       authntest.WithBearer(hs256(t, jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()})),
				"another key":   authntest.WithBearer(sign(t, jwt.SigningMethodHS256, []byte("another key of some length"), nil)),
				"not signed":    authntest.WithBearer(sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil)),
				"a bad cookie":  authntest.WithCookie("access", hs256(t, jwt.MapClaims{"exp": nil})),
				"no such claim": authntest.WithBearer(hs256(t, jwt.MapClaims{"sub": nil})),
			},
			NotMine: []authn.Credential{authntest.WithCookie("sessionid", good), authntest.WithBearer("9d1e0a7b2c3d4e5f60718293a4b5c6d7e8f90123"), authntest.WithBearer("42:1r31eq:UWgq_BgvZOKv-bB5-RBwimDN0M8hMrRB_LtM01LCKsA")},
			Secrets: []string{testSecret},
			Takes: func(c authn.Credential) bool {
				value := c.Value
				if c.Carrier == authn.CarrierCookie {
					value, _ = c.Cookie("access")
				}
				return strings.HasPrefix(value, "eyJhbGciOi")
			},
		}
	})
}

func TestRefusals(t *testing.T) {
	o := options()
	o.Audience, o.Issuer = "gatecast", "shop"
	v := verifier(t, o)
	ok := jwt.MapClaims{"aud": "gatecast", "iss": "shop"}
	with := func(name string, value any) string {
		claims := jwt.MapClaims{name: value}
		for k, v := range ok {
			if _, has := claims[k]; !has {
				claims[k] = v
			}
		}
		return hs256(t, claims)
	}
	now := time.Now()
	grant := func(key string, values ...any) string { return with("gatecast", map[string]any{key: values}) }
	tests := []struct {
		name, token, reason string // reason "" = accepted
	}{
		{"good", with("x", 1), ""},
		{"HS384", sign(t, jwt.SigningMethodHS384, []byte(testSecret), ok), ""},
		{"HS512", sign(t, jwt.SigningMethodHS512, []byte(testSecret), ok), ""},
		{"alg none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, ok), "bad_algorithm"},
		{"another secret", sign(t, jwt.SigningMethodHS256, []byte(testSecret+"x"), ok), "bad_signature"},
		{"no exp", with("exp", nil), "no_expiry"},
		{"past exp", with("exp", now.Add(-time.Second).Unix()), "expired"},
		{"exp is a text", with("exp", "tomorrow"), "malformed"},
		{"exp is absurd", with("exp", -1e300), "expired"},
		{"nbf in an hour", with("nbf", now.Add(time.Hour).Unix()), "not_yet_valid"},
		{"nbf in a second", with("nbf", now.Add(time.Second).Unix()), ""},
		{"iat in an hour", with("iat", now.Add(time.Hour).Unix()), "not_yet_valid"},
		{"iat is a list", with("iat", []int{1}), "malformed"},
		{"another aud", with("aud", "other"), "bad_audience"},
		{"no aud", with("aud", nil), "bad_audience"},
		{"aud in a list", with("aud", []string{"other", "gatecast"}), ""},
		{"aud is a number", with("aud", 7), "bad_audience"},
		{"another iss", with("iss", "other"), "bad_issuer"},
		{"no iss", with("iss", nil), "bad_issuer"},
		{"access token", with("token_type", "access"), ""},
		{"sliding token", with("token_type", "sliding"), ""},
		{"refresh token", with("token_type", "refresh"), "bad_token_type"},
		{"token_type is a number", with("token_type", 1), "bad_token_type"},
		{"integer user", with("sub", 42), ""},
		{"large integer user", with("sub", uint64(1<<63)), ""},
		{"no user", with("sub", nil), "bad_user_claim"},
		{"empty user", with("sub", ""), "bad_user_claim"},
		{"float user", with("sub", 4.2), "bad_user_claim"},
		{"exponent user", with("sub", 1e30), "bad_user_claim"},
		{"bool user", with("sub", true), "bad_user_claim"},
		{"list user", with("sub", []string{"42"}), "bad_user_claim"},
		{"user with a newline", with("sub", "4\n2"), "bad_user_claim"},
		{"long user", with("sub", strings.Repeat("x", 129)), "bad_user_claim"},
		{"grants", grant("subscribe", "chat.>", "a..b"), ""},
		{"wildcard in a token", grant("subscribe", "chat.a*"), "bad_grants"},
		{"grant with a space", grant("publish", "a b"), "bad_grants"},
		{"empty deny", grant("deny", ""), "bad_grants"},
		{"join of a wildcard", grant("join", "chat.*"), "bad_grants"},
		{"grant of a number", grant("join", 7), "bad_grants"},
		{"misspelt grant", grant("subscribes", "chat.>"), "bad_grants"},
		{"grants are a list", with("gatecast", []string{"chat.>"}), "bad_grants"},
		{"grants are null", hs256(t, jwt.MapClaims{"aud": "gatecast", "iss": "shop", "gatecast": (*int)(nil)}), "bad_grants"},
		{"too many grants", grant("subscribe", slices.Repeat([]any{"a"}, maxGrants+1)...), "bad_grants"},
		{"too long", with("x", strings.Repeat("x", maxToken)), "too_long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, err := v.Verify(t.Context(), authntest.WithBearer(tt.token))
			if tt.reason == "" {
				if err != nil {
					t.Fatalf("Verify = %v, want accepted", err)
				}
				return
			}
			var refused *authn.Refused
			if !errors.As(err, &refused) || refused.Reason != tt.reason || refused.Soft {
				t.Fatalf("Verify = %v, %v, want refused with %s", id, err, tt.reason)
			}
		})
	}
}

func TestSimpleJWT(t *testing.T) {
	o := options()
	o.Secret, o.UserClaim = simpleKey, "user_id"
	id, err := verifier(t, o).Verify(t.Context(), authntest.WithBearer(simpleToken))
	if err != nil || id.ID != "42" {
		t.Fatalf("Verify = %v, %v, want user 42", id, err)
	}
	if want := time.Unix(4102444800, 0); !id.Expires.Equal(want) {
		t.Errorf("Expires = %v, want %v", id.Expires, want)
	}
}

func TestIdentity(t *testing.T) {
	o := options()
	o.UserPrefix, o.Leeway = "shop:", time.Minute
	v := verifier(t, o)
	exp := time.Now().Add(-30 * time.Second).Truncate(time.Second)
	id, err := v.Verify(t.Context(), authntest.WithBearer(hs256(t, jwt.MapClaims{
		"sub": 42, "exp": exp.Unix(), "groups": []string{"Outer"}, "tenant": "acme", "level": 7, "rooms": []any{"a", 8, "b.c"},
		"nested": []any{[]any{"x"}}, "flag": true, "object": map[string]any{}, "empty": "", "long": strings.Repeat("x", maxValue+1), "iss": "whoever",
		"gatecast": map[string]any{"subscribe": []string{"chat.>"}, "join": []string{"news"}, "deny": []string{"chat.x"}, "groups": []string{"Editors & Co"}},
	})))
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != "shop:42" || id.Kind != authn.KindUser || !id.Expires.Equal(exp.Add(time.Minute)) {
		t.Errorf("Identity = %+v", id)
	}
	if !slices.Equal(id.Groups, []string{"Editors & Co"}) {
		t.Errorf("Groups = %q", id.Groups)
	}
	if got, want := fmt.Sprint(id.Attrs), "map[level:[7] rooms:[a 8 b.c] tenant:[acme]]"; got != want {
		t.Errorf("Attrs = %s, want %s", got, want)
	}
	if got, want := fmt.Sprint(*id.Claimed), "{[news] [chat.>] [] [chat.x]}"; got != want {
		t.Errorf("Claimed = %s, want %s", got, want)
	}
	id, err = v.Verify(t.Context(), authntest.WithBearer(hs256(t, jwt.MapClaims{"groups": []string{"Outer"}})))
	if err != nil || !slices.Equal(id.Groups, []string{"Outer"}) || id.Claimed != nil || id.Attrs != nil {
		t.Errorf("Identity = %+v, %v", id, err)
	}
}

func TestMake(t *testing.T) {
	o := options()
	o.UserClaim, o.Audience, o.Issuer, o.UserPrefix = "user_id", "gatecast", "shop", "shop:"
	v := verifier(t, o)
	token, err := v.Make(t.Context(), Claims{
		User: "42", Lifetime: time.Minute, Groups: []string{"Editors"}, Attrs: map[string]any{"tenant": "acme"},
		Grants: &authn.Patterns{Join: []string{"news"}, Subscribe: []string{"chat.>"}, Publish: []string{"chat.7"}, Deny: []string{"chat.private.>"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	in := v.Inspect(t.Context(), token)
	if in.Err != nil || in.Identity.ID != "shop:42" || !slices.Equal(in.Identity.Groups, []string{"Editors"}) || in.Identity.Attrs["tenant"][0] != "acme" {
		t.Fatalf("Inspect = %+v", in)
	}
	if !strings.Contains(string(in.Claims), `"user_id":"42"`) || !strings.Contains(string(in.Header), "HS256") {
		t.Errorf("Inspect shows %s %s", in.Header, in.Claims)
	}
	for name, c := range map[string]Claims{
		"no user":      {Lifetime: time.Minute},
		"no lifetime":  {User: "42"},
		"a bad grant":  {User: "42", Lifetime: time.Minute, Grants: &authn.Patterns{Subscribe: []string{"a*"}}},
		"a bad id":     {User: "4\n2", Lifetime: time.Minute},
		"a bad claims": {User: "42", Lifetime: time.Minute, Attrs: map[string]any{"token_type": "refresh", "nbf": "x"}},
	} {
		if token, err := v.Make(t.Context(), c); err == nil {
			t.Errorf("Make with %s = %q, want an error", name, token)
		}
	}
}

func TestInspectShowsWhatIsRefused(t *testing.T) {
	v := verifier(t, options())
	in := v.Inspect(t.Context(), hs256(t, jwt.MapClaims{"exp": 1}))
	var refused *authn.Refused
	if !errors.As(in.Err, &refused) || refused.Reason != "expired" || in.Identity != nil || !strings.Contains(string(in.Claims), `"exp":1`) {
		t.Errorf("Inspect = %+v", in)
	}
	if in := v.Inspect(t.Context(), "not a token"); !errors.Is(in.Err, authn.ErrNotMine) || in.Claims != nil {
		t.Errorf("Inspect = %+v", in)
	}
}

func TestOptions(t *testing.T) {
	good := options()
	if err := good.Validate(); err != nil {
		t.Errorf("Validate = %v", err)
	}
	tests := []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Secret = "" }, "secret is empty"},
		{func(o *Options) { o.Secret = "0123456789abcde" }, "has 15 bytes; at least 16"},
		{func(o *Options) { o.Secret = "secret" }, "placeholder"},
		{func(o *Options) { o.Secret = "change-me" }, "placeholder"},
		{func(o *Options) { o.Secret = "please-CHANGE_ME-in-production" }, "placeholder"},
		{func(o *Options) { o.Secret = "your-secret-key-goes-here" }, "placeholder"},
		{func(o *Options) { o.Secret = strings.Repeat("x", 40) }, "placeholder"},
		{func(o *Options) { o.UserClaim = "" }, "user_claim is empty"},
		{func(o *Options) { o.UserPrefix = strings.Repeat("x", 65) }, "user_prefix has 65"},
		{func(o *Options) { o.CookieName = "a=b" }, "cookie_name"},
		{func(o *Options) { o.Leeway = -1 }, "leeway"},
		{func(o *Options) { o.Leeway = time.Hour }, "leeway"},
	}
	for _, tt := range tests {
		o := options()
		tt.change(&o)
		_, err := Open(t.Context(), o, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "authn.jwt.") {
			t.Errorf("Open = %v, want an error of authn.jwt with %q", err, tt.want)
		}
		if err != nil && len(o.Secret) > 6 && strings.Contains(err.Error(), o.Secret) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	for _, s := range authntest.Hostile() {
		f.Add(s[:min(len(s), 300)])
	}
	f.Add(simpleToken)
	o := DefaultOptions()
	o.Secret, o.UserClaim = simpleKey, "user_id"
	alone := verifier(f, o)
	o.JWKS = writeFile(f, "jwks.json", rfcSet) // nobody here can sign for these
	beside := verifier(f, o)
	accepted := simpleToken[:len(simpleToken)-1]
	f.Fuzz(func(t *testing.T, token string) {
		for _, v := range []*Verifier{alone, beside} {
			id, err := v.Verify(t.Context(), authntest.WithBearer(token))
			if (id == nil) == (err == nil) {
				t.Fatalf("Verify(%q) = %v, %v", token, id, err)
			}
			if err == nil && !strings.HasPrefix(token, accepted) {
				t.Fatalf("Verify accepts %q", token)
			}
			v.Inspect(t.Context(), token)
		}
	})
}

// FuzzClaims puts any payload under a good signature: nothing that gets through may be unusable.
func FuzzClaims(f *testing.F) {
	f.Add(`{"sub":"42","exp":4102444800}`)
	f.Add(`{"sub":42,"exp":4102444800.5,"gatecast":{"subscribe":["chat.>"],"join":["a..b"]},"rooms":["a",1]}`)
	f.Add(`{"sub":"42","exp":1e400,"nbf":-1e300,"iat":null}`)
	f.Add(`null`)
	v := verifier(f, options())
	f.Fuzz(func(t *testing.T, payload string) {
		text := "eyJhbGciOiJIUzI1NiJ9." + encode([]byte(payload))
		signature, err := jwt.SigningMethodHS256.Sign(text, []byte(testSecret))
		if err != nil {
			t.Fatal(err)
		}
		id, err := v.Verify(t.Context(), authntest.WithBearer(text+"."+encode(signature)))
		var refused *authn.Refused
		if err != nil {
			if !errors.As(err, &refused) || refused.Reason == "bad_signature" {
				t.Fatalf("Verify of %q = %v", payload, err)
			}
			return
		}
		if _, err := (*authn.Rules)(nil).GrantsFor(id, "conn"); err != nil {
			t.Fatalf("the grants of %q: %v", payload, err)
		}
	})
}

func encode(b []byte) string { return (&jwt.Token{}).EncodeSegment(b) }
