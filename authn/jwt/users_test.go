package jwt

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
	"github.com/gatecast/gatecast/authn/django"
)

// site is the database of a Django project. What differs from database to database is tried where it is read: in packages django and token.
type site struct {
	t  *testing.T
	db *sql.DB
	o  django.Options
}

// Of user 42, as make_password wrote it, and what SimpleJWT makes of it.
const (
	aPassword    = "pbkdf2_sha256$600000$q5m2Vq9GQ1rW$0o3r0cB9dY0PpTq6uB4g1kq3b3q0b0m2m0u9oXx3m9A="
	aPasswordSum = "63256C99967F72402E7F7629DD5AF375"
)

func newSite(t *testing.T) *site {
	t.Helper()
	path := filepath.Join(t.TempDir(), "db.sqlite3")
	db, err := sql.Open("sqlite", "file://"+path+"?_busy_timeout=5000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &site{t: t, db: db, o: django.DefaultOptions()}
	s.o.Database, s.o.UserPrefix, s.o.Attributes = "sqlite://"+path, "shop-", []string{"email"}
	for _, ddl := range []string{
		`CREATE TABLE auth_user (id integer NOT NULL PRIMARY KEY, password varchar(128) NOT NULL, is_superuser bool NOT NULL, email varchar(254), is_staff bool NOT NULL, is_active bool NOT NULL)`,
		`CREATE TABLE auth_group (id integer NOT NULL PRIMARY KEY, name varchar(150) NOT NULL UNIQUE)`,
		`CREATE TABLE auth_user_groups (id integer, user_id integer NOT NULL, group_id integer NOT NULL)`,
		`CREATE TABLE django_content_type (id integer NOT NULL PRIMARY KEY, app_label varchar(100) NOT NULL, model varchar(100) NOT NULL)`,
		`CREATE TABLE auth_permission (id integer NOT NULL PRIMARY KEY, content_type_id integer NOT NULL, codename varchar(100) NOT NULL, name varchar(255) NOT NULL)`,
		`CREATE TABLE auth_group_permissions (id integer, group_id integer NOT NULL, permission_id integer NOT NULL)`,
		`CREATE TABLE auth_user_user_permissions (id integer, user_id integer NOT NULL, permission_id integer NOT NULL)`,
		`INSERT INTO auth_group VALUES (1, 'Editors')`,
		`INSERT INTO django_content_type VALUES (1, 'chat', 'room')`,
		`INSERT INTO auth_permission VALUES (1, 1, 'moderate', '')`,
		`INSERT INTO auth_group_permissions VALUES (1, 1, 1)`,
		`INSERT INTO auth_user VALUES (42, '` + aPassword + `', false, 'u@example.com', true, true)`,
		`INSERT INTO auth_user_groups VALUES (1, 42, 1)`,
		`INSERT INTO auth_user VALUES (7, 'x', false, NULL, false, false)`,
		`INSERT INTO auth_user VALUES (8, 'x', false, NULL, false, true)`,
	} {
		s.exec(ddl)
	}
	return s
}

func (s *site) exec(query string) {
	s.t.Helper()
	if _, err := s.db.Exec(query); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

func (s *site) options() Options {
	o := options()
	o.Users, o.Site = "django", s.o
	return o
}

func TestConformanceWithUsers(t *testing.T) {
	s := newSite(t)
	authntest.Run(t, func(t *testing.T) authntest.Harness {
		return authntest.Harness{
			Verifier: verifier(t, s.options()),
			Good: []authntest.Good{
				{Credential: authntest.WithBearer(hs256(t, nil)), ID: "shop-42"},
				{Credential: authn.Credential{Carrier: authn.CarrierMessage, Value: hs256(t, jwt.MapClaims{"sub": 8})}, ID: "shop-8"},
			},
			Bad: map[string]authn.Credential{
				"inactive": authntest.WithBearer(hs256(t, jwt.MapClaims{"sub": "7"})),
				"nobody":   authntest.WithBearer(hs256(t, jwt.MapClaims{"sub": "9"})),
				"expired":  authntest.WithBearer(hs256(t, jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()})),
			},
			NotMine: []authn.Credential{authntest.WithCookie("sessionid", hs256(t, nil))},
			Secrets: []string{testSecret, aPassword},
			Blocks:  true,
			Takes: func(c authn.Credential) bool {
				return c.Carrier != authn.CarrierCookie && strings.HasPrefix(c.Value, "eyJhbGciOi")
			},
		}
	})
}

// The database has the last word about the user; the token about itself.
func TestTheSiteSaysWhoTheUserIs(t *testing.T) {
	s := newSite(t)
	v := verifier(t, s.options())
	id, err := v.Verify(t.Context(), authntest.WithBearer(hs256(t, jwt.MapClaims{
		"groups": []string{"Admins"}, "email": "made@up", "room": "7", "gatecast": map[string]any{"join": []string{"news"}, "groups": []string{"Root"}},
	})))
	if err != nil {
		t.Fatal(err)
	}
	if id.ID != "shop-42" || id.Kind != authn.KindStaff || !slices.Equal(id.Groups, []string{"Editors"}) || !slices.Equal(id.Perms, []string{"chat.moderate"}) {
		t.Errorf("the login is %+v", id)
	}
	if !slices.Equal(id.Attrs["email"], []string{"u@example.com"}) || !slices.Equal(id.Attrs["room"], []string{"7"}) || id.Claimed == nil || id.Expires.IsZero() {
		t.Errorf("the login has %v, %v, until %v", id.Attrs, id.Claimed, id.Expires)
	}
	for name, tt := range map[string]struct {
		user any
		want string
	}{
		"deactivated": {"7", "inactive"}, "deleted": {"9", "unknown_user"}, "no key of the table": {"alice", "unknown_user"}, "beyond all keys": {"99999999999999999999", "unknown_user"},
		"another spelling": {"042", ""}, "a number": {42, ""}, "empty": {"", "bad_user_claim"},
	} {
		if got := reasonOf(t, v, hs256(t, jwt.MapClaims{"sub": tt.user})); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if id, err := v.Verify(t.Context(), authntest.WithBearer(hs256(t, jwt.MapClaims{"sub": "042"}))); err != nil || id.ID != "shop-42" {
		t.Errorf("user 042 is %v, %v; want the one that the site has", id, err)
	}
}

func TestANewPasswordRevokesTokens(t *testing.T) {
	s := newSite(t)
	o := s.options()
	o.RevokeTokenClaim = "hash_password"
	v := verifier(t, o)
	good := hs256(t, jwt.MapClaims{"hash_password": aPasswordSum})
	id, err := v.Verify(t.Context(), authntest.WithBearer(good))
	if err != nil {
		t.Fatal(err)
	}
	if _, kept := id.Attrs["hash_password"]; kept {
		t.Errorf("the claim is an attribute: %v", id.Attrs)
	}
	for name, claim := range map[string]any{"lower case": strings.ToLower(aPasswordSum), "of another": strings.Repeat("0", 32), "none": nil, "a number": 1, "long": aPasswordSum + "0"} {
		if got := reasonOf(t, v, hs256(t, jwt.MapClaims{"hash_password": claim})); got != "hash_mismatch" {
			t.Errorf("%s: %q, want hash_mismatch", name, got)
		}
	}
	if a := v.Revalidate(t.Context(), []*authn.Identity{id}); a[0] != (authn.Recheck{}) {
		t.Errorf("a sweep says %+v, want nothing changed", a[0])
	}
	made, err := v.Make(t.Context(), Claims{User: "42", Lifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s.exec(`UPDATE auth_user SET password = 'another' WHERE id = 42`)
	for _, token := range []string{good, made} {
		if got := reasonOf(t, v, token); got != "hash_mismatch" {
			t.Errorf("after a new password: %q, want hash_mismatch", got)
		}
	}
	if got := said(v.Revalidate(t.Context(), []*authn.Identity{id})); got[0] != "hash_mismatch" {
		t.Errorf("a sweep says %q", got)
	}
	// Without the claim in config it is a claim like others.
	if got := reasonOf(t, verifier(t, s.options()), good); got != "" {
		t.Errorf("not looked at, and %q", got)
	}
}

func TestATokenIsMadeForWhoIsThere(t *testing.T) {
	v := verifier(t, newSite(t).options())
	for user, want := range map[string]string{"7": "inactive", "9": "unknown_user"} {
		if _, err := v.Make(t.Context(), Claims{User: user, Lifetime: time.Minute}); err == nil || !strings.Contains(err.Error(), "would be refused: "+want) {
			t.Errorf("Make for user %s = %v, want %s", user, err, want)
		}
	}
}

// said is what a sweep answers, in a word each.
func said(answers []authn.Recheck) (words []string) {
	for _, a := range answers {
		var refused *authn.Refused
		switch {
		case errors.As(a.Err, &refused):
			words = append(words, refused.Reason)
		case a.Err != nil:
			words = append(words, "cannot tell")
		case a.Identity != nil:
			words = append(words, "changed")
		default:
			words = append(words, "")
		}
	}
	return words
}

func login(t *testing.T, v *Verifier, token string) *authn.Identity {
	t.Helper()
	id, err := v.Verify(t.Context(), authntest.WithBearer(token))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestASweepLooksAtTheUsers(t *testing.T) {
	s := newSite(t)
	v := verifier(t, s.options())
	const users = 2500 // more than a batch
	s.exec(`WITH RECURSIVE n(id) AS (SELECT 1000 UNION ALL SELECT id + 1 FROM n WHERE id < 3499) INSERT INTO auth_user SELECT id, 'x', false, NULL, false, true FROM n`)
	ids := make([]*authn.Identity, users)
	for n := range ids {
		ids[n] = login(t, v, hs256(t, jwt.MapClaims{"sub": 1000 + n, "room": "7"}))
	}
	want := make([]string, users)
	if got := said(v.Revalidate(t.Context(), ids)); !slices.Equal(got, want) {
		t.Errorf("nothing happened, and a sweep says so of %d of %d", countOf(got, ""), users)
	}
	s.exec(`UPDATE auth_user SET is_active = false WHERE id = 1000`)
	s.exec(`DELETE FROM auth_user WHERE id = 3499`)
	s.exec(`INSERT INTO auth_user_groups VALUES (2, 2000, 1)`)
	s.exec(`UPDATE auth_user SET email = 'new@example.com' WHERE id = 2001`)
	want[0], want[2499], want[1000], want[1001] = "inactive", "unknown_user", "changed", "changed"
	answers := v.Revalidate(t.Context(), ids)
	if got := said(answers); !slices.Equal(got, want) {
		t.Errorf("a sweep says %q of the four, and nothing of %d", []string{got[0], got[2499], got[1000], got[1001]}, countOf(got, ""))
	}
	now := answers[1000].Identity
	if now == nil || !slices.Equal(now.Groups, []string{"Editors"}) || !slices.Equal(now.Perms, []string{"chat.moderate"}) || !slices.Equal(now.Attrs["room"], []string{"7"}) || now.Ref != ids[1000].Ref {
		t.Errorf("who joined a group is %+v", now)
	}
	if ids[1000].Groups != nil {
		t.Error("the old login was changed: other conns share it")
	}
}

func countOf(words []string, word string) (n int) {
	for _, w := range words {
		if w == word {
			n++
		}
	}
	return n
}

// A database that does not answer is neither yes nor no. What else is known counts.
func TestUsersThatCannotBeAsked(t *testing.T) {
	s := newSite(t)
	o := s.options()
	v := verifier(t, o)
	token := hs256(t, nil)
	id := login(t, v, token)
	s.exec(`ALTER TABLE auth_user RENAME TO elsewhere`)
	if _, err := v.Verify(t.Context(), authntest.WithBearer(token)); err == nil || isAnswer(err) {
		t.Errorf("Verify without the table = %v, want an error that is no answer", err)
	}
	if got := said(v.Revalidate(t.Context(), []*authn.Identity{id})); got[0] != "cannot tell" {
		t.Errorf("a sweep without the table says %q", got)
	}
	if in := v.Inspect(t.Context(), token); in.Identity != nil || in.Err == nil || isAnswer(in.Err) {
		t.Errorf("Inspect without the table = %+v", in)
	}
	if err := v.Ping(t.Context()); err == nil {
		t.Error("Ping without the table = nil")
	}
	if got := reasonOf(t, v, hs256(t, jwt.MapClaims{"exp": 1})); got != "expired" {
		t.Errorf("a token that is over: %q", got)
	}
	o.Secret = "another-secret-0123456789abcdefgh"
	commit, err := v.Prepare(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	if got := said(v.Revalidate(t.Context(), []*authn.Identity{id})); got[0] != "key_gone" {
		t.Errorf("a sweep without the table and the key says %q", got)
	}
	s.exec(`ALTER TABLE elsewhere RENAME TO auth_user`)
	eventually(t, func() bool { return v.Ping(t.Context()) == nil })
	login(t, v, sign(t, jwt.SigningMethodHS256, []byte(o.Secret), nil))
}

func isAnswer(err error) bool {
	var refused *authn.Refused
	return errors.As(err, &refused) || errors.Is(err, authn.ErrNotMine) || errors.Is(err, authn.ErrNoLogin)
}

// eventually waits for what has no event: a database is asked again half a second after it failed.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("waited in vain")
		}
	}
}

// A provider whose keys cannot be had does not keep in whom the site has put out.
func TestASweepCountsUsersWhenKeysCannotBeTold(t *testing.T) {
	s := newSite(t)
	v := verifier(t, s.options())
	ids := []*authn.Identity{login(t, v, hs256(t, nil)), login(t, v, hs256(t, jwt.MapClaims{"sub": "8"}))}
	s.exec(`UPDATE auth_user SET is_active = false WHERE id = 8`)
	answers := []authn.Recheck{{Err: errors.New("no keys")}, {Err: errors.New("no keys")}}
	v.ring.Load().sweep(t.Context(), ids, answers)
	if got := said(answers); !slices.Equal(got, []string{"cannot tell", "inactive"}) {
		t.Errorf("a sweep says %q", got)
	}
}

// Users may be set, and taken out, while the node runs. Who is in is looked at by what holds now.
func TestAReloadSetsUsers(t *testing.T) {
	s := newSite(t)
	with, without := s.options(), options()
	without.UserPrefix = "shop-"
	v := verifier(t, without)
	reload := func(o Options) {
		t.Helper()
		commit, err := v.Prepare(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		commit()
	}
	var ids []*authn.Identity
	for _, user := range []string{"42", "042", "7", "9"} {
		ids = append(ids, login(t, v, hs256(t, jwt.MapClaims{"sub": user})))
	}
	none := []string{"", "", "", ""}
	if got := said(v.Revalidate(t.Context(), ids)); !slices.Equal(got, none) {
		t.Errorf("without users a sweep says %q", got)
	}
	reload(with)
	if got := said(v.Revalidate(t.Context(), ids)); !slices.Equal(got, []string{"changed", "other_user", "inactive", "unknown_user"}) {
		t.Errorf("with users a sweep says %q", got)
	}
	with.RevokeTokenClaim = "hash_password"
	reload(with)
	if got := said(v.Revalidate(t.Context(), ids[:1])); got[0] != "hash_mismatch" {
		t.Errorf("of a token whose password is not known a sweep says %q", got)
	}
	unknown := with
	unknown.Users, unknown.Site = "django:new", django.Options{}
	if _, err := v.Prepare(t.Context(), unknown); err == nil || !strings.Contains(err.Error(), `authn.jwt.users: "django:new" has no database; a section that is new needs a restart`) {
		t.Errorf("Prepare for a site that is new = %v", err)
	}
	reload(without)
	if got := said(v.Revalidate(t.Context(), ids)); !slices.Equal(got, none) {
		t.Errorf("without users again a sweep says %q", got)
	}
	if got := reasonOf(t, v, hs256(t, jwt.MapClaims{"sub": "9"})); got != "" {
		t.Errorf("without users again: %q", got)
	}
}
