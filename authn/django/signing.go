package django

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"
)

// maxPayload bounds the inflated session. Only signed bodies are inflated, so this guards against the site's own mistakes.
const maxPayload = 1 << 20

var (
	errShape     = errors.New("not a signed value: want body:timestamp:signature")
	errSignature = errors.New("the signature fits none of the keys")
	errTooOld    = errors.New("signed too long ago")
	errBody      = errors.New("the signature is good but the body is not")
)

// unsign verifies what signing.dumps made (Django's django/core/signing.py, TimestampSigner and loads) and returns its serialised payload and the
// time it was signed. maxAge 0 means that age does not matter, as in the rows of engine db.
//
//	token = body ":" base62(unix seconds) ":" base64url(HMAC-SHA256(key, body ":" base62(…)))
//	body  = base64url(data), or "." base64url(zlib(data))
func (r ring) unsign(token string, now time.Time, maxAge time.Duration) (payload []byte, signed time.Time, err error) {
	return unsign(token, r.verify, now, maxAge)
}

func unsign(token string, verify func(value, signature string) bool, now time.Time, maxAge time.Duration) (payload []byte, signed time.Time, err error) {
	i := strings.LastIndexByte(token, ':')
	if i < 0 {
		return nil, time.Time{}, errShape
	}
	value, signature := token[:i], token[i+1:]
	j := strings.LastIndexByte(value, ':')
	if j < 0 {
		return nil, time.Time{}, errShape
	}
	if !verify(value, signature) {
		return nil, time.Time{}, errSignature
	}
	seconds, err := decodeBase62(value[j+1:])
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: %w", errBody, err)
	}
	signed = time.Unix(seconds, 0)
	if maxAge > 0 && now.Sub(signed) > maxAge {
		return nil, signed, errTooOld
	}
	payload, err = decodeBody(value[:j])
	if err != nil {
		return nil, signed, fmt.Errorf("%w: %w", errBody, err)
	}
	return payload, signed, nil
}

// verify compares in constant time with every key, today's first. It compares the text, as Django does, so a value has one spelling only.
func (r ring) verify(value, signature string) bool {
	var sum [sha256.Size]byte
	var want [43]byte // base64.RawURLEncoding.EncodedLen(sha256.Size)
	for _, key := range r {
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, value)
		base64.RawURLEncoding.Encode(want[:], mac.Sum(sum[:0]))
		if hmac.Equal(want[:], []byte(signature)) {
			return true
		}
	}
	return false
}

func decodeBody(body string) ([]byte, error) {
	compressed := strings.HasPrefix(body, ".")
	if compressed {
		body = body[1:]
	}
	data, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil || !compressed {
		return data, err
	}
	return inflate(data)
}

// inflaters hold zlib readers, about 40 KB each. inflate resets what it gets and puts it back, but for those that refuse a header.
var inflaters sync.Pool

func inflate(data []byte) (_ []byte, err error) {
	z, ok := inflaters.Get().(io.ReadCloser)
	if ok {
		err = z.(zlib.Resetter).Reset(bytes.NewReader(data), nil)
	} else {
		z, err = zlib.NewReader(bytes.NewReader(data))
	}
	if err != nil {
		return nil, err
	}
	defer inflaters.Put(z)
	data, err = io.ReadAll(io.LimitReader(z, maxPayload+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPayload {
		return nil, fmt.Errorf("the session inflates to more than %d bytes", maxPayload)
	}
	return data, nil
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// decodeBase62 is signing.b62_decode, refusing what does not fit a time.
func decodeBase62(s string) (int64, error) {
	digits, negative := s, false
	if strings.HasPrefix(s, "-") {
		digits, negative = s[1:], true
	}
	if digits == "" || len(digits) > 10 {
		return 0, errors.New("timestamp: want 1 to 10 base62 digits")
	}
	var n int64
	for i := range len(digits) {
		d := strings.IndexByte(base62, digits[i])
		if d < 0 {
			return 0, errors.New("timestamp: not base62")
		}
		n = n*62 + int64(d)
	}
	if n > math.MaxInt64/int64(time.Second) {
		return 0, errors.New("timestamp: too far away")
	}
	if negative {
		n = -n
	}
	return n, nil
}

// authHash tells whether got is the _auth_user_hash of a password column under one of the keys: hex(HMAC-SHA256(key, password)), AbstractBaseUser.get_session_auth_hash.
func (r ring) authHash(password, got string) bool {
	var sum [sha256.Size]byte
	var want [2 * sha256.Size]byte
	for _, key := range r {
		mac := hmac.New(sha256.New, key)
		io.WriteString(mac, password)
		hex.Encode(want[:], mac.Sum(sum[:0]))
		if hmac.Equal(want[:], []byte(got)) {
			return true
		}
	}
	return false
}
