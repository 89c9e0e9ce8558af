package django

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/gatecast/gatecast/authn"
)

// Reasons of a refusal, for logs and metrics.
const (
	reasonUnknownSession = "unknown_session"     // no such session: never was, logged out, or flushed. Soft in a cookie
	reasonExpired        = "expired"             // Soft in a cookie
	reasonBadSignature   = "bad_signature"       // none of the keys made it
	reasonMalformed      = "malformed"           // well signed, and not a session we can read
	reasonBackend        = "backend_not_allowed" // logged in by a backend that is not in backends
	reasonUnknownUser    = "unknown_user"        // the user was deleted
	reasonInactive       = "inactive"
	reasonHashMismatch   = "hash_mismatch"       // the password or SECRET_KEY changed since the login
	reasonSecondStep     = "second_step_missing" // the session lacks what require_session_keys or require_auth_methods asks for
	reasonOtherUser      = "other_user"          // in a sweep: the session belongs to somebody else now
)

// maxCookie bounds a signed cookie; browsers keep 4 KB.
const maxCookie = 8192

// session tells the session key, or the signed cookie, that c holds. A cookie of our name is ours whatever is in it: one that cannot be a key is an
// unknown session, as after a change of SESSION_ENGINE. A token has to look like Django's own keys to be ours.
func (v *Verifier) session(c authn.Credential) (string, error) {
	if c.Carrier != authn.CarrierCookie {
		if !v.looksMine(c.Value) {
			return "", authn.ErrNotMine
		}
		return c.Value, nil
	}
	value, ok := c.Cookie(v.opts.CookieName)
	if !ok || value == "" {
		return "", authn.ErrNotMine
	}
	if !v.couldBe(value) {
		return "", &authn.Refused{Code: authn.CodeUnauthorized, Reason: reasonUnknownSession, Soft: true, Err: errors.New("the cookie holds no session")}
	}
	return value, nil
}

// couldBe tells whether a cookie is worth a look: no other value is ever put to the site's database.
func (v *Verifier) couldBe(value string) bool {
	if v.opts.Engine == EngineSignedCookies {
		return len(value) <= maxCookie && strings.Count(value, ":") >= 2
	}
	return looksLikeKey(value, 8, 40)
}

// looksMine is stricter: a token may be any verifier's, and a ticket has the form of a signed cookie.
func (v *Verifier) looksMine(token string) bool {
	if v.opts.Engine == EngineSignedCookies {
		return looksSigned(token, v.old.cookie != nil) && !LooksLikeTicket(token)
	}
	return looksLikeKey(token, 32, 32)
}

// looksLikeKey: Django makes 32 characters of [a-z0-9] (SessionBase._get_new_session_key), takes 8 and more, and stores at most 40.
func looksLikeKey(value string, shortest, longest int) bool {
	if len(value) < shortest || len(value) > longest {
		return false
	}
	for i := range len(value) {
		if c := value[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// looksSigned tells "body:timestamp:signature" of signing.dumps. sha1Too: also a signature of the length of SHA-1.
func looksSigned(value string, sha1Too bool) bool {
	if len(value) > maxCookie {
		return false
	}
	body, rest, ok := strings.Cut(value, ":")
	stamp, signature, ok2 := strings.Cut(rest, ":")
	return ok && ok2 && body != "" && stamp != "" && len(stamp) <= 11 && (len(signature) == 43 || sha1Too && len(signature) == 27) &&
		only(strings.TrimPrefix(body, ".")) && only(stamp) && only(signature)
}

// only tells base64url without padding, which base62 and its sign are inside of.
func only(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// SessionHash implements authn.SessionHasher.
func (v *Verifier) SessionHash(c authn.Credential) (string, bool) {
	value, err := v.session(c)
	if err != nil {
		return "", false
	}
	return hashSession(value), true
}

func hashSession(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// CookieName implements authn.CookieNamer.
func (v *Verifier) CookieName() string { return v.opts.CookieName }

// TombstoneTTL implements authn.TombstoneKeeper: a signed cookie stays good until its age ends it, for there is nothing to delete at logout. A row is gone
// within seconds of the signal.
func (v *Verifier) TombstoneTTL() time.Duration {
	if v.opts.Engine == EngineSignedCookies {
		return v.opts.CookieAge
	}
	return 10 * time.Minute
}
