package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
)

// Keys of one run: RSA keys take a while to make.
var (
	rsaKey, otherRSA = onceKey(2048), onceKey(2048)
	p256, p384, p521 = onceEC(elliptic.P256()), onceEC(elliptic.P384()), onceEC(elliptic.P521())
	edKey            = sync.OnceValue(func() crypto.Signer {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return must(private, err)
	})
)

func onceKey(bits int) func() crypto.Signer {
	return sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, bits)) })
}

func onceEC(curve elliptic.Curve) func() crypto.Signer {
	return sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(curve, rand.Reader)) })
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// keyOf is the private key for an algorithm.
func keyOf(alg string) any {
	switch {
	case strings.HasPrefix(alg, "HS"):
		return []byte(testSecret)
	case alg == "ES256":
		return p256()
	case alg == "ES384":
		return p384()
	case alg == "ES512":
		return p521()
	case strings.HasPrefix(alg, "Ed"):
		return edKey()
	}
	return rsaKey()
}

// signAs makes a token with a header of its own.
func signAs(t testing.TB, alg string, private any, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"sub": "42", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), all)
	token.Header["alg"] = alg
	for name, value := range header {
		token.Header[name] = value
	}
	signed, err := token.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func publicPEM(t testing.TB, keys ...crypto.Signer) string {
	t.Helper()
	var b strings.Builder
	for _, k := range keys {
		der, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		if err := pem.Encode(&b, &pem.Block{Type: "PUBLIC KEY", Bytes: der}); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func privatePEM(t testing.TB, k crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func writeFile(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// jwkOf writes the public half of a key as a JWK, with more members laid over it.
func jwkOf(t testing.TB, k crypto.Signer, more map[string]any) map[string]any {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString
	var j map[string]any
	switch p := k.Public().(type) {
	case *rsa.PublicKey:
		j = map[string]any{"kty": "RSA", "n": text(p.N.Bytes()), "e": text(big.NewInt(int64(p.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := p.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := (len(point) - 1) / 2
		j = map[string]any{"kty": "EC", "crv": p.Curve.Params().Name, "x": text(point[1 : 1+half]), "y": text(point[1+half:])}
	case ed25519.PublicKey:
		j = map[string]any{"kty": "OKP", "crv": "Ed25519", "x": text(p)}
	}
	for name, value := range more {
		j[name] = value
	}
	return j
}

func jwks(t testing.TB, keys ...map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// reasonOf is the reason of a refusal; "" if it was accepted.
func reasonOf(t testing.TB, v *Verifier, token string) string {
	t.Helper()
	_, err := v.await(t.Context(), token)
	if err == nil {
		return ""
	}
	var refused *authn.Refused
	if !errors.As(err, &refused) {
		return "(" + err.Error() + ")"
	}
	return refused.Reason
}

// TestEveryAlgorithmConforms runs the suite with each algorithm and each place that a key may stand in.
func TestEveryAlgorithmConforms(t *testing.T) {
	for _, alg := range algorithms {
		if strings.HasPrefix(alg, "HS") {
			continue // TestConformance
		}
		private := keyOf(alg).(crypto.Signer)
		for place, o := range map[string]Options{
			"public_key": {PublicKey: publicPEM(t, private)},
			"jwks":       {JWKS: writeFile(t, "jwks.json", jwks(t, jwkOf(t, private, map[string]any{"kid": "k1", "use": "sig"})))},
		} {
			t.Run(alg+" "+place, func(t *testing.T) {
				all := options()
				all.Secret, all.PublicKey, all.JWKS, all.Algorithms = "", o.PublicKey, o.JWKS, []string{alg}
				kid := map[string]any{"kid": "k1"}
				good := signAs(t, alg, private, kid, nil)
				other := otherRSA()
				if alg[:2] != "RS" && alg[:2] != "PS" {
					other = map[string]crypto.Signer{
						"ES256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), "ES384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
						"ES512": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), "EdDSA": ed25519.NewKeyFromSeed(make([]byte, 32)), "Ed25519": ed25519.NewKeyFromSeed(make([]byte, 32)),
					}[alg]
				}
				authntest.Run(t, func(t *testing.T) authntest.Harness {
					return authntest.Harness{
						Verifier: verifier(t, all),
						Good:     []authntest.Good{{Credential: authntest.WithBearer(good), ID: "42"}},
						Bad: map[string]authn.Credential{
							"another key":                authntest.WithBearer(signAs(t, alg, other, kid, nil)),
							"expired":                    authntest.WithBearer(signAs(t, alg, private, kid, jwt.MapClaims{"exp": 1})),
							"an unheard-of crit":         authntest.WithBearer(signAs(t, alg, private, map[string]any{"crit": []string{"exp"}}, nil)),
							"the public key as a secret": authntest.WithBearer(signAs(t, "HS256", []byte(publicPEM(t, private)), kid, nil)),
							"not signed":                 authntest.WithBearer(sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil)),
						},
						Slow:  alg == "ES384" || alg == "ES512", // Go has no assembly for these curves
						Takes: func(c authn.Credential) bool { return strings.HasPrefix(c.Value, "eyJhbGciOi") },
					}
				})
			})
		}
	}
}

// TestTheKeyDecidesTheAlgorithm tries every algorithm with every key's own signature, and HMAC with everything public about it.
func TestTheKeyDecidesTheAlgorithm(t *testing.T) {
	private := rsaKey()
	text := publicPEM(t, private)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.PublicKey = text // beside the secret
	o.JWKS = writeFile(t, "jwks.json", jwks(t, jwkOf(t, p256(), map[string]any{"kid": "ec"}), jwkOf(t, otherRSA(), map[string]any{"kid": "ps", "alg": "PS256"})))
	v := verifier(t, o)
	modulus := private.Public().(*rsa.PublicKey).N.Bytes()
	ec := map[string]any{"kid": "ec"}
	ps := map[string]any{"kid": "ps"}
	for name, tt := range map[string]struct{ token, reason string }{
		"HS256 with the secret":            {signAs(t, "HS256", []byte(testSecret), nil, nil), ""},
		"HS256 with any kid":               {signAs(t, "HS256", []byte(testSecret), ec, nil), ""},
		"RS256 with the RSA key":           {signAs(t, "RS256", private, nil, nil), ""},
		"PS384 with the RSA key":           {signAs(t, "PS384", private, nil, nil), ""},
		"ES256 with its kid":               {signAs(t, "ES256", p256(), ec, nil), ""},
		"ES256 without kid":                {signAs(t, "ES256", p256(), nil, nil), ""},
		"PS256 pinned":                     {signAs(t, "PS256", otherRSA(), ps, nil), ""},
		"RS256 of a key pinned to PS256":   {signAs(t, "RS256", otherRSA(), ps, nil), "bad_signature"},
		"HS256 with the PEM":               {signAs(t, "HS256", []byte(text), nil, nil), "bad_signature"},
		"HS256 with the trimmed PEM":       {signAs(t, "HS256", []byte(strings.TrimSpace(text)), nil, nil), "bad_signature"},
		"HS256 with the DER":               {signAs(t, "HS256", der, nil, nil), "bad_signature"},
		"HS256 with the modulus":           {signAs(t, "HS256", modulus, nil, nil), "bad_signature"},
		"HS256 with nothing":               {signAs(t, "HS256", []byte{}, nil, nil), "bad_signature"},
		"HS256 with nothing for an EC kid": {signAs(t, "HS256", []byte{}, ec, nil), "bad_signature"},
		"ES384 where no key is on P-384":   {signAs(t, "ES384", p384(), ec, nil), "unknown_key"},
		"ES256 with an unknown kid":        {signAs(t, "ES256", p256(), map[string]any{"kid": "gone"}, nil), "unknown_key"},
		"kid is a number":                  {signAs(t, "ES256", p256(), map[string]any{"kid": 1}, nil), "bad_header"},
		"crit":                             {signAs(t, "HS256", []byte(testSecret), map[string]any{"crit": []string{"b64"}, "b64": false}, nil), "bad_header"},
		"crit is empty":                    {signAs(t, "HS256", []byte(testSecret), map[string]any{"crit": []string{}}, nil), "bad_header"},
		"alg in small letters":             {retype(signAs(t, "HS256", []byte(testSecret), nil, nil), `{"alg":"hs256"}`), "bad_algorithm"},
		"None":                             {retype(signAs(t, "HS256", []byte(testSecret), nil, nil), `{"alg":"None"}`), "bad_algorithm"},
		"two algs in two spellings":        {retype(signAs(t, "HS256", []byte(testSecret), nil, nil), `{"alg":"none","ALG":"HS256"}`), "bad_algorithm"},
		"alg is a list":                    {retype(signAs(t, "HS256", []byte(testSecret), nil, nil), `{"alg":["HS256"]}`), "bad_algorithm"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := reasonOf(t, v, tt.token); got != tt.reason {
				t.Errorf("Verify = %q, want %q", got, tt.reason)
			}
		})
	}
}

// retype puts another header before a token's rest.
func retype(token, header string) string {
	_, rest, _ := strings.Cut(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + rest
}

func TestAlgorithmsMayBeNarrowed(t *testing.T) {
	o := options()
	o.Secret, o.PublicKey, o.Algorithms = "", publicPEM(t, rsaKey()), []string{"PS256"}
	v := verifier(t, o)
	if got := reasonOf(t, v, signAs(t, "PS256", rsaKey(), nil, nil)); got != "" {
		t.Errorf("PS256: %s", got)
	}
	for _, alg := range []string{"RS256", "PS512", "HS256"} {
		private := any(rsaKey())
		if alg == "HS256" {
			private = []byte(testSecret)
		}
		if got := reasonOf(t, v, signAs(t, alg, private, nil, nil)); got != "bad_algorithm" {
			t.Errorf("%s = %q, want bad_algorithm", alg, got)
		}
	}
}

func TestPublicKeysMayStandInAFile(t *testing.T) {
	cert := certificate(t, p384())
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(otherRSA().Public().(*rsa.PublicKey))}))
	path := writeFile(t, "keys.pem", "The keys of the shop.\n"+publicPEM(t, rsaKey(), edKey())+cert+pkcs1)
	o := options()
	o.Secret, o.PublicKey, o.BaseDir = "", filepath.Base(path), filepath.Dir(path)
	v := verifier(t, o)
	for alg, private := range map[string]crypto.Signer{"RS256": rsaKey(), "EdDSA": edKey(), "ES384": p384(), "RS512": otherRSA()} {
		if got := reasonOf(t, v, signAs(t, alg, private, nil, nil)); got != "" {
			t.Errorf("%s: %s", alg, got)
		}
	}
}

func certificate(t testing.TB, k crypto.Signer) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokens"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestKeysThatMayNotBeTrusted(t *testing.T) {
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	for name, tt := range map[string]struct{ text, want string }{
		"RSA of 1024 bits": {publicPEM(t, small), "1024 bits; want 2048"},
		"ECDSA on P-224":   {publicPEM(t, p224), "P-224; want P-256"},
		"a private key":    {privatePEM(t, edKey()), "a private key, which belongs to who makes the tokens"},
		"something else":   {"-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----\n", "want PUBLIC KEY"},
		"damaged":          {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "does not decode"},
		"cut off":          {"-----BEGIN PUBLIC KEY-----\nAAAA\n", "no PEM in it"},
		"too many":         {strings.Repeat(publicPEM(t, edKey()), maxTries+1), "more than 16"},
		"no file":          {"nowhere.pem", "no such file"},
		"no PEM":           {writeFile(t, "x", "hello"), "no PEM in it"},
		"a huge file":      {writeFile(t, "x", strings.Repeat("x", maxFile+1)), "is longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.PublicKey = tt.text
			if err := o.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "authn.jwt.public_key: ") {
				t.Errorf("Validate = %v, want %q of public_key", err, tt.want)
			}
		})
	}
}

func TestPrivateKeys(t *testing.T) {
	sec1, err := x509.MarshalECPrivateKey(p256().(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	for name, tt := range map[string]struct {
		text string
		want crypto.Signer
	}{
		"PKCS 8, RSA":     {privatePEM(t, rsaKey()), rsaKey()},
		"PKCS 8, Ed25519": {privatePEM(t, edKey()), edKey()},
		"PKCS 1":          {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey().(*rsa.PrivateKey))), rsaKey()},
		"SEC 1":           {block("EC PARAMETERS", []byte{6, 1, 1}) + block("EC PRIVATE KEY", sec1), p256()},
	} {
		got, err := ReadPrivate(writeFile(t, "key.pem", tt.text))
		if err != nil || !got.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(tt.want.Public()) {
			t.Errorf("%s: ReadPrivate = %v", name, err)
		}
	}
	for want, text := range map[string]string{
		"decrypt it with": block("ENCRYPTED PRIVATE KEY", []byte{1}),
		"does not decode": block("PRIVATE KEY", []byte{1}),
		"no PEM in it":    "hello",
		"PUBLIC KEY":      publicPEM(t, edKey()),
	} {
		if _, err := ReadPrivate(writeFile(t, "key.pem", text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ReadPrivate = %v, want %q", err, want)
		}
	}
}

// TestMakeWithPrivateKeys makes tokens with each type of key; kid and alg are those of the key set.
func TestMakeWithPrivateKeys(t *testing.T) {
	o := options()
	o.Secret, o.PublicKey = "", publicPEM(t, rsaKey(), p256())
	o.JWKS = writeFile(t, "jwks.json", jwks(t, jwkOf(t, edKey(), map[string]any{"kid": "ed-1", "alg": "Ed25519"}), jwkOf(t, p521(), nil)))
	v := verifier(t, o)
	for _, tt := range []struct {
		private crypto.Signer
		alg     string
		want    []string
	}{
		{rsaKey(), "", []string{`"alg":"RS256"`}},
		{rsaKey(), "PS512", []string{`"alg":"PS512"`}},
		{p256(), "", []string{`"alg":"ES256"`}},
		{p521(), "", []string{`"alg":"ES512"`}},
		{edKey(), "", []string{`"alg":"Ed25519"`, `"kid":"ed-1"`}},
	} {
		token, err := v.Make(t.Context(), Claims{User: "42", Lifetime: time.Minute, Key: tt.private, Algorithm: tt.alg})
		if err != nil {
			t.Errorf("Make %v: %v", tt.want, err)
			continue
		}
		in := v.Inspect(t.Context(), token)
		for _, want := range tt.want {
			if in.Err != nil || !strings.Contains(string(in.Header), want) {
				t.Errorf("Inspect = %s, %v, want %s", in.Header, in.Err, want)
			}
		}
	}
	for want, c := range map[string]Claims{
		"has no secret":    {},
		"none of the keys": {Key: otherRSA()},
		"not for":          {Key: p256(), Algorithm: "RS256"},
		`not for "HS256"`:  {Key: rsaKey(), Algorithm: "HS256"},
		`not for "nope"`:   {Key: rsaKey(), Algorithm: "nope"},
	} {
		c.User, c.Lifetime = "42", time.Minute
		if _, err := v.Make(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Make = %v, want %q", err, want)
		}
	}
}

// TestSeveralIssuers: each takes its own tokens, and only by its own keys, also where two have a key of the same name.
func TestSeveralIssuers(t *testing.T) {
	set := func(k crypto.Signer) string {
		return writeFile(t, "jwks.json", jwks(t, jwkOf(t, k, map[string]any{"kid": "1"})))
	}
	shop, crm := options(), options()
	shop.Secret, shop.JWKS, shop.Issuer, shop.Shared = "", set(p256()), "https://shop", true
	crm.Secret, crm.JWKS, crm.Issuer, crm.UserPrefix = "", set(edKey()), "https://crm", "crm-"
	kid := map[string]any{"kid": "1"}
	a, b := verifier(t, shop), verifier(t, crm)
	ofShop := signAs(t, "ES256", p256(), kid, jwt.MapClaims{"iss": "https://shop"})
	ofCRM := signAs(t, "EdDSA", edKey(), kid, jwt.MapClaims{"iss": "https://crm"})
	forged := signAs(t, "EdDSA", edKey(), kid, jwt.MapClaims{"iss": "https://shop"})
	for _, tt := range []struct {
		name, token string
		v           *Verifier
		want        string
	}{
		{"shop's own", ofShop, a, ""},
		{"crm's own", ofCRM, b, ""},
		{"shop leaves crm's to crm", ofCRM, a, "(" + authn.ErrNotMine.Error() + ")"},
		{"the last refuses what is nobody's", ofShop, b, "bad_issuer"},
		{"crm's key does not sign for shop", forged, a, "unknown_key"},
		{"no iss is nobody's", signAs(t, "ES256", p256(), kid, nil), a, "(" + authn.ErrNotMine.Error() + ")"},
	} {
		if got := reasonOf(t, tt.v, tt.token); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	nameless := options()
	nameless.Shared = true
	if err := nameless.Validate(); err == nil || !strings.Contains(err.Error(), "authn.jwt.issuer is empty") {
		t.Errorf("Validate = %v, want that it needs an issuer", err)
	}
}

func TestOptionsOfKeys(t *testing.T) {
	rsaText := publicPEM(t, rsaKey())
	tests := map[string]struct {
		change func(*Options)
		want   string
	}{
		"no key at all":         {func(o *Options) { o.Secret = "" }, "secret is empty, and so are public_key and jwks"},
		"a PEM as secret":       {func(o *Options) { o.Secret = rsaText }, "secret holds a PEM key"},
		"no such algorithm":     {func(o *Options) { o.Algorithms = []string{"none"} }, `"none", which is none`},
		"an algorithm twice":    {func(o *Options) { o.Algorithms = []string{"HS256", "HS256"} }, "twice"},
		"HMAC without a secret": {func(o *Options) { o.Secret, o.PublicKey, o.Algorithms = "", rsaText, []string{"RS256", "HS256"} }, "needs secret"},
		"a type without a key":  {func(o *Options) { o.Algorithms = []string{"RS256"} }, "no key is of its type"},
		"plain http":            {func(o *Options) { o.JWKS = "http://id.example.com/jwks" }, "plain http"},
		"a password":            {func(o *Options) { o.JWKS = "https://u:p@id.example.com/jwks" }, "holds a user or password"},
		"no host":               {func(o *Options) { o.JWKS = "https:///jwks" }, "is no address"},
		"another scheme":        {func(o *Options) { o.JWKS = "ftp://id.example.com/jwks" }, "is no address"},
		"no such file":          {func(o *Options) { o.JWKS = "nowhere.json" }, "no such file"},
		"no set":                {func(o *Options) { o.JWKS = writeFile(t, "x", "{}") }, "no JSON Web Key Set"},
		"refresh too often":     {func(o *Options) { o.JWKS, o.JWKSRefresh = "https://id.example.com/jwks", time.Second }, "jwks_refresh"},
		"keep too short":        {func(o *Options) { o.JWKS, o.JWKSKeep = "https://id.example.com/jwks", time.Minute }, "jwks_keep"},
		"no such authority":     {func(o *Options) { o.JWKS, o.JWKSCA = "https://id.example.com/jwks", "nowhere.pem" }, "jwks_ca: "},
		"no authority":          {func(o *Options) { o.JWKS, o.JWKSCA = "https://id.example.com/jwks", writeFile(t, "x", "x") }, "no certificate"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := options()
			tt.change(&o)
			if err := o.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "authn.jwt.") {
				t.Errorf("Validate = %v, want an error of authn.jwt with %q", err, tt.want)
			}
		})
	}
	for _, good := range []func(*Options){
		func(o *Options) { o.JWKS = "http://127.0.0.1:8000/jwks" },
		func(o *Options) { o.JWKS = "http://localhost/jwks" },
		func(o *Options) { o.JWKS, o.JWKSInsecure = "http://keycloak:8080/jwks", true },
		func(o *Options) {
			o.JWKS, o.JWKSKeep, o.Algorithms = "https://id.example.com/jwks?a=b", 0, []string{"EdDSA", "HS256"}
		},
	} {
		o := options()
		good(&o)
		if err := o.Validate(); err != nil {
			t.Errorf("Validate = %v", err)
		}
	}
}

// TestAReloadReplacesKeys: an open login by a key that is gone ends in the next sweep, one by a key that stays does not.
func TestAReloadReplacesKeys(t *testing.T) {
	path := writeFile(t, "keys.pem", publicPEM(t, rsaKey(), edKey()))
	o := options()
	o.PublicKey = path
	v := verifier(t, o)
	var ids []*authn.Identity
	var tokens []string
	for _, alg := range []string{"RS256", "EdDSA", "HS256"} {
		tokens = append(tokens, signAs(t, alg, keyOf(alg), nil, nil))
		id, err := v.Verify(t.Context(), authntest.WithBearer(tokens[len(tokens)-1]))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	reload := func(o Options, text string) error {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		commit, err := v.Prepare(t.Context(), o)
		if err == nil {
			commit()
		}
		return err
	}
	gone := func() (reasons []string) {
		for i, a := range v.Revalidate(t.Context(), ids) {
			reason := ""
			if refused := (*authn.Refused)(nil); errors.As(a.Err, &refused) {
				reason = refused.Reason
			}
			if got := reasonOf(t, v, tokens[i]); (got == "") != (reason == "") {
				t.Errorf("token %d: Verify = %q, Revalidate = %q", i, got, reason)
			}
			reasons = append(reasons, reason)
		}
		return reasons
	}
	if got := gone(); !slices.Equal(got, []string{"", "", ""}) {
		t.Errorf("before the reload: %q", got)
	}
	if err := reload(o, "damaged"); err == nil || !strings.Contains(err.Error(), "public_key") {
		t.Errorf("Prepare with a damaged file = %v", err)
	}
	if got := gone(); !slices.Equal(got, []string{"", "", ""}) {
		t.Errorf("after a bad reload: %q", got)
	}
	o.Secret = "another-secret-0123456789abcdefgh"
	if err := reload(o, publicPEM(t, edKey())); err != nil {
		t.Fatal(err)
	}
	if got := gone(); !slices.Equal(got, []string{"key_gone", "", "key_gone"}) {
		t.Errorf("after the reload: %q, want that the logins by RSA and the secret are gone", got)
	}
}

// BenchmarkVerify is what a login costs that is not in the chain's cache.
func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"HS256", "RS256", "ES256", "ES512", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			o := options()
			if private, ok := keyOf(alg).(crypto.Signer); ok {
				o.Secret, o.JWKS = "", writeFile(b, "jwks.json", jwks(b, jwkOf(b, private, map[string]any{"kid": "1"})))
			}
			v := verifier(b, o)
			c := authntest.WithBearer(signAs(b, alg, keyOf(alg), map[string]any{"kid": "1"}, nil))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
