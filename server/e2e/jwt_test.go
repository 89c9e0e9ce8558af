package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signers is what makes tokens as Python projects do.
var signers = release{name: "sign", file: "python/sign.txt", min: 10, max: 14}

// startSigner starts sign.py as a project with this SIMPLE_JWT setting.
func startSigner(t testing.TB, simpleJWT map[string]any) *orders {
	t.Helper()
	setting, err := json.Marshal(simpleJWT)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(venvPython(t, signers), filepath.Join(repoRoot(), "server/e2e/python/sign.py"), string(setting))
	cmd.Env = pythonEnv()
	return startOrders(t, cmd)
}

// keyPair is a key that Python made.
type keyPair struct {
	alg, kid        string
	private, public string
	jwk             map[string]any
}

func newKeyPair(o *orders, alg, kid string) *keyPair {
	a := o.do(map[string]any{"do": "key", "alg": alg})
	k := &keyPair{alg: alg, kid: kid, private: a["private"].(string), public: a["public"].(string), jwk: a["jwk"].(map[string]any)}
	k.jwk["kid"] = kid
	return k
}

// sign makes a token with PyJWT for user 7 of the identity provider; claims are laid over the usual ones.
func (k *keyPair) sign(o *orders, claims map[string]any) string {
	all := map[string]any{"sub": "7", "iss": idpIssuer, "aud": "gatecast", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	maps.Copy(all, claims)
	return o.do(map[string]any{"do": "sign", "claims": all, "key": k.private, "alg": k.alg, "headers": map[string]any{"kid": k.kid}})["token"].(string)
}

const idpIssuer = "https://id.test/"

// identityProvider serves a key set on loopback.
type identityProvider struct {
	*httptest.Server

	mu     sync.Mutex // guards all below
	status int
	keys   []map[string]any
}

func newIdentityProvider(t testing.TB, keys ...*keyPair) *identityProvider {
	t.Helper()
	p := &identityProvider{}
	p.publish(keys...)
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *identityProvider) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status != http.StatusOK {
		http.Error(w, "no", p.status)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"keys": p.keys})
}

// publish makes these the set.
func (p *identityProvider) publish(keys ...*keyPair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.keys = http.StatusOK, []map[string]any{}
	for _, k := range keys {
		p.keys = append(p.keys, k.jwk)
	}
}

func (p *identityProvider) fail(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

// wantUser dials with a token and wants it to be that user's.
func wantUser(t testing.TB, n *node, token, user string) *socket {
	t.Helper()
	s := dial(t, n, bearer(token))
	if s.user != user {
		t.Fatalf("welcome says user %q, want %q", s.user, user)
	}
	return s
}

// wantReason dials with a token and wants 4401, and the reason in the log.
func wantReason(t testing.TB, n *node, token, reason string) {
	t.Helper()
	line := n.logs.len()
	refusedClose(t, n, "/ws", bearer(token), 4401, "unauthorized")
	n.logs.waitLine(t, line, "handshake refused", `"reason":"`+reason+`"`)
}

// TestRealTokens: tokens of PyJWT and SimpleJWT, of three issuers on one node, by secret, public key and key set; rotation without
// a restart, and what ends when a key is taken away.
func TestRealTokens(t *testing.T) {
	heavy(t)
	t.Parallel()
	hs := startSigner(t, map[string]any{"SIGNING_KEY": jwtSecret})
	drfKey := newKeyPair(hs, "RS256", "")
	rs := startSigner(t, map[string]any{"ALGORITHM": "RS256", "SIGNING_KEY": drfKey.private, "VERIFYING_KEY": drfKey.public, "ISSUER": "https://drf.test", "AUDIENCE": "gatecast"})
	keys := map[string]*keyPair{}
	var set []*keyPair
	for _, alg := range []string{"RS256", "ES256", "ES384", "EdDSA"} {
		keys[alg] = newKeyPair(hs, alg, "id-"+alg)
		set = append(set, keys[alg])
	}
	idp := newIdentityProvider(t, set...)
	dir := scratch(t)
	pemFile := filepath.Join(dir, "drf.pem")
	if err := os.WriteFile(pemFile, []byte(drfKey.public), 0o600); err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "a", conf{
		"authn.chain": []string{"jwt:idp", "jwt:drf", "jwt"}, "authn.jwt.user_claim": "user_id", "authn.cache_ttl": "0s", "authn.revalidate": "1s",
		"authn.jwt.issuers.idp.jwks": idp.URL + "/jwks", "authn.jwt.issuers.idp.issuer": idpIssuer, "authn.jwt.issuers.idp.audience": "gatecast",
		"authn.jwt.issuers.idp.user_prefix": "idp-", "authn.jwt.issuers.idp.cookie_name": "access",
		"authn.jwt.issuers.drf.public_key": pemFile, "authn.jwt.issuers.drf.issuer": "https://drf.test", "authn.jwt.issuers.drf.audience": "gatecast",
		"authn.jwt.issuers.drf.user_claim": "user_id", "authn.jwt.issuers.drf.user_prefix": "drf-",
	})

	t.Run("SimpleJWT with a secret", func(t *testing.T) {
		access := hs.do(map[string]any{"do": "simplejwt", "type": "access", "user": 42})
		s := dialRaw(t, n, "/ws", bearer(access["token"].(string)))
		if w := s.must("welcome"); w.str("user") != "42" || float64(w.num("expires")) != access["exp"] {
			t.Errorf("welcome is %v, want user 42 until %v", w, access["exp"])
		}
		wantUser(t, n, hs.do(map[string]any{"do": "simplejwt", "type": "sliding", "user": 43})["token"].(string), "43")
		wantReason(t, n, hs.do(map[string]any{"do": "simplejwt", "type": "refresh", "user": 42})["token"].(string), "bad_token_type")
	})
	t.Run("SimpleJWT with a public key", func(t *testing.T) {
		wantUser(t, n, rs.do(map[string]any{"do": "simplejwt", "type": "access", "user": 42})["token"].(string), "drf-42")
		wantReason(t, n, rs.do(map[string]any{"do": "simplejwt", "type": "refresh", "user": 42})["token"].(string), "bad_token_type")
	})
	t.Run("PyJWT with a key set", func(t *testing.T) {
		for alg, k := range keys {
			wantUser(t, n, k.sign(hs, nil), "idp-7")
			ps := *k
			if alg == "RS256" {
				ps.alg = "PS256"
				wantUser(t, n, ps.sign(hs, nil), "idp-7")
			}
		}
		token := keys["EdDSA"].sign(hs, map[string]any{"gatecast": map[string]any{"subscribe": []string{"extra.>"}, "join": []string{"extra.all"}}})
		s := dialRaw(t, n, "/ws", header{"Cookie: access=" + token, "Origin: http://" + n.addr})
		if w := s.must("welcome"); w.str("user") != "idp-7" || !strings.Contains(fmt.Sprint(w["groups"]), "extra.all") {
			t.Errorf("welcome is %v, want idp-7 in extra.all", w)
		}
		s.add("extra.1")
	})
	t.Run("refused", func(t *testing.T) {
		rsa, ed := keys["RS256"], keys["EdDSA"]
		other := newKeyPair(hs, "EdDSA", ed.kid)
		made := newKeyPair(hs, "EdDSA", "made-up")
		confused := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "7", "iss": idpIssuer, "aud": "gatecast", "exp": time.Now().Add(time.Hour).Unix()})
		confused.Header["kid"] = rsa.kid
		hmac, err := confused.SignedString([]byte(rsa.public)) // PyJWT refuses to make one
		if err != nil {
			t.Fatal(err)
		}
		drf := *drfKey
		for reason, token := range map[string]string{
			"expired":        ed.sign(hs, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
			"not_yet_valid":  ed.sign(hs, map[string]any{"nbf": time.Now().Add(time.Minute).Unix()}),
			"bad_audience":   ed.sign(hs, map[string]any{"aud": []string{"another"}}),
			"bad_signature":  other.sign(hs, nil),
			"unknown_key":    made.sign(hs, nil),
			"bad_algorithm":  hmac,
			"bad_user_claim": drf.sign(hs, map[string]any{"iss": "https://drf.test"}), // it has no user_id
		} {
			wantReason(t, n, token, reason)
		}
		// The provider's key signs for the provider only.
		wantReason(t, n, ed.sign(hs, map[string]any{"iss": "https://drf.test", "user_id": "1"}), "bad_algorithm")
		// A token of nobody's issuer is shown to the last, which is for any iss and has a secret.
		wantReason(t, n, ed.sign(hs, map[string]any{"iss": "https://elsewhere.test"}), "bad_algorithm")
	})
	t.Run("made by gatecast", func(t *testing.T) {
		path := filepath.Join(dir, "ed.pem")
		if err := os.WriteFile(path, []byte(keys["EdDSA"].private), 0o600); err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(n.dir, "config.toml")
		code, token := cli(t, n.dir, "token", "make", "7", "-issuer", "idp", "-key", path, "-config", config)
		token = strings.TrimSpace(token)
		if code != 0 {
			t.Fatalf("token make: %d %s", code, token)
		}
		wantUser(t, n, token, "idp-7")
		if a := hs.do(map[string]any{"do": "check", "token": token, "key": keys["EdDSA"].public, "alg": "EdDSA", "audience": "gatecast"}); a["user"] != "7" {
			t.Errorf("PyJWT says user %v", a["user"])
		}
		_, own := cli(t, n.dir, "token", "make", "44", "-config", config)
		if a := hs.do(map[string]any{"do": "simplejwt_check", "token": strings.TrimSpace(own)}); a["user"] != "44" {
			t.Errorf("SimpleJWT says user %v", a["user"])
		}
	})
	t.Run("rotation", func(t *testing.T) {
		old, next := keys["EdDSA"], newKeyPair(hs, "EdDSA", "id-next")
		byOld, drf := wantUser(t, n, old.sign(hs, nil), "idp-7"), wantUser(t, n, rs.do(map[string]any{"do": "simplejwt", "type": "access", "user": 42})["token"].(string), "drf-42")
		idp.publish(keys["RS256"], old, next)
		n.reloadKeys(t)
		token := next.sign(hs, nil)
		var byNext *socket
		eventually(t, patience, func() string { return "the new key is not known\n" + n.logs.tail(20) }, func() bool {
			s, err := tryDial(n.addr, "/ws", bearer(token))
			if err != nil {
				return false
			}
			s.t = t
			if w, err := s.tryNext(time.Now().Add(patience)); err != nil || w.op() != "welcome" {
				s.conn.Close()
				return false
			}
			byNext = s
			return true
		})
		t.Cleanup(func() { byNext.conn.Close() })

		// The old key and that of the DRF project are taken away: their logins end, the others stay.
		idp.publish(next)
		if err := os.WriteFile(pemFile, []byte(newKeyPair(hs, "RS256", "").public), 0o600); err != nil {
			t.Fatal(err)
		}
		line := n.logs.len()
		n.reloadKeys(t)
		n.logs.waitLine(t, line, "jwks fetched", `"keys":1`)
		n.reloadKeys(t) // one set without it may be a machine that is late
		for name, s := range map[string]*socket{"the old key": byOld, "the DRF project": drf} {
			if c := s.wantClosed(4401); c.Op == nil || c.Op["retry"] != nil {
				t.Errorf("the conn by %s ended with %v, want a close object without retry", name, c)
			}
		}
		byNext.ok(msg{"op": "ping"})
		wantReason(t, n, old.sign(hs, nil), "unknown_key")
		wantReason(t, n, rs.do(map[string]any{"do": "simplejwt", "type": "access", "user": 42})["token"].(string), "bad_signature")
	})
	t.Run("a bad reload", func(t *testing.T) {
		line := n.logs.len()
		if err := os.WriteFile(pemFile, []byte(drfKey.private), 0o600); err != nil {
			t.Fatal(err)
		}
		n.signal(sighup)
		n.logs.waitLine(t, line, "nothing was changed", "authn.jwt.issuers.drf.public_key", "a private key")
		if strings.Contains(n.logs.String(), "BEGIN PRIVATE KEY") {
			t.Error("the log shows a private key")
		}
		if status, _, err := n.get("/readyz"); err != nil || status != http.StatusOK {
			t.Errorf("readyz = %d, %v", status, err)
		}
	})
}

// reloadKeys reloads the config as it is and waits until that is done.
func (n *node) reloadKeys(t testing.TB) {
	t.Helper()
	line := n.logs.len()
	n.signal(sighup)
	n.logs.waitLine(t, line, "configuration read again")
}

// TestNoKeysYet: a node whose identity provider is down is not ready and says why, tells who comes to try again, and lets them in when
// the keys are there.
func TestNoKeysYet(t *testing.T) {
	t.Parallel()
	idp := newIdentityProvider(t)
	idp.fail(http.StatusServiceUnavailable)
	n := launchNode(t, "a", conf{"authn.jwt.secret": nil, "authn.jwt.jwks": idp.URL + "/jwks", "authn.cache_ttl": "0s"})
	var body string
	if !n.until(startLimit, func() bool {
		status, text, err := n.get("/readyz")
		body = text
		return err == nil && status == http.StatusServiceUnavailable && strings.Contains(text, "it answers with status 503")
	}) {
		t.Fatalf("readyz says %q, want that the keys cannot be fetched\n%s", body, n.logs.tail(20))
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "kim", "exp": time.Now().Add(time.Hour).Unix()}).SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	if c := refusedClose(t, n, "/ws", bearer(token), 4100, "unavailable"); c.Op == nil || c.Op["retry"] == nil {
		t.Errorf("ended with %v, want a close object with retry", c)
	}
	idp.publish(&keyPair{jwk: map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)}})
	n.waitReady()
	wantUser(t, n, token, "kim")
	// It is gone again: who is known to sign is let in all the same.
	idp.fail(http.StatusInternalServerError)
	n.reloadKeys(t)
	n.logs.waitLine(t, 0, "cannot be fetched", "status 500")
	wantUser(t, n, token, "kim")
	n.waitReady()
}

// TestTokenRefresh: a login lasts as long as its newest token. Another user's token, or a bad one, changes neither the login nor its
// end.
func TestTokenRefresh(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", conf{"authn.cache_ttl": "0s"})
	extra := func(group string) jwt.MapClaims {
		return jwt.MapClaims{"gatecast": map[string]any{"subscribe": []string{group}, "join": []string{group}}}
	}
	until := func(user string, exp time.Time, more ...jwt.MapClaims) string {
		return token(t, user, append(more, jwt.MapClaims{"exp": exp.Unix()})...)
	}
	soon, late := time.Now().Add(6*time.Second), time.Now().Add(time.Hour)

	s := dialRaw(t, n, "/ws", bearer(until("kim", soon, extra("tour.1"))))
	if w := s.must("welcome"); int64(w.num("expires")) != soon.Unix() || !strings.Contains(fmt.Sprint(w["groups"]), "tour.1") {
		t.Errorf("welcome is %v, want expires %d and tour.1", w, soon.Unix())
	}
	refreshed := dial(t, n, bearer(until("kim", soon, extra("tour.1"))))
	shortened := dial(t, n, bearer(until("kim", late)))

	// Grants of the new token replace those of the old one.
	refreshed.ok(msg{"op": "auth", "token": until("kim", late, extra("tour.2"))})
	if m := refreshed.must("group_discarded"); m.str("group") != "tour.1" {
		t.Errorf("got %v, want group_discarded of tour.1", m)
	}
	if m := refreshed.must("group_added"); m.str("group") != "tour.2" {
		t.Errorf("got %v, want group_added of tour.2", m)
	}
	// A token that ends earlier counts too.
	shortened.ok(msg{"op": "auth", "token": until("kim", soon)})

	// None of these is a login of kim, and none lengthens the one there is.
	s.refused("forbidden", msg{"op": "auth", "token": until("lee", late)})
	s.refused("unauthorized", msg{"op": "auth", "token": until("kim", time.Now().Add(-time.Minute))})
	s.refused("unauthorized", msg{"op": "auth", "token": until("kim", late, jwt.MapClaims{"token_type": "refresh"})})
	s.refused("unauthorized", msg{"op": "auth", "token": "no token"})
	s.groupSend("room.1", 1)

	for name, ends := range map[string]*socket{"refreshed in vain": s, "shortened": shortened} {
		c := ends.wantClosed(4401)
		if !strings.Contains(c.Reason, "expired") || c.Op == nil || !strings.Contains(c.Op.str("reason"), "expired") || c.Op["retry"] != nil {
			t.Errorf("the login %s ended with %v, want the reason and no retry", name, c)
		}
		if time.Now().Unix() < soon.Unix() {
			t.Errorf("the login %s ended before its time", name)
		}
	}
	refreshed.groupSend("room.1", 2)
	refreshed.quiet()
}
