package django

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
)

// legacy are the keys of what Django before 3.1 signed with SHA-1, and Django 3.1 and 3.2 with DEFAULT_HASHING_ALGORITHM = "sha1". A nil key lets nothing in.
type legacy struct{ session, cookie, hash []byte }

func newLegacy(o *Options) (l legacy, err error) {
	for _, k := range []struct {
		dst  *[]byte
		text string
	}{{&l.session, o.LegacySessionKey}, {&l.cookie, o.LegacyCookieKey}, {&l.hash, o.LegacyHashKey}} {
		if k.text != "" {
			if *k.dst, err = hex.DecodeString(k.text); err != nil {
				return legacy{}, err
			}
		}
	}
	return l, nil
}

func macSHA1(key, data []byte) []byte {
	mac := hmac.New(sha1.New, key)
	mac.Write(data)
	return mac.Sum(nil)
}

// decode is SessionBase._legacy_decode of Django 3.2: base64(hex(HMAC-SHA1) ":" payload).
func (l *legacy) decode(data string) (payload []byte, ok bool) {
	if l.session == nil || len(data) > 2*maxPayload {
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, false
	}
	mac, payload, _ := bytes.Cut(raw, []byte(":"))
	want := hex.EncodeToString(macSHA1(l.session, payload))
	return payload, hmac.Equal([]byte(want), mac)
}

// verify is what ring.verify is, for the signature of a cookie.
func (l *legacy) verify(value, signature string) bool {
	if l.cookie == nil {
		return false
	}
	want := base64.RawURLEncoding.EncodeToString(macSHA1(l.cookie, []byte(value)))
	return hmac.Equal([]byte(want), []byte(signature))
}

// authHash is what ring.authHash is (AbstractBaseUser._legacy_get_session_auth_hash).
func (l *legacy) authHash(password, got string) bool {
	if l.hash == nil {
		return false
	}
	want := hex.EncodeToString(macSHA1(l.hash, []byte(password)))
	return hmac.Equal([]byte(want), []byte(got))
}
