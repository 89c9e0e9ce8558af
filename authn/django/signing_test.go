package django

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

// The vectors were made by Django 3.2, 4.2, 5.2 and 6.1, which agree, with this SECRET_KEY and time.time() = 1700000000.
const (
	vectorSecret   = "django-insecure-vectors-0123456789abcdefghijklmnopqrstuvwxyz"
	vectorOld      = "old-secret-key-0000000000000000000000000000000000000000"
	vectorPassword = "pbkdf2_sha256$260000$vectorsalt$Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyMDE="
	vectorHash     = "699d8fb602d0cd6a54da0e08ecec5d0849ffc2c1c0f0d21e1bd7d5bc0b133fc3"
	vectorOldHash  = "833fc48c599055f9eb7a4f6523f8612c5dcd3e58764c0a05830412b285493824"

	vectorLoginBody = ".eJxVjDkOwjAUBe_iGlnfKzElfc5g-S8mARRLWSrE3SFSCmjfzLyXymVbh7wtMueR1UV5q06_IxZ6yLQTvpfp1jS1aZ1H1LuiD7rovrE8r4f7dzCUZfjWMSXuKkawDMSxBM8FBDohocDQ-VQrWTIEFdgaMchnDkiAxrlKTr0_Lic5PA"
	vectorDBLogin   = vectorLoginBody + ":1r31eq:C8VHEcui9PWUofVdQ1_VNMIPQn-QjpQcI0fQYziejH4"
	vectorOldLogin  = ".eJxVjEEOwiAQRe_C2hAKM3Rw6d4zEBhAqoYmpV0Z765NutDtf-_9l_BhW6vfel78lMRZgBan3zEGfuS2k3QP7TZLntu6TFHuijxol9c55eflcP8Oauj1W5MxhYEYnVOIxeU4BigWtSlkB82YOJmMNFpgFRSSUTDoqAnBGdIg3h_xTTbL:1r31eq:en1syBBTw61x9WSn9HDMqU_HP5VCEHrdmQmnmsZRI_M"
	vectorPickle    = ".eJxNjEEKwjAQRUVwKYKn0E2YpG1sduLeM5RkZmKr0kLTLgUPkGW8h0dUUaF_-d7j3xeP5-y7W9rEZWXHoa7GwH3VUIrzXKW4nkBn8cLt22zpbNtTJ7Brh75x4pOInw3i2BFfD_92NTmobahT3GtjqPROgyJA0rbIyQJDychYEJS58R4VSgQPpCRLRzsqHIKTWeYxS6N4AUftQKU:1r31eq:xyhq533G091sG9HeVRjogM368WoHwiOKcwHaQonwT2k"
)

func ringOf(t testing.TB, keys ...string) ring {
	t.Helper()
	r, err := newRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDeriveKeysAsDjango(t *testing.T) {
	want := Keys{
		SessionKey: "7df65d1425960b3b643ee46e4229f44e307c6f7be3e2ec6e81b1bd4cc6d583ca",
		CookieKey:  "7be48875cae96c2f018f05542dcda3cd748810dd6141bddd46bcdfb7849016a6",
		HashKey:    "db1b8d438a2b0af5d596dada2cd811c06b8957699a8de9f4c96d0ec7d0f45c60",
		TicketKey:  "49ad8e2b180cce9adb5553e37d753ddceced1c0f076ec199f721c3135291fc64",
	}
	if got := DeriveKeys(vectorSecret); got != want {
		t.Errorf("DeriveKeys = %+v, want %+v", got, want)
	}
}

func TestUnsignAsDjango(t *testing.T) {
	keys, old := DeriveKeys(vectorSecret), DeriveKeys(vectorOld)
	session, cookie := ringOf(t, keys.SessionKey), ringOf(t, keys.CookieKey)
	withFallback := ringOf(t, keys.SessionKey, old.SessionKey)
	// class MySession(SessionStore) has its own salt.
	mine := sha256.Sum256([]byte("django.contrib.sessions.MySession" + "signer" + vectorSecret))
	const small = "eyJhIjoxfQ:1r31eq:FXfJmZaTXnwnr4CLUfiiV7qTRSvc4QRMbuCSKatPP-8"
	login := `{"_auth_user_id":"42","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"` + vectorHash + `"}`

	for _, test := range []struct {
		name    string
		ring    ring
		token   string
		payload string
		err     error
	}{
		{"a small session is not compressed", session, small, `{"a":1}`, nil},
		{"a login is compressed", session, vectorDBLogin, login, nil},
		{"text is escaped, not raw", session, "eyJuYW1lIjoiWm9cdTAwZWIgXHVkODNkXHVkYzA5IiwiX2F1dGhfdXNlcl9pZCI6IjQyIn0:1r31eq:KL_02lWp2WeReXnvx7BbcQp9w5ns0pMvtP6yJfdpMaM", `{"name":"Zo\u00eb \ud83d\udc09","_auth_user_id":"42"}`, nil},
		{"a subclass of SessionStore has its own key", ring{mine[:]}, vectorLoginBody + ":1r31eq:-Elx-JakVGapBQoK8vOaZgh8y6__M03lhE_PXyrrRLQ", login, nil},
		{"a subclass is not the plain store", session, vectorLoginBody + ":1r31eq:-Elx-JakVGapBQoK8vOaZgh8y6__M03lhE_PXyrrRLQ", "", errSignature},
		{"a signed cookie", cookie, "eyJhIjoxfQ:1r31eq:Jq-M_yH18XH_Mj068hj3TqQJFFlwCUPk7XGOma9SG10", `{"a":1}`, nil},
		{"a signed login cookie", cookie, vectorLoginBody + ":1r31eq:sNWgbAnIqXS4u8p5zJdiFxSs91mhXlHc1SgcOM5wEno", login, nil},
		{"a cookie is not a row", session, "eyJhIjoxfQ:1r31eq:Jq-M_yH18XH_Mj068hj3TqQJFFlwCUPk7XGOma9SG10", "", errSignature},
		{"SHA-1 of Django 3.2 is not taken", cookie, vectorLoginBody + ":1r31eq:Ae7JzV8BlAU4-uLQmNix_pgGFwg", "", errSignature},
		{"an old key without fallback", session, vectorOldLogin, "", errSignature},
		{"an old key with fallback", withFallback, vectorOldLogin, strings.Replace(login, vectorHash, vectorOldHash, 1), nil},
		{"no key at all", nil, small, "", errSignature},
		{"another body", session, "eyJhIjoyfQ" + small[10:], "", errSignature},
		{"another time", session, strings.Replace(small, "1r31eq", "1r31er", 1), "", errSignature},
		{"a flipped bit of the signature", session, small[:len(small)-1] + "9", "", errSignature},
		{"another spelling of the last character", session, small[:len(small)-1] + "_", "", errSignature},
		{"padding", session, small + "=", "", errSignature},
		{"a newline", session, small + "\n", "", errSignature},
		{"no signature", session, "eyJhIjoxfQ:1r31eq:", "", errSignature},
		{"one colon", session, "eyJhIjoxfQ:1r31eq", "", errShape},
		{"no colon", session, "eyJhIjoxfQ", "", errShape},
		{"nothing", session, "", "", errShape},
	} {
		t.Run(test.name, func(t *testing.T) {
			payload, signed, err := test.ring.unsign(test.token, time.Unix(1700000001, 0), 0)
			if !errors.Is(err, test.err) || string(payload) != test.payload {
				t.Fatalf("unsign(%q) = %q, %v, want %q, %v", test.token, payload, err, test.payload, test.err)
			}
			if err == nil && signed.Unix() != 1700000000 {
				t.Errorf("signed at %d, want 1700000000", signed.Unix())
			}
		})
	}
}

func TestUnsignTicketAsDjango(t *testing.T) {
	derived := sha256.Sum256([]byte("gateway.ws.ticket" + "signer" + vectorSecret))
	payload, _, err := ring{derived[:]}.unsign("eyJ1aWQiOiI0MiIsImdyb3VwcyI6WyJ1c2VyLjQyIiwicm9vbS43Il19:1r31eq:fufjRlVzmvvXMK8oCxkY6XPEreBvaW1EaYWgY8wGuro", time.Now(), 0)
	if want := `{"uid":"42","groups":["user.42","room.7"]}`; err != nil || string(payload) != want {
		t.Errorf("unsign = %q, %v, want %q", payload, err, want)
	}
}

func TestUnsignMaxAge(t *testing.T) {
	r := ringOf(t, DeriveKeys(vectorSecret).CookieKey)
	const token = "eyJhIjoxfQ:1r31eq:Jq-M_yH18XH_Mj068hj3TqQJFFlwCUPk7XGOma9SG10"
	for _, test := range []struct {
		after time.Duration
		want  error
	}{{0, nil}, {time.Hour, nil}, {time.Hour + time.Millisecond, errTooOld}, {-time.Hour, nil}} {
		if _, _, err := r.unsign(token, time.Unix(1700000000, 0).Add(test.after), time.Hour); !errors.Is(err, test.want) {
			t.Errorf("unsign %s after signing, max age 1h: %v, want %v", test.after, err, test.want)
		}
	}
}

// sign is signing.dumps, always compressed if it helps.
func sign(key []byte, payload string, at time.Time) string {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write([]byte(payload))
	w.Close()
	body := base64.RawURLEncoding.EncodeToString([]byte(payload))
	if z.Len() < len(payload)-1 {
		body = "." + base64.RawURLEncoding.EncodeToString(z.Bytes())
	}
	return signBody(key, body+":"+encodeBase62(at.Unix()))
}

func signBody(key []byte, value string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(value))
	return value + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func encodeBase62(n int64) string {
	if n == 0 {
		return "0"
	}
	sign, s := "", ""
	if n < 0 {
		sign, n = "-", -n
	}
	for ; n > 0; n /= 62 {
		s = string(base62[n%62]) + s
	}
	return sign + s
}

func TestUnsignWellSignedNonsense(t *testing.T) {
	key := []byte("key")
	bomb := sign(key, strings.Repeat(" ", 8<<20), time.Unix(0, 0))
	for name, token := range map[string]string{
		"a zlib bomb":                  bomb,
		"no base64":                    signBody(key, "!!!!:1r31eq"),
		"no zlib":                      signBody(key, ".eyJhIjoxfQ:1r31eq"),
		"half a zlib":                  signBody(key, vectorLoginBody[:40]+":1r31eq"),
		"no time":                      signBody(key, "eyJhIjoxfQ:"),
		"a time that is not base62":    signBody(key, "eyJhIjoxfQ:!"),
		"a time that is only a sign":   signBody(key, "eyJhIjoxfQ:-"),
		"a time beyond the end of all": signBody(key, "eyJhIjoxfQ:zzzzzzzzzz"),
		"a time of 300 digits":         signBody(key, "eyJhIjoxfQ:"+strings.Repeat("z", 300)),
	} {
		if payload, _, err := (ring{key}).unsign(token, time.Now(), 0); !errors.Is(err, errBody) {
			t.Errorf("%s: unsign = %.20q, %v, want errBody", name, payload, err)
		}
	}
}

func TestBase62AsDjango(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "z": 61, "10": 62, "1r31eq": 1700000000, "-1": -1, "-10": -62} {
		if got, err := decodeBase62(s); err != nil || got != want {
			t.Errorf("decodeBase62(%q) = %d, %v, want %d", s, got, err, want)
		}
		if got := encodeBase62(want); got != s {
			t.Errorf("encodeBase62(%d) = %q, want %q", want, got, s)
		}
	}
}

func TestAuthHashAsDjango(t *testing.T) {
	now, both := ringOf(t, DeriveKeys(vectorSecret).HashKey), ringOf(t, DeriveKeys(vectorSecret).HashKey, DeriveKeys(vectorOld).HashKey)
	for _, test := range []struct {
		name, password, hash string
		ring                 ring
		want                 bool
	}{
		{"today's key", vectorPassword, vectorHash, now, true},
		{"an old key without fallback", vectorPassword, vectorOldHash, now, false},
		{"an old key with fallback", vectorPassword, vectorOldHash, both, true},
		{"another password", vectorPassword + "x", vectorHash, both, false},
		{"no hash in the session", vectorPassword, "", both, false},
		{"SHA-1 of Django 3.2", vectorPassword, "3c592924dcebc03aa395f8810f9b46db987a7d8e", both, false},
		{"no key", vectorPassword, vectorHash, nil, false},
	} {
		if got := test.ring.authHash(test.password, test.hash); got != test.want {
			t.Errorf("%s: authHash = %v, want %v", test.name, got, test.want)
		}
	}
}

func BenchmarkUnsignAndDecode(b *testing.B) {
	r := ringOf(b, DeriveKeys(vectorSecret).SessionKey)
	b.ReportAllocs()
	for b.Loop() {
		payload, _, err := r.unsign(vectorDBLogin, time.Now(), 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := decodeLogin(payload); err != nil {
			b.Fatal(err)
		}
	}
}
