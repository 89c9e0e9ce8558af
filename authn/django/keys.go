package django

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Keys are the four keys derived from one SECRET_KEY, each 64 hex characters.
type Keys struct {
	// SessionKey verifies the session data of the engines db, cached_db and file: SHA-256 of "django.contrib.sessions.SessionStore" + "signer" + SECRET_KEY.
	SessionKey string `toml:"session_key" secret:"true"`
	// CookieKey verifies the cookies of engine signed_cookies.
	CookieKey string `toml:"cookie_key" secret:"true"`
	// HashKey verifies that the password has not changed since the login (_auth_user_hash).
	HashKey string `toml:"hash_key" secret:"true"`
	// TicketKey verifies tickets that the site signs for Gatecast.
	TicketKey string `toml:"ticket_key" secret:"true"`
}

// Salts of django.core.signing.Signer and salted_hmac; the suffix "signer" is Signer.signature's.
const (
	sessionSalt = "django.contrib.sessions.SessionStore" + "signer"
	cookieSalt  = "django.contrib.sessions.backends.signed_cookies" + "signer"
	hashSalt    = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
	ticketSalt  = "gatecast.ticket" + "signer"
)

// DeriveKeys derives the keys from a SECRET_KEY as Django's salted_hmac does (django/utils/crypto.py): SHA-256 of salt and secret.
// It is for tests and documentation; a site uses manage.py gatecast_keys, so that SECRET_KEY never leaves it. A project whose session
// store is a subclass with another name has another session key, which the command derives too.
func DeriveKeys(secretKey string) Keys {
	derive := func(salt string) string {
		sum := sha256.Sum256([]byte(salt + secretKey))
		return hex.EncodeToString(sum[:])
	}
	return Keys{SessionKey: derive(sessionSalt), CookieKey: derive(cookieSalt), HashKey: derive(hashSalt), TicketKey: derive(ticketSalt)}
}

// ring is one kind of key: today's first, then the fallbacks.
type ring [][]byte

func newRing(keys ...string) (ring, error) {
	var r ring
	for _, k := range keys {
		if k == "" {
			continue
		}
		b, err := hex.DecodeString(k)
		if err != nil {
			return nil, errors.New("a key is not hex") // Validate has said which
		}
		r = append(r, b)
	}
	return r, nil
}

const askForKeys = "run manage.py gatecast_keys in the Django project (pip install gatecast) and copy what it prints"

// checkKey says what is wrong with the value of a key, without ever repeating it.
func checkKey(name, value string, length int) error {
	switch {
	case len(value) != length:
		return fmt.Errorf("%s has %d characters, a derived key has %d hex characters; it is not SECRET_KEY itself: %s", name, len(value), length, askForKeys)
	case strings.Trim(value, "0123456789abcdefABCDEF") != "":
		return fmt.Errorf("%s is not hex: %s", name, askForKeys)
	case isPlaceholder(value):
		return fmt.Errorf("%s is a placeholder, not a key: %s", name, askForKeys)
	}
	return nil
}

// isPlaceholder tells a pattern somebody typed ("000…", "deadbeef…", "0123456789abcdef…") from a hash.
func isPlaceholder(value string) bool {
	for period := 1; period <= len(value)/2; period *= 2 {
		if strings.EqualFold(value[period:], value[:len(value)-period]) {
			return true
		}
	}
	return false
}
