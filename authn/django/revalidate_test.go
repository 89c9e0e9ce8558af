package django

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// mustVerify logs in and puts in the name a chain would.
func mustVerify(t *testing.T, v *Verifier, key string) *authn.Identity {
	t.Helper()
	id, err := v.Verify(t.Context(), cookie(key))
	if err != nil {
		t.Fatal(err)
	}
	id.Verifier, id.Carrier = "django:shop", authn.CarrierCookie
	return id
}

func TestRevalidate(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		v := s.open(func(o *Options) { o.Attributes = []string{"email"} })
		changes := []struct {
			name   string
			change string // SQL; USER and KEY are filled in
			reason string
			check  func(id *authn.Identity) bool // of a replaced identity; nil = nothing changed
		}{
			{"nothing", "", "", nil},
			{"logout", "DELETE FROM django_session WHERE session_key = 'KEY'", "unknown_session", nil},
			{"expiry", "UPDATE django_session SET expire_date = '2001-01-01 00:00:00' WHERE session_key = 'KEY'", "expired", nil},
			{"a longer session", "UPDATE django_session SET expire_date = '2101-01-01 00:00:00' WHERE session_key = 'KEY'", "", func(id *authn.Identity) bool { return id.Expires.Year() > 2099 }},
			{"inactive", "UPDATE auth_user SET is_active = false WHERE id = USER", "inactive", nil},
			{"password", "UPDATE auth_user SET password = 'x' WHERE id = USER", "hash_mismatch", nil},
			{"deleted", "DELETE FROM auth_user WHERE id = USER", "unknown_user", nil},
			{"staff", "UPDATE auth_user SET is_staff = true WHERE id = USER", "", func(id *authn.Identity) bool { return id.Kind == authn.KindStaff }},
			{"a group", "INSERT INTO auth_user_groups VALUES (1, USER, 1)", "", func(id *authn.Identity) bool { return len(id.Groups) == 1 && len(id.Perms) == 1 }},
			{"an attribute", "UPDATE auth_user SET email = 'a@x.com' WHERE id = USER", "", func(id *authn.Identity) bool { return id.Attrs["email"][0] == "a@x.com" }},
			{"broken data", "UPDATE django_session SET session_data = 'x' WHERE session_key = 'KEY'", "bad_signature", nil},
		}
		var ids []*authn.Identity
		for i, c := range changes {
			user, key := fmt.Sprint(i+1), fmt.Sprintf("%032d", i)
			s.addUser(account{id: user})
			s.login(key, user)
			ids = append(ids, mustVerify(t, v, key))
			if c.change != "" {
				s.exec(strings.NewReplacer("USER", user, "KEY", key).Replace(c.change))
			}
		}
		before := *ids[0]
		answers := v.Revalidate(t.Context(), ids)
		if len(answers) != len(ids) {
			t.Fatalf("%d answers for %d identities", len(answers), len(ids))
		}
		for i, c := range changes {
			got := answers[i]
			var refused *authn.Refused
			switch {
			case c.reason != "":
				if !errors.As(got.Err, &refused) || refused.Reason != c.reason {
					t.Errorf("%s: %+v, want refusal %q", c.name, got, c.reason)
				}
			case got.Err != nil:
				t.Errorf("%s: %v, want still good", c.name, got.Err)
			case (got.Identity == nil) != (c.check == nil):
				t.Errorf("%s: identity %v, want replaced %v", c.name, got.Identity, c.check != nil)
			case c.check != nil && (!c.check(got.Identity) || got.Identity.ID != ids[i].ID || got.Identity.Verifier != "django:shop" || got.Identity.Carrier != authn.CarrierCookie || got.Identity.Ref != ids[i].Ref):
				t.Errorf("%s: replaced by %#v", c.name, got.Identity)
			}
		}
		if ids[0].Kind != before.Kind || ids[0].Expires != before.Expires {
			t.Error("Revalidate changed an identity")
		}
	})
}

func TestRevalidateAnotherUsersSession(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "delete")
	s.addUser(account{id: "1"})
	s.addUser(account{id: "2"})
	s.login(aliceKey, "1")
	v := s.open()
	id := mustVerify(t, v, aliceKey)
	for data, want := range map[string]string{s.payload("2"): "other_user", `{}`: "unknown_session"} {
		s.exec(`DELETE FROM django_session`)
		s.addSession(aliceKey, sign(rawKey(s.keys.SessionKey), data, time.Now()), time.Now().Add(time.Hour))
		var refused *authn.Refused
		if got := v.Revalidate(t.Context(), []*authn.Identity{id}); !errors.As(got[0].Err, &refused) || refused.Reason != want {
			t.Errorf("Revalidate = %+v, want refusal %q", got, want)
		}
	}
}

// A time that Django would not write says nothing about this login, and nothing at all about the others.
func TestRevalidateOneUnreadableRow(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.addUser(account{id: "1"})
		v := s.open()
		s.login(aliceKey, "1")
		s.login(bobKey, "1")
		ids := []*authn.Identity{mustVerify(t, v, aliceKey), mustVerify(t, v, bobKey)}
		odd := "soon"
		switch {
		case s.pg:
			odd = "infinity"
		case s.maria:
			odd = "0000-00-00 00:00:00"
		}
		s.exec(s.bind(`UPDATE django_session SET expire_date = '`+odd+`' WHERE session_key = $1`), aliceKey)
		got := v.Revalidate(t.Context(), ids)
		var refused *authn.Refused
		if got[0].Err == nil || errors.As(got[0].Err, &refused) {
			t.Errorf("the odd row = %v, want an error that is no refusal", got[0].Err)
		}
		if got[1] != (authn.Recheck{}) {
			t.Errorf("the row beside it = %+v, want still good", got[1])
		}
		if _, err := v.Verify(t.Context(), cookie(aliceKey)); err == nil || errors.As(err, &refused) {
			t.Errorf("Verify of the odd row = %v, want an error that is no refusal", err)
		}
	})
}

func TestRevalidateSignedCookies(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "delete")
	s.addUser(account{id: "1"})
	v := s.open(func(o *Options) { o.Engine = EngineSignedCookies; o.CookieAge = time.Hour })
	id := mustVerify(t, v, sign(rawKey(s.keys.CookieKey), s.payload("1"), time.Now()))
	if got := v.Revalidate(t.Context(), []*authn.Identity{id, id}); len(got) != 2 || got[0] != (authn.Recheck{}) || got[1] != (authn.Recheck{}) {
		t.Errorf("Revalidate = %+v, want still good", got)
	}
	v.now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	var refused *authn.Refused
	if got := v.Revalidate(t.Context(), []*authn.Identity{id}); !errors.As(got[0].Err, &refused) || refused.Reason != "expired" {
		t.Errorf("Revalidate = %+v, want expired", got)
	}
}

// 10,000 logins of 5,000 users are two queries, well within the time of a sweep.
func TestRevalidateTenThousand(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.exec(`INSERT INTO auth_user SELECT g, '` + vectorPassword + `', NULL, false, 'u' || g, NULL, false, true FROM generate_series(1, 5000) g`)
	s.exec(`INSERT INTO auth_user_groups SELECT 1, g, 1 FROM generate_series(1, 5000) g`)
	key, until := rawKey(s.keys.SessionKey), time.Now().Add(time.Hour).Truncate(time.Microsecond)
	ids := make([]*authn.Identity, 10000)
	var sessions, data []string
	for i := range ids {
		user, session := fmt.Sprint(i%5000+1), fmt.Sprintf("%032d", i)
		sessions = append(sessions, session)
		data = append(data, signBody(key, base64.RawURLEncoding.EncodeToString([]byte(s.payload(user)))+":1r31eq"))
		ids[i] = &authn.Identity{ID: user, Kind: authn.KindUser, Expires: until, Groups: []string{"Editors"}, Perms: []string{"chat.view_room"}, Ref: authn.Secret(session)}
	}
	s.exec(`INSERT INTO django_session SELECT unnest($1::text[]), unnest($2::text[]), $3`, sessions, data, until)
	s.exec(`ANALYZE`)
	v := s.open()
	start := time.Now()
	for i, got := range v.Revalidate(t.Context(), ids) {
		if got != (authn.Recheck{}) {
			t.Fatalf("identity %d: %+v, want still good", i, got)
		}
	}
	t.Logf("swept 10,000 logins in %s", time.Since(start).Round(time.Millisecond))
}
