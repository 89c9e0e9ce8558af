package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPackages: the logins of packages that sites use beside Django's own, each made by the package's own views or code: the second step of django-otp,
// django-allauth with its check of addresses and its MFA, SimpleJWT, and the tokens of Django REST framework and knox.
func TestPackages(t *testing.T) {
	heavy(t)
	t.Parallel()
	for _, r := range djangos {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			testPackages(t, r)
		})
	}
}

func testPackages(t *testing.T, r release) {
	nats, knox := freeAddr(t), 5
	if !r.from(5.0) {
		knox = 4
	}
	o := siteOptions{release: r, apps: "otp,allauth,jwt", tokens: "-", nats: "nats://" + nats, served: true}
	signedWith := "secret"
	if r.from(5.2) {
		signedWith, o.jwt = "public_key", byKeyPair(t)
	}
	s := newSite(t, o)
	printed := s.gatecastConf()
	if backends := printed["authn.django.backends"]; !slices.Contains(backends.([]any), any("allauth.account.auth_backends.AuthenticationBackend")) {
		t.Errorf("gatecast_keys prints the backends %v, want allauth's among them", backends)
	}
	if printed["authn.jwt."+signedWith] == nil {
		t.Errorf("gatecast_keys prints no authn.jwt.%s", signedWith)
	}
	c := conf{
		"broker.listen": nats, "authn.chain": []string{"django", "django:otp", "django:mfa", "token", "jwt"}, "authn.carriers": []string{"cookie", "header"},
		"authn.revalidate": "1s", "authn.cache_ttl": "30s",
		"authn.token.kinds": []string{"drf", "knox"}, "authn.token.knox_version": knox,
		// The same sessions under other cookies, where a second step is asked for.
		"authn.django.sites.otp.require_session_keys": []string{"otp_device_id"}, "authn.django.sites.mfa.require_auth_methods": []string{"mfa"},
	}
	for _, site := range []string{"otp", "mfa"} {
		for k, v := range printed {
			c[strings.Replace(k, "authn.django.", "authn.django.sites."+site+".", 1)] = v
		}
		c["authn.django.sites."+site+".cookie_name"] = site + "id"
	}
	c = c.over(printed)
	c["authn.jwt.secret"] = printed["authn.jwt.secret"] // nil: not that of other tests either
	n := startNode(t, "a", c)
	dir := t.TempDir()
	n.conf.write(t, dir)

	under := func(cookie, session string) header {
		return header{"Cookie: " + cookie + "=" + session, "Origin: http://" + n.addr}
	}
	refused := func(t *testing.T, h header, reason string) {
		t.Helper()
		line := n.logs.len()
		refusedClose(t, n, "/ws", h, 4401, "unauthorized")
		n.logs.waitLine(t, line, "handshake refused", `"reason":"`+reason+`"`)
	}
	says := func(t *testing.T, code int, cookie, session string, words ...string) {
		t.Helper()
		got, out := cli(t, dir, "session", "check", cookie+"="+session, "-config", "config.toml")
		if got != code || !containsAll(out, words) {
			t.Errorf("session check: exit %d, want %d and the words %q\n%s", got, code, words, out)
		}
	}
	const second = "has given the password and not yet the second factor"

	t.Run("django-otp", func(t *testing.T) {
		id := s.create("olga", password, nil)
		paper := s.people.do(map[string]any{"do": "otp", "username": "olga"})
		device, token := paper["device"].(string), paper["token"].(string)
		b := s.browser()
		session := b.login("olga", password)
		dial(t, n, under("sessionid", session)).leave() // who does not ask for it
		for range 2 {
			refused(t, under("otpid", session), "second_step_missing")
			says(t, 1, "otpid", session, "second_step_missing", "otp_device_id", second)
			b.fill("/otp/", url.Values{"otp_device": {device}, "otp_token": {"wrong"}})
			session = b.session()
		}
		b.fill("/otp/", url.Values{"otp_device": {device}, "otp_token": {token}})
		session = b.session()
		// The session is the same, and refusals are remembered for a second.
		open := admitted(t, n, under("otpid", session))
		if open.user != id {
			t.Errorf("welcome says user %q, want %q", open.user, id)
		}
		says(t, 0, "otpid", session, `accepted: user "`+id+`"`)
		b.logout()
		open.wantClosed(4401)
		refused(t, under("otpid", session), "revoked")
	})

	t.Run("allauth", func(t *testing.T) {
		id := s.create("alma", password, map[string]any{"email": "alma@example.com"})
		login := func() (*browser, string) {
			b := s.browser()
			b.fill("/accounts/login/", url.Values{"login": {"alma"}, "password": {password}})
			return b, b.session()
		}
		_, session := login() // in which allauth keeps what it waits for
		refused(t, under("sessionid", session), "no_login")
		says(t, 1, "sessionid", session, "a good session, but nobody is logged in with it", "no login")
		s.people.do(map[string]any{"do": "verify", "username": "alma"})
		_, session = login()
		open := dial(t, n, under("sessionid", session))
		if open.user != id {
			t.Errorf("welcome says user %q, want %q", open.user, id)
		}
		says(t, 0, "sessionid", session, `accepted: user "`+id+`"`)
		refused(t, under("mfaid", session), "second_step_missing")
		says(t, 1, "mfaid", session, "second_step_missing", "mfa", second)

		code, _ := s.people.do(map[string]any{"do": "mfa", "username": "alma"})["code"].(string)
		b, session := login()
		for _, cookie := range []string{"sessionid", "mfaid"} {
			refused(t, under(cookie, session), "no_login")
			says(t, 1, cookie, session, "a good session, but nobody is logged in with it")
		}
		b.fill("/accounts/2fa/authenticate/", url.Values{"code": {code}})
		session = b.session()
		withMFA := dial(t, n, under("mfaid", session))
		if withMFA.user != id {
			t.Errorf("welcome says user %q, want %q", withMFA.user, id)
		}
		says(t, 0, "mfaid", session, `accepted: user "`+id+`"`)
		b.fill("/accounts/logout/", url.Values{})
		withMFA.wantClosed(4401)
		refused(t, under("mfaid", session), "revoked")
		open.quiet()
		s.people.do(map[string]any{"do": "password", "username": "alma", "password": "another-" + password})
		s.people.do(map[string]any{"do": "revalidate", "username": "alma"})
		open.wantClosed(4401)
	})

	t.Run("SimpleJWT", func(t *testing.T) {
		id := s.create("jan", password, nil)
		access, refresh := s.jwt(t, "/jwt/", url.Values{"username": {"jan"}, "password": {password}})
		wantUser(t, n, access, id).leave()
		again, _ := s.jwt(t, "/jwt/refresh/", url.Values{"refresh": {refresh}})
		wantUser(t, n, again, id).leave()
		wantReason(t, n, refresh, "bad_token_type")
		wantReason(t, n, access[:len(access)-4]+"AAAA", "bad_signature")
		open := wantUser(t, n, again, id)
		s.people.do(map[string]any{"do": "password", "username": "jan", "password": "another-" + password})
		open.wantClosed(4401)
		wantReason(t, n, again, "hash_mismatch")
		another := s.jwtOf(t, "jan", "another-"+password)
		open = wantUser(t, n, another, id)
		s.people.do(map[string]any{"do": "set", "username": "jan", "is_active": false})
		open.wantClosed(4401)
		wantReason(t, n, another, "inactive")
	})

	for _, kind := range []string{"drf", "knox"} {
		t.Run(kind, func(t *testing.T) {
			id := s.create(kind, password, nil)
			token, _ := s.people.do(map[string]any{"do": "token", "username": kind, "kind": kind})["token"].(string)
			open := dial(t, n, scheme("Token", token))
			if open.user != id {
				t.Errorf("welcome says user %q, want %q", open.user, id)
			}
			refused(t, scheme("Token", token[:len(token)-1]+flip(token[len(token)-1])), "unknown_token")
			s.people.do(map[string]any{"do": "drop_tokens", "username": kind, "kind": kind})
			open.wantClosed(4401)
			refused(t, scheme("Token", token), "unknown_token")
		})
	}
}

// byKeyPair is a SIMPLE_JWT that has all that verifying can ask for, as JSON.
func byKeyPair(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]any{
		"ALGORITHM":     "RS256",
		"SIGNING_KEY":   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"VERIFYING_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
		"USER_ID_CLAIM": "sub", "ISSUER": "https://site.test", "AUDIENCE": []string{"chat", "shop"}, "LEEWAY": 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// admitted dials until it is let in.
func admitted(t *testing.T, n *node, h header) (s *socket) {
	t.Helper()
	eventually(t, patience, func() string { return "the login is refused on and on" }, func() bool {
		s = dialRaw(t, n, "/ws", h)
		m, err := s.tryNext(time.Now().Add(patience))
		s.user = m.str("user")
		return err == nil && m.op() == "welcome"
	})
	return s
}
