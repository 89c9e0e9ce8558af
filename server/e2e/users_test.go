package e2e

import (
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// jwt posts a form to SimpleJWT's views and returns the tokens they answer with.
func (s *site) jwt(t testing.TB, path string, form url.Values) (access, refresh string) {
	t.Helper()
	res, err := adminClient.PostForm("http://"+s.addr+path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	var tokens struct{ Access, Refresh string }
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(body, &tokens) != nil {
		t.Fatalf("POST %s: %d %v %s", path, res.StatusCode, err, body)
	}
	return tokens.Access, tokens.Refresh
}

// jwtOf logs a user in.
func (s *site) jwtOf(t testing.TB, username, password string) string {
	t.Helper()
	access, _ := s.jwt(t, "/jwt/", url.Values{"username": {username}, "password": {password}})
	return access
}

// usersConf has nodes that look up the users of SimpleJWT's tokens in its site. Tokens of another issuer say everything themselves.
var usersConf = conf{
	"authn.chain":      []string{"django", "jwt:plain", "jwt"},
	"authn.jwt.secret": siteJWTKey, "authn.jwt.user_claim": "user_id", "authn.jwt.users": "django", "authn.jwt.revoke_token_claim": "hash_password",
	"authn.jwt.issuers.plain.secret": jwtSecret, "authn.jwt.issuers.plain.issuer": "plain",
}.over(revocationConf)

// tokenUser is somebody with a token that SimpleJWT made and a socket by it on each node, and one by a token that says everything itself.
type tokenUser struct {
	id, name, access string
	open             []*socket
	plain            string
	stateless        *socket
}

func (p *pair) tokenUser(t *testing.T, name string, more map[string]any) *tokenUser {
	t.Helper()
	u := &tokenUser{id: p.create(name, password, more), name: name}
	u.plain = token(t, u.id, jwt.MapClaims{"iss": "plain"})
	u.login(t, p, password)
	u.stateless = wantUser(t, p.a, u.plain, u.id)
	return u
}

func (u *tokenUser) login(t *testing.T, p *pair, password string) {
	t.Helper()
	u.access, u.open = p.jwtOf(t, u.name, password), nil
	p.secrets = append(p.secrets, u.access, u.plain)
	for _, n := range []*node{p.a, p.b} {
		u.open = append(u.open, wantUser(t, n, u.access, u.id))
	}
}

// testUsersOfTokens: what Django's signals say of a user reaches the sockets by tokens, and the token is judged by what the user is now.
func testUsersOfTokens(t *testing.T, p *pair) {
	dir := t.TempDir()
	p.a.conf.write(t, dir)
	check := func(t *testing.T, code int, token string, words ...string) {
		t.Helper()
		for _, args := range [][]string{{"token", "check", token}, {"session", "check", "-token", token}} {
			if got, out := cli(t, dir, append(args, "-config", "config.toml")...); got != code || !containsAll(out, words) {
				t.Errorf("%s %s: exit %d, want %d and the words %q\n%s", args[0], args[1], got, code, words, out)
			}
		}
	}
	refused := func(t *testing.T, token, reason string) {
		t.Helper()
		p.refusedEverywhere(t, func(*node) header { return bearer(token) }, reason)
	}
	closed := func(t *testing.T, reason string, open ...*socket) {
		t.Helper()
		for _, s := range open {
			if c := s.wantClosed(4401); reason != "" && c.Reason != reason {
				t.Errorf("closed with %q, want %q", c.Reason, reason)
			}
		}
	}

	t.Run("rights", func(t *testing.T) {
		u := p.tokenUser(t, "rita", map[string]any{"is_staff": true, "groups": []string{"Editors"}, "perms": []string{"auth.add_group"}})
		check(t, 0, u.access, `accepted: user "`+u.id+`"`, "looked up  in django", "kind       staff", "groups     Editors", "auth.add_group", "drafts.>")
		for _, s := range u.open {
			s.add("drafts.1")
			s.add("users")
		}
		u.stateless.refused("forbidden", msg{"op": "group_add", "group": "users"})
		p.people.do(map[string]any{"do": "part", "username": "rita", "group": "Editors"})
		p.people.do(map[string]any{"do": "take", "username": "rita", "perm": "auth.add_group"})
		for _, s := range u.open {
			gone := map[string]bool{}
			for range 3 {
				gone[s.must("group_discarded").str("group")] = true
			}
			if !gone["desk"] || !gone["drafts.1"] || !gone["users"] {
				t.Errorf("discarded %v, want desk, drafts.1 and users", gone)
			}
			s.refused("forbidden", msg{"op": "group_add", "group": "users"})
			s.leave()
		}
	})
	t.Run("deactivation", func(t *testing.T) {
		u := p.tokenUser(t, "dean", nil)
		p.people.do(map[string]any{"do": "set", "username": "dean", "is_active": false})
		closed(t, "user deactivated", append(u.open, u.stateless)...)
		refused(t, u.access, "inactive")
		check(t, 1, u.access, "refused: inactive", "The user's is_active is off")
		wantUser(t, p.b, u.plain, u.id).leave() // which nobody can take back
	})
	t.Run("password", func(t *testing.T) {
		u := p.tokenUser(t, "paula", nil)
		p.people.do(map[string]any{"do": "password", "username": "paula", "password": "another " + password})
		closed(t, "", u.open...)
		refused(t, u.access, "hash_mismatch")
		check(t, 1, u.access, "refused: hash_mismatch", "CHECK_REVOKE_TOKEN")
		u.login(t, p, "another "+password)
		for _, s := range append(u.open, u.stateless) {
			s.ok(msg{"op": "group_add", "group": "chat.1"})
			s.leave()
		}
	})
	t.Run("deletion", func(t *testing.T) {
		u := p.tokenUser(t, "della", nil)
		p.people.do(map[string]any{"do": "delete", "username": "della"})
		closed(t, "user deleted", append(u.open, u.stateless)...)
		refused(t, u.access, "unknown_user")
		check(t, 1, u.access, "refused: unknown_user", "USER_ID_FIELD")
	})
}

// testUsersThatCannotBeAsked: while the table of users is away nobody is let in, nobody is put out.
func testUsersThatCannotBeAsked(t *testing.T, p *pair) {
	u := p.tokenUser(t, "olaf", nil)
	p.create("otto", password, nil)
	access := p.jwtOf(t, "otto", password)
	db, err := sql.Open("pgx", p.a.conf["authn.django.database"].(string))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rename := func(from, to string) {
		t.Helper()
		if _, err := db.Exec(`ALTER TABLE ` + from + ` RENAME TO ` + to); err != nil {
			t.Fatal(err)
		}
	}
	rename("auth_user", "elsewhere")
	refusedClose(t, p.a, "/ws", bearer(access), 4100, "unavailable")
	dir := t.TempDir()
	p.a.conf.write(t, dir)
	if code, out := cli(t, dir, "token", "check", access, "-config", "config.toml"); code == 0 || strings.Contains(out, "accepted") {
		t.Errorf("token check: exit %d\n%s", code, out)
	}
	for _, s := range u.open {
		s.ok(msg{"op": "group_add", "group": "chat.1"})
	}
	rename("elsewhere", "auth_user")
	admitted(t, p.a, bearer(access)).leave()
}
