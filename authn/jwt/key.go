package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatecast/gatecast/authn"
)

// algorithms are the values of alg that we verify: RFC 7518 §3.1 without none, RFC 8037, and RFC 9864's name for the latter.
var algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
}

func init() {
	// The library knows only the older name.
	jwt.RegisterSigningMethod("Ed25519", func() jwt.SigningMethod { return jwt.SigningMethodEdDSA })
}

// Bounds of RSA: below, keys are breakable; above, a verification takes milliseconds.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// key verifies signatures. It is not changed after it was made.
type key struct {
	id     string       // kid; "" of a key from config, which fits whatever a token says
	alg    string       // the only algorithm it is for; "" = all that fit its type
	public any          // []byte (a secret), *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
	mark   authn.Secret // names the key in Identity.Ref
}

// markSize is small, for every login keeps a mark, and enough to tell the keys of one node apart.
const markSize = 8

// newKey checks that public may be trusted at all.
func newKey(id, alg string, public any) (key, error) {
	k := key{id: id, alg: alg, public: public}
	var kind string
	var der []byte
	switch p := public.(type) {
	case []byte:
		kind, der = "secret", p
	case *rsa.PublicKey:
		if n := p.N.BitLen(); n < minRSABits || n > maxRSABits {
			return k, fmt.Errorf("an RSA key of %d bits; want %d to %d", n, minRSABits, maxRSABits)
		}
		if p.E < 3 || p.E&1 == 0 || p.N.Bit(0) == 0 {
			return k, errors.New("an RSA key with an even number in it, which is none")
		}
	case *ecdsa.PublicKey:
		if curveAlgorithm(p.Curve) == "" {
			return k, fmt.Errorf("an ECDSA key on %s; want P-256, P-384 or P-521", p.Curve.Params().Name)
		}
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return k, fmt.Errorf("an Ed25519 key of %d bytes; it has %d", len(p), ed25519.PublicKeySize)
		}
	default:
		return k, errors.New("a key that is neither RSA, ECDSA nor Ed25519")
	}
	if kind == "" {
		var err error
		if der, err = x509.MarshalPKIXPublicKey(public); err != nil {
			return k, fmt.Errorf("a key that cannot be written down: %w", err)
		}
	}
	sum := sha256.Sum256(append([]byte("gatecast.jwt."+kind+"\x00"), der...))
	k.mark = authn.Secret(sum[:markSize])
	return k, nil
}

// fits tells whether a key of this type is for alg, which is one of algorithms.
func fits(alg string, public any) bool {
	switch k := public.(type) {
	case []byte:
		return strings.HasPrefix(alg, "HS")
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		return alg == curveAlgorithm(k.Curve)
	case ed25519.PublicKey:
		return strings.HasPrefix(alg, "Ed")
	}
	return false
}

func curveAlgorithm(c elliptic.Curve) string {
	switch c {
	case elliptic.P256():
		return "ES256"
	case elliptic.P384():
		return "ES384"
	case elliptic.P521():
		return "ES512"
	}
	return ""
}

// maxTries bounds the signatures that one token may cost.
const maxTries = 16

// candidates are the keys that may have signed a token: those of its kid, else those that have none. A token without kid may be
// of any key.
func candidates(keys []key, alg, kid string) (found []*key, named bool) {
	var unnamed []*key
	for i := range keys {
		k := &keys[i]
		switch {
		case !fits(alg, k.public) || k.alg != "" && k.alg != alg:
		case kid != "" && k.id == kid:
			found, named = append(found, k), true
		case kid == "" || k.id == "":
			unnamed = append(unnamed, k)
		}
	}
	if !named {
		found = unnamed
	}
	return found[:min(len(found), maxTries)], named
}

func hasMark(keys []key, mark authn.Secret) bool {
	return slices.ContainsFunc(keys, func(k key) bool { return k.mark == mark })
}
