package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// maxKeys bounds the keys of a set; Google has 3, Azure AD about 10.
const maxKeys = 64

// keySet is a JSON Web Key Set (RFC 7517 §5). It is not changed after it was made.
type keySet struct {
	keys    []key
	skipped []string // why the other keys are of no use, for people
}

// jwk is one key of a set. A symmetric key has k, a private one d.
type jwk struct {
	Kty string          `json:"kty"`
	Use string          `json:"use"`
	Ops []string        `json:"key_ops"`
	Alg string          `json:"alg"`
	Kid string          `json:"kid"`
	Crv string          `json:"crv"`
	N   string          `json:"n"`
	E   string          `json:"e"`
	X   string          `json:"x"`
	Y   string          `json:"y"`
	D   json.RawMessage `json:"d"`
}

// parseSet reads a set. Keys that are no use to us are skipped, as RFC 7517 §5 asks; a set without any other is an error.
func parseSet(text []byte) (*keySet, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &doc); err != nil || doc.Keys == nil {
		return nil, errors.New(`no JSON Web Key Set, which looks like {"keys": [...]}`)
	}
	if len(doc.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys; at most %d", len(doc.Keys), maxKeys)
	}
	set := &keySet{}
	for i, raw := range doc.Keys {
		k, err := parseKey(raw)
		if err != nil {
			set.skipped = append(set.skipped, fmt.Sprintf("key %d: %v", i+1, err))
			continue
		}
		set.keys = append(set.keys, k)
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("no usable key (%s)", orNone(strings.Join(set.skipped[:min(len(set.skipped), 4)], "; ")))
	}
	return set, nil
}

func orNone(s string) string {
	if s == "" {
		return "the set is empty"
	}
	return s
}

func parseKey(raw json.RawMessage) (key, error) {
	var j jwk
	if err := json.Unmarshal(raw, &j); err != nil {
		return key{}, errors.New("does not decode")
	}
	switch {
	case j.Use != "" && j.Use != "sig":
		return key{}, errors.New(`its use is not "sig"`)
	case len(j.Ops) > 0 && !slices.Contains(j.Ops, "verify"):
		return key{}, errors.New(`its key_ops have no "verify"`)
	case j.Kty == "oct":
		return key{}, errors.New("a shared secret, which is none in such a set; use authn.jwt.secret")
	case j.D != nil:
		return key{}, errors.New("its private half is in the set: whoever read it can make tokens; replace that key")
	case len(j.Kid) > 256:
		return key{}, errors.New("its kid is longer than 256 bytes")
	}
	public, err := j.public()
	if err != nil {
		return key{}, err
	}
	if j.Alg != "" && (!slices.Contains(algorithms, j.Alg) || !fits(j.Alg, public)) {
		return key{}, fmt.Errorf("its alg %.20q is none that it could verify", j.Alg)
	}
	return newKey(j.Kid, j.Alg, public)
}

func (j *jwk) public() (any, error) {
	switch j.Kty {
	case "RSA":
		n, err := j.bytes("n", j.N, maxRSABits/8)
		if err != nil {
			return nil, err
		}
		e, err := j.bytes("e", j.E, 4)
		if err != nil {
			return nil, err
		}
		exponent := new(big.Int).SetBytes(e).Int64()
		if exponent > 1<<31-1 {
			return nil, errors.New("its e is too large")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent)}, nil
	case "EC":
		return j.ecdsa()
	case "OKP":
		if j.Crv != "Ed25519" {
			return nil, fmt.Errorf("its crv is %.20q; want Ed25519", j.Crv)
		}
		x, err := j.bytes("x", j.X, ed25519.PublicKeySize)
		if err != nil {
			return nil, err
		}
		return ed25519.PublicKey(x), nil
	}
	return nil, fmt.Errorf("its kty is %.20q; want RSA, EC or OKP", j.Kty)
}

func (j *jwk) ecdsa() (any, error) {
	curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[j.Crv]
	if curve == nil {
		return nil, fmt.Errorf("its crv is %.20q; want P-256, P-384 or P-521", j.Crv)
	}
	size := (curve.Params().BitSize + 7) / 8
	point := make([]byte, 1+2*size) // SEC 1 §2.3.3
	point[0] = 4
	for i, c := range []struct{ name, text string }{{"x", j.X}, {"y", j.Y}} {
		b, err := j.bytes(c.name, c.text, size)
		if err != nil {
			return nil, err
		}
		copy(point[1+(i+1)*size-len(b):], b) // some leave out leading zeros
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, errors.New("its point is not on the curve")
	}
	return public, nil
}

// bytes decodes a member; leading zeros beyond limit are cut off.
func (j *jwk) bytes(name, text string, limit int) ([]byte, error) {
	if text == "" {
		return nil, fmt.Errorf("its %s is missing", name)
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, fmt.Errorf("its %s is not in base64url", name)
	}
	for len(b) > limit && b[0] == 0 {
		b = b[1:]
	}
	if len(b) > limit {
		return nil, fmt.Errorf("its %s has %d bytes; at most %d", name, len(b), limit)
	}
	return b, nil
}
