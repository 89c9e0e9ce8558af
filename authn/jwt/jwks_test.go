package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// Vectors of RFC 7517 appendix A.1 and RFC 8037 appendix A.2.
const rfcSet = `{"keys":[
{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},
{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"},
{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`

func TestParseSet(t *testing.T) {
	set, err := parseSet([]byte(rfcSet))
	if err != nil {
		t.Fatal(err)
	}
	if len(set.keys) != 2 || set.keys[0].id != "2011-04-29" || set.keys[0].alg != "RS256" || set.keys[1].id != "" {
		t.Errorf("parseSet = %+v", set.keys)
	}
	if len(set.skipped) != 1 || !strings.Contains(set.skipped[0], `key 1: its use is not "sig"`) {
		t.Errorf("skipped = %q", set.skipped)
	}
	// RFC 8037 appendix A.4: a signature by the key of A.2.
	signed, signature, _ := cutLast("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !ed25519.Verify(set.keys[1].public.(ed25519.PublicKey), []byte(signed), raw) {
		t.Errorf("the RFC's signature is not good for the RFC's key: %v", err)
	}
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	return s[:i], s[i+1:], i >= 0
}

func TestKeysOfASet(t *testing.T) {
	rsaJWK := func(more map[string]any) map[string]any { return jwkOf(t, rsaKey(), more) }
	ecJWK := func(more map[string]any) map[string]any { return jwkOf(t, p256(), more) }
	short := base64.RawURLEncoding.EncodeToString(must(rsa.GenerateKey(rand.Reader, 1024)).N.Bytes())
	for name, tt := range map[string]struct {
		jwk  map[string]any
		want string // "" = usable
	}{
		"RSA":                    {rsaJWK(nil), ""},
		"with unknown members":   {rsaJWK(map[string]any{"x5c": []int{1}, "x5t": "x", "exp": 1}), ""},
		"for signatures":         {rsaJWK(map[string]any{"use": "sig", "key_ops": []string{"verify"}}), ""},
		"PS256 only":             {rsaJWK(map[string]any{"alg": "PS256"}), ""},
		"EC":                     {ecJWK(nil), ""},
		"EC on P-384":            {jwkOf(t, p384(), nil), ""},
		"EC on P-521":            {jwkOf(t, p521(), nil), ""},
		"Ed25519":                {jwkOf(t, edKey(), nil), ""},
		"padded":                 {rsaJWK(map[string]any{"e": "AQAB=="}), ""},
		"for encryption":         {rsaJWK(map[string]any{"use": "enc"}), "its use"},
		"for signing only":       {rsaJWK(map[string]any{"key_ops": []string{"sign"}}), "key_ops"},
		"alg of encryption":      {rsaJWK(map[string]any{"alg": "RSA-OAEP"}), "its alg"},
		"alg of another type":    {rsaJWK(map[string]any{"alg": "HS256"}), "its alg"},
		"alg of another curve":   {ecJWK(map[string]any{"alg": "ES384"}), "its alg"},
		"alg none":               {ecJWK(map[string]any{"alg": "none"}), "its alg"},
		"a shared secret":        {map[string]any{"kty": "oct", "k": "c2VjcmV0"}, "shared secret"},
		"a private key":          {rsaJWK(map[string]any{"d": "AQAB"}), "private half"},
		"RSA of 1024 bits":       {rsaJWK(map[string]any{"n": short}), "1024 bits"},
		"RSA of 16384 bits":      {rsaJWK(map[string]any{"n": base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 2048)))}), "at most 1024"},
		"RSA without n":          {rsaJWK(map[string]any{"n": nil}), "its n is missing"},
		"RSA without e":          {rsaJWK(map[string]any{"e": ""}), "its e is missing"},
		"RSA with e = 1":         {rsaJWK(map[string]any{"e": "AQ"}), "even number"},
		"RSA with e = 0":         {rsaJWK(map[string]any{"e": "AA"}), "even number"},
		"RSA with an even e":     {rsaJWK(map[string]any{"e": "AQAC"}), "even number"},
		"RSA with a large e":     {rsaJWK(map[string]any{"e": "_____w"}), "too large"},
		"RSA with a huge e":      {rsaJWK(map[string]any{"e": "AQAAAAAB"}), "at most 4"},
		"not base64url":          {rsaJWK(map[string]any{"n": "+/+/"}), "base64url"},
		"EC beside the curve":    {ecJWK(map[string]any{"x": "AQAB"}), "not on the curve"},
		"EC at infinity":         {ecJWK(map[string]any{"x": "AA", "y": "AA"}), "not on the curve"},
		"EC of another curve":    {ecJWK(map[string]any{"crv": "P-384"}), "not on the curve"},
		"EC with a long x":       {ecJWK(map[string]any{"x": base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("x", 33)))}), "at most 32"},
		"secp256k1":              {ecJWK(map[string]any{"crv": "secp256k1"}), "its crv"},
		"X25519":                 {jwkOf(t, edKey(), map[string]any{"crv": "X25519"}), "its crv"},
		"short Ed25519":          {jwkOf(t, edKey(), map[string]any{"x": "AQAB"}), "3 bytes"},
		"no kty":                 {map[string]any{}, "its kty"},
		"n is a number":          {rsaJWK(map[string]any{"n": 7}), "does not decode"},
		"a kid that is a number": {rsaJWK(map[string]any{"kid": 7}), "does not decode"},
		"a long kid":             {rsaJWK(map[string]any{"kid": strings.Repeat("x", 257)}), "kid is longer"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := json.Marshal(tt.jwk)
			if err != nil {
				t.Fatal(err)
			}
			k, err := parseKey(raw)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("parseKey = %v, want %q", err, tt.want)
			}
			if err == nil && k.mark == "" {
				t.Error("the key has no mark")
			}
		})
	}
}

// TestShortCoordinates: some encoders drop leading zeros, which RFC 7518 §6.2.1.2 forbids and which changes nothing.
func TestShortCoordinates(t *testing.T) {
	for range 10_000 { // one in 128 has such a coordinate
		private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		j := jwkOf(t, private, nil)
		x := must(base64.RawURLEncoding.DecodeString(j["x"].(string)))
		if x[0] != 0 {
			continue
		}
		j["x"] = base64.RawURLEncoding.EncodeToString(x[1:])
		raw, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		if k, err := parseKey(raw); err != nil || !private.PublicKey.Equal(k.public) {
			t.Errorf("parseKey = %+v, %v", k, err)
		}
		return
	}
	t.Error("no key with a leading zero")
}

func TestSetsThatAreNone(t *testing.T) {
	one := jwkOf(t, edKey(), nil)
	many := make([]map[string]any, maxKeys+1)
	for i := range many {
		many[i] = one
	}
	for text, want := range map[string]string{
		"": "no JSON Web Key Set", "null": "no JSON Web Key Set", "[]": "no JSON Web Key Set", `{"keys":{}}`: "no JSON Web Key Set", `{"keys":null}`: "no JSON Web Key Set",
		`{"keys":[]}`: "the set is empty", `{"keys":[1,"x",null]}`: "no usable key", jwks(t, many...): "65 keys; at most 64",
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`: "shared secret",
	} {
		if set, err := parseSet([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseSet(%.60q) = %v, %v, want %q", text, set, err, want)
		}
	}
	if set, err := parseSet([]byte(jwks(t, many[:maxKeys]...))); err != nil || len(set.keys) != maxKeys {
		t.Errorf("parseSet of %d keys = %v", maxKeys, err)
	}
	found, _ := candidates(must(parseSet([]byte(jwks(t, many[:maxKeys]...)))).keys, "EdDSA", "")
	if len(found) != maxTries {
		t.Errorf("a token without kid is tried with %d keys, want %d", len(found), maxTries)
	}
}

// FuzzJWKS: no document makes a key that may not be trusted.
func FuzzJWKS(f *testing.F) {
	f.Add(rfcSet)
	f.Add(`{"keys":[{"kty":"EC","crv":"P-521","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`)
	f.Add(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
	f.Add(`{"keys":[null,{},[],"x",1]}`)
	f.Fuzz(func(t *testing.T, text string) {
		set, err := parseSet([]byte(text))
		if (set == nil) == (err == nil) {
			t.Fatalf("parseSet(%q) = %v, %v", text, set, err)
		}
		if err != nil {
			return
		}
		if len(set.keys) == 0 || len(set.keys) > maxKeys {
			t.Fatalf("parseSet(%q) has %d keys", text, len(set.keys))
		}
		for _, k := range set.keys {
			usable := 0
			for _, alg := range algorithms {
				if fits(alg, k.public) && (k.alg == "" || k.alg == alg) {
					usable++
				}
			}
			if _, secret := k.public.([]byte); secret || usable == 0 || len(k.mark) != markSize {
				t.Fatalf("parseSet(%q) has the key %+v", text, k)
			}
			if p, ok := k.public.(*rsa.PublicKey); ok && (p.N.BitLen() < minRSABits || p.N.BitLen() > maxRSABits || p.E < 3) {
				t.Fatalf("parseSet(%q) has an RSA key of %d bits with e = %d", text, p.N.BitLen(), p.E)
			}
		}
	})
}

// FuzzPEM: the same for public_key.
func FuzzPEM(f *testing.F) {
	f.Add(publicPEM(f, edKey()))
	f.Add(publicPEM(f, p256()) + certificate(f, p384()))
	f.Add("-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := readPublic([]byte(text))
		if (len(keys) == 0) == (err == nil) || len(keys) > maxTries {
			t.Fatalf("readPublic(%q) = %d keys, %v", text, len(keys), err)
		}
		for _, k := range keys {
			if k.id != "" || k.alg != "" || len(k.mark) != markSize {
				t.Fatalf("readPublic(%q) has the key %+v", text, k)
			}
		}
	})
}
