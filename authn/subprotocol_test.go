package authn

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCredentialSubprotocol(t *testing.T) {
	tests := []struct {
		p, token string
		ok       bool
		err      string
	}{
		{"bearer.abc.def-_~", "abc.def-_~", true, ""},
		{"bearer.a!#$%&'*+-.^_`|~", "a!#$%&'*+-.^_`|~", true, ""},
		{"Bearer.abc", "abc", true, ""},
		{"bearer64.YS9iPQ", "a/b=", true, ""},
		{"bearer64.AP8K", "\x00\xff\n", true, ""},
		{"BEARER64.YQ", "a", true, ""},
		{"bearer.", "", true, "without a token"},
		{"bearer64.", "", true, "without a token"},
		{"bearer.a b", "", true, "use bearer64."},
		{"bearer.a=", "", true, "use bearer64."},
		{"bearer.é", "", true, "use bearer64."},
		{"bearer64.YQ==", "", true, "without padding"},
		{"bearer64.Y", "", true, "without padding"},
		{"bearer64.YR", "", true, "without padding"}, // spare bits
		{"bearer64.Y\nQ", "", true, "without padding"},
		{"bearer64.+/", "", true, "without padding"},
		{"gatecast.v1", "", false, ""},
		{"bearer", "", false, ""},
		{"bearer64", "", false, ""},
		{"xbearer.abc", "", false, ""},
		{"", "", false, ""},
	}
	for _, tt := range tests {
		token, ok, err := CredentialSubprotocol(tt.p)
		if token != tt.token || ok != tt.ok || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("CredentialSubprotocol(%q) = %q, %v, %v, want %q, %v, %q", tt.p, token, ok, err, tt.token, tt.ok, tt.err)
		}
	}
}

func TestSelectSubprotocol(t *testing.T) {
	tests := []struct {
		offered           string
		native, raw       string
		badNative, badRaw string // reason of a 400
	}{
		{"", "", "", "", ""},
		{"gatecast.v1", "gatecast.v1", "gatecast.v1", "", ""},
		{"chat gatecast.v1", "gatecast.v1", "chat", "", ""},
		{"bearer.t gatecast.v1", "gatecast.v1", "gatecast.v1", "", ""},
		{"bearer64.dA bearer.! chat", "", "chat", "unknown_subprotocol", ""},
		{"chat", "", "chat", "unknown_subprotocol", ""},
		{"bearer.t", "", "", "unknown_subprotocol", "only_credential"},
		{"bearer64.=", "", "", "unknown_subprotocol", "only_credential"},
		{"GATECAST.V1", "", "GATECAST.V1", "unknown_subprotocol", ""},
	}
	for _, tt := range tests {
		check := func(name string, selected func([]string) (string, error), want, reason string) {
			echo, err := selected(strings.Fields(tt.offered))
			var sub *SubprotocolError
			if echo != want || (reason != "") != errors.As(err, &sub) || sub != nil && (sub.Reason != reason || sub.Error() == "") {
				t.Errorf("%s(%q) = %q, %v, want %q, %q", name, tt.offered, echo, err, want, reason)
			}
		}
		check("SelectNative", SelectNative, tt.native, tt.badNative)
		check("SelectRaw", SelectRaw, tt.raw, tt.badRaw)
	}
}

func TestHeader(t *testing.T) {
	tests := []struct{ value, scheme, token string }{
		{"Bearer abc", "bearer", "abc"},
		{"bEARER   abc", "bearer", "abc"},
		{" Token 9d1e ", "token", "9d1e"},
		{"Bearer a b", "bearer", "a b"},
		{"Bearer", "", ""},
		{"Bearer ", "", ""},
		{"Basic dTpw", "", ""},
		{"jwt abc", "jwt", "abc"},
		{"Bearerabc", "", ""},
		{"abc", "", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		if scheme, token, ok := header(tt.value, []string{"bearer", "token", "jwt"}); scheme != tt.scheme || token != tt.token || ok != (tt.scheme != "") {
			t.Errorf("header(%q) = %q, %q, %v", tt.value, scheme, token, ok)
		}
	}
}

func FuzzSubprotocol(f *testing.F) {
	texts := []string{ // none has anything of the token
		"bearer64. wants base64url without padding", "bearer64. without a token",
		"bearer. without a token", "bearer. cannot carry this token; use bearer64. and base64url",
	}
	f.Add("bearer.abc", "gatecast.v1")
	f.Add("bearer64.YS9iPQ", "chat")
	f.Fuzz(func(t *testing.T, a, b string) {
		token, ok, err := CredentialSubprotocol(a)
		switch {
		case ok && err == nil && token == "", err != nil && (!ok || token != ""), !ok && token != "":
			t.Fatalf("CredentialSubprotocol(%q) = %q, %v, %v", a, token, ok, err)
		case err != nil && !slices.Contains(texts, err.Error()):
			t.Fatalf("CredentialSubprotocol(%q) = %v, which shows it", a, err)
		}
		if token != "" {
			for _, p := range []string{"bearer64." + base64.RawURLEncoding.EncodeToString([]byte(token))} {
				if again, ok, err := CredentialSubprotocol(p); again != token || !ok || err != nil {
					t.Fatalf("CredentialSubprotocol(%q) = %q, %v, %v, want %q", p, again, ok, err, token)
				}
			}
		}
		for _, offered := range [][]string{{a}, {a, b}, {a, b, Native}} {
			for _, echo := range []string{first(SelectNative(offered)), first(SelectRaw(offered))} {
				if _, credential, _ := CredentialSubprotocol(echo); credential {
					t.Fatalf("a credential of %q would be echoed", offered)
				}
			}
		}
		header(a, []string{"bearer", "token"})
	})
}

func first(s string, _ error) string { return s }
