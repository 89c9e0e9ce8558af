package authn

import (
	"encoding/base64"
	"errors"
	"strings"
)

// Native is the native protocol's subprotocol.
const Native = "gatecast.v1"

const (
	bearerPrefix   = "bearer."
	bearer64Prefix = "bearer64."
)

// CredentialSubprotocol reads the token out of bearer.TOKEN, for tokens of RFC 9110 §5.6.2 characters, or bearer64.X, X
// being any bytes in base64url without padding. ok says that p is a credential, which is never echoed or logged; err that
// its token cannot be read.
func CredentialSubprotocol(p string) (token string, ok bool, err error) {
	if rest, found := cutPrefixFold(p, bearer64Prefix); found {
		raw, err := base64.RawURLEncoding.Strict().DecodeString(rest)
		switch {
		case err != nil || strings.ContainsAny(rest, "\r\n"): // the decoder skips line ends
			return "", true, errors.New("bearer64. wants base64url without padding")
		case len(raw) == 0:
			return "", true, errors.New("bearer64. without a token")
		}
		return string(raw), true, nil
	}
	if rest, found := cutPrefixFold(p, bearerPrefix); found {
		switch {
		case rest == "":
			return "", true, errors.New("bearer. without a token")
		case !tokenChars(rest):
			return "", true, errors.New("bearer. cannot carry this token; use bearer64. and base64url")
		}
		return rest, true, nil
	}
	return "", false, nil
}

// SelectNative chooses what /ws echoes: gatecast.v1, or "" (the same protocol) if nothing was offered. A
// *SubprotocolError is answered with 400.
func SelectNative(offered []string) (echo string, err error) {
	if len(offered) == 0 {
		return "", nil
	}
	for _, p := range offered {
		if p == Native {
			return p, nil
		}
	}
	return "", &SubprotocolError{Reason: "unknown_subprotocol", Advice: "offer the subprotocol " + Native + " here, or none"}
}

// SelectRaw chooses what a raw route echoes: the first offered that is no credential, or "" if nothing was offered. A
// *SubprotocolError is answered with 400: browsers fail a handshake that answers none of those offered.
func SelectRaw(offered []string) (echo string, err error) {
	for _, p := range offered {
		if _, credential, _ := CredentialSubprotocol(p); !credential {
			return p, nil
		}
	}
	if len(offered) == 0 {
		return "", nil
	}
	return "", &SubprotocolError{Reason: "only_credential", Advice: "offer a subprotocol of your own beside the credential; it is echoed, the credential never is"}
}

// SubprotocolError is a 400. Its text is safe to show and says what to offer.
type SubprotocolError struct {
	Reason string // stable snake_case
	Advice string
}

func (e *SubprotocolError) Error() string { return e.Advice }

// header reads an Authorization header. ok is false for schemes that are not among those given, such as Basic.
func header(value string, schemes []string) (scheme, token string, ok bool) {
	value = strings.Trim(value, " \t")
	scheme, token, _ = strings.Cut(value, " ")
	token = strings.TrimLeft(token, " \t")
	if token == "" {
		return "", "", false
	}
	for _, s := range schemes {
		if strings.EqualFold(scheme, s) {
			return s, token, true
		}
	}
	return "", "", false
}

func cutPrefixFold(s, prefix string) (rest string, found bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func tokenChars(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return true
}
