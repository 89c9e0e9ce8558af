package token

import (
	"crypto/sha3"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"strings"

	"github.com/gatecast/gatecast/authn/django"
)

// kind is how one package stores its tokens.
type kind interface {
	// table is where they stand.
	table() *django.TokenTable
	// parse tells whether a token has this kind's shape, by what to look for it, and what its row's value must be.
	parse(token string) (lookup, value string, ok bool)
}

// drf is rest_framework.authtoken: the token itself is the primary key, 40 hex characters (Token.generate_key: secrets.token_hex(20)).
type drf struct{ t django.TokenTable }

func newDRF(o *Options) *drf {
	return &drf{django.TokenTable{Name: o.DRFTable, Lookup: "key", Value: "key", User: "user_id",
		Hint: `add "rest_framework.authtoken" to the site's INSTALLED_APPS and run manage.py migrate, or set authn.token.drf_table right, or take "drf" out of authn.token.kinds`}}
}

func (k *drf) table() *django.TokenTable { return &k.t }

func (k *drf) parse(token string) (lookup, value string, ok bool) {
	if !isHex(token, 40) {
		return "", "", false
	}
	return token, token, true
}

// knox is django-rest-knox: the row has a digest of the token, and its first characters to be found by (knox/auth.py, knox/crypto.py).
//
//	knox 5: token_key = token[:15], digest = hex(H(token))
//	knox 4: token_key = token[:8],  digest = hex(H(unhexlify(token)))
type knox struct {
	t      django.TokenTable
	prefix string
	length int // hex characters behind prefix
	key    int // characters of token_key
	raw    bool
	hash   func([]byte) []byte
}

var hashes = map[string]func([]byte) []byte{
	"sha512":   func(b []byte) []byte { sum := sha512.Sum512(b); return sum[:] },
	"sha3_512": func(b []byte) []byte { sum := sha3.Sum512(b); return sum[:] },
}

func newKnox(o *Options) *knox {
	k := &knox{prefix: o.KnoxPrefix, length: o.KnoxLength, key: 15, hash: hashes[o.KnoxHash]}
	if o.KnoxVersion == 4 {
		k.key, k.raw = 8, true
	}
	k.t = django.TokenTable{Name: o.KnoxTable, Lookup: "token_key", Value: "digest", User: "user_id", Expires: "expiry",
		Hint: `add "knox" to the site's INSTALLED_APPS and run manage.py migrate, or set authn.token.knox_table to that of KNOX_TOKEN_MODEL, or take "knox" out of authn.token.kinds`}
	return k
}

func (k *knox) table() *django.TokenTable { return &k.t }

func (k *knox) parse(token string) (lookup, value string, ok bool) {
	rest, ok := strings.CutPrefix(token, k.prefix)
	if !ok || !isHex(rest, k.length) {
		return "", "", false
	}
	b := []byte(token)
	if k.raw {
		b, _ = hex.DecodeString(token) // isHex has seen it
	}
	return token[:k.key], hex.EncodeToString(k.hash(b)), true
}

// isHex tells n lower-case hex digits, which is what both packages make.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// match finds the row with the value among those with the same lookup. It compares each in constant time and exactly: some databases find text
// without regard to case.
func match(rows []django.TokenRow, value string) *django.TokenRow {
	var found *django.TokenRow
	for i := range rows {
		if subtle.ConstantTimeCompare([]byte(rows[i].Value), []byte(value)) == 1 {
			found = &rows[i]
		}
	}
	return found
}
