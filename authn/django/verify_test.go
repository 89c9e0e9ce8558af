package django

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
)

func TestVerifyAcceptsALogin(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.addUser(account{id: "42", groups: []int{1, 2}, permissions: []int{1, 2}})
		s.login(aliceKey, "42")
		v := s.open(func(o *Options) { o.Attributes = []string{"username", "email"}; o.UserPrefix = "shop:" })
		for _, c := range []authn.Credential{cookie(aliceKey), bearer(aliceKey)} {
			id, err := v.Verify(t.Context(), c)
			if err != nil {
				t.Fatalf("Verify by %s: %v", c.Carrier, err)
			}
			slices.Sort(id.Groups)
			slices.Sort(id.Perms)
			want := &authn.Identity{
				ID: "shop:42", Kind: authn.KindUser, SessionHash: hashSession(aliceKey), Expires: id.Expires, Ref: aliceKey,
				Groups: []string{"Editors", `Zoë's "friends", all`}, Perms: []string{"chat.moderate", "chat.view_room"},
				Attrs: map[string][]string{"username": {"name of 42"}},
			}
			if !reflect.DeepEqual(id, want) {
				t.Errorf("Verify by %s = %#v, want %#v", c.Carrier, id, want)
			}
			if left := time.Until(id.Expires); left < 59*time.Minute || left > time.Hour {
				t.Errorf("the login ends in %s, want an hour", left)
			}
			if hash, ok := v.SessionHash(c); !ok || hash != id.SessionHash {
				t.Errorf("SessionHash = %q, %v, want %q", hash, ok, id.SessionHash)
			}
		}
		if err := v.Ping(t.Context()); err != nil {
			t.Errorf("Ping: %v", err)
		}
	})
}

// Every bad login of issue 2 and what else can be wrong with a row.
func TestVerifyRefuses(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.addUser(account{id: "42"})
		s.addUser(account{id: "7", inactive: true, superuser: true, staff: true, groups: []int{1}, permissions: []int{1}})
		now, soon := time.Now(), time.Now().Add(time.Hour)
		key, old := rawKey(s.keys.SessionKey), DeriveKeys(vectorOld)
		good := sign(key, s.payload("42"), now)
		s.login(aliceKey, "42")
		allowAll := []string{modelBackend, allowAllModelBackend}

		for _, test := range []struct {
			name    string
			data    string
			expires time.Time
			reason  string // "" = accepted
			nobody  bool   // ErrNoLogin
			options func(*Options)
		}{
			{name: "a good one", data: good, expires: soon},
			{name: "expired", data: good, expires: now.Add(-time.Second), reason: "expired"},
			{name: "long expired", data: good, expires: now.AddDate(-1, 0, 0), reason: "expired"},
			{name: "nobody in it", data: sign(key, `{}`, now), expires: soon, nobody: true},
			{name: "no backend in it", data: sign(key, s.payload("42", "_auth_user_backend", ""), now), expires: soon, nobody: true},
			{name: "tampered data", data: "x" + good, expires: soon, reason: "bad_signature"},
			{name: "signed by another site", data: sign(rawKey(old.SessionKey), s.payload("42"), now), expires: soon, reason: "bad_signature"},
			{name: "no signature", data: "hello", expires: soon, reason: "bad_signature"},
			{name: "pickled", data: signBody(key, "gAV9lC4:1r31eq"), expires: soon, reason: "malformed"},
			{name: "a list", data: sign(key, `[]`, now), expires: soon, reason: "malformed"},
			{name: "an id with a newline", data: sign(key, s.payload("4\n2"), now), expires: soon, reason: "malformed"},
			{name: "an unknown backend", data: sign(key, s.payload("42", "_auth_user_backend", "evil.Backend"), now), expires: soon, reason: "backend_not_allowed"},
			{name: "a deleted user", data: sign(key, s.payload("43"), now), expires: soon, reason: "unknown_user"},
			{name: "an id that is no number", data: sign(key, s.payload("42 OR 1=1"), now), expires: soon, reason: "unknown_user"},
			{name: "a number beyond the column", data: sign(key, s.payload("9223372036854775807"), now), expires: soon, reason: "unknown_user"},
			{name: "an inactive user", data: sign(key, s.payload("7"), now), expires: soon, reason: "inactive"},
			{name: "an inactive user whose backend allows it", data: sign(key, s.payload("7", "_auth_user_backend", allowAllModelBackend), now), expires: soon, options: func(o *Options) { o.Backends = allowAll }},
			{name: "an inactive user by the plain backend beside one that allows it", data: sign(key, s.payload("7"), now), expires: soon, reason: "inactive", options: func(o *Options) { o.Backends = allowAll }},
			{name: "a changed password", data: sign(key, s.payload("42", "_auth_user_hash", authHash(s.keys.HashKey, "pbkdf2_sha256$old")), now), expires: soon, reason: "hash_mismatch"},
			{name: "no hash", data: sign(key, s.payload("42", "_auth_user_hash", ""), now), expires: soon, reason: "hash_mismatch"},
			{name: "no hash when it is not asked for", data: sign(key, s.payload("42", "_auth_user_hash", ""), now), expires: soon, options: func(o *Options) { o.VerifyHash = false }},
			{name: "all by the old key with fallbacks", data: sign(rawKey(old.SessionKey), s.payload("42", "_auth_user_hash", authHash(old.HashKey, vectorPassword)), now), expires: soon, options: func(o *Options) { o.Fallbacks = []Keys{old} }},
			{name: "hash by the old key without fallbacks", data: sign(key, s.payload("42", "_auth_user_hash", authHash(old.HashKey, vectorPassword)), now), expires: soon, reason: "hash_mismatch"},
		} {
			t.Run(test.name, func(t *testing.T) {
				s.exec(`DELETE FROM django_session WHERE session_key = '` + bobKey + `'`)
				s.addSession(bobKey, test.data, test.expires)
				v := s.open()
				if test.options != nil {
					v = s.open(test.options)
				}
				for _, c := range []authn.Credential{cookie(bobKey), bearer(bobKey)} {
					id, err := v.Verify(t.Context(), c)
					var refused *authn.Refused
					switch {
					case test.nobody:
						if !errors.Is(err, authn.ErrNoLogin) {
							t.Fatalf("Verify = %v, %v, want ErrNoLogin", id, err)
						}
					case test.reason == "":
						if err != nil {
							t.Fatalf("Verify = %v, want an identity", err)
						}
						if id.ID == "7" && (id.Kind != authn.KindUser || id.Perms != nil || len(id.Groups) != 1) {
							t.Errorf("an inactive user has kind %q, perms %q, groups %q, want no rights", id.Kind, id.Perms, id.Groups)
						}
					case !errors.As(err, &refused) || refused.Reason != test.reason || refused.Code != authn.CodeUnauthorized:
						t.Fatalf("Verify = %v, %v, want refusal %q", id, err, test.reason)
					default:
						if soft := c.Carrier == authn.CarrierCookie && test.reason == "expired"; refused.Soft != soft {
							t.Errorf("%s by %s: Soft = %v, want %v", test.reason, c.Carrier, refused.Soft, soft)
						}
						if strings.Contains(err.Error(), bobKey) || strings.Contains(err.Error(), test.data) {
							t.Errorf("Verify = %q, which repeats the session", err)
						}
					}
				}
			})
		}

		t.Run("rows are left alone", func(t *testing.T) {
			var n int
			if err := s.db.QueryRow(`SELECT count(*) FROM django_session`).Scan(&n); err != nil || n != 2 {
				t.Errorf("%d sessions, %v, want 2", n, err)
			}
		})
	})
}

func TestVerifyByShape(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "delete")
	v := s.open()
	s.db.Close() // no shape below may reach the database, and an unknown key may
	long := strings.Repeat("a", 10<<10)
	for _, test := range []struct {
		name string
		c    authn.Credential
		want string // reason, or "not mine"
	}{
		{"no cookies at all", authn.Credential{Carrier: authn.CarrierCookie}, "not mine"},
		{"an empty cookie", cookie(""), "not mine"},
		{"a short cookie", cookie("abc"), "unknown_session"},
		{"a cookie with a quote", cookie("' OR ''='' -- aaaaaaaaaaaaaaaaaa"), "unknown_session"},
		{"a cookie in capitals", cookie(strings.ToUpper(aliceKey)), "unknown_session"},
		{"a signed cookie of another engine", cookie(vectorDBLogin), "unknown_session"},
		{"a cookie of 41 characters", cookie(strings.Repeat("a", 41)), "unknown_session"},
		{"a cookie of 10 KB", cookie(long), "unknown_session"},
		{"a cookie of raw bytes", cookie("\x00\xff\r\nabcdefgh"), "unknown_session"},
		{"an unknown key", cookie(bobKey), "unknown_session"},
		{"an unknown key of a custom store", cookie("abcdefgh"), "unknown_session"},
		{"an unknown key as token", bearer(bobKey), "unknown_session"},
		{"a short token", bearer("abcdefgh"), "not mine"},
		{"a JWT", bearer("eyJhbGciOiJIUzI1NiJ9.e30.abc"), "not mine"},
		{"a DRF token", bearer(strings.Repeat("0123456789", 4)), "not mine"},
		{"an empty token", bearer(""), "not mine"},
		{"a token of 10 KB", bearer(long), "not mine"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := v.Verify(t.Context(), test.c)
			var refused *authn.Refused
			switch {
			case test.want == "not mine":
				if !errors.Is(err, authn.ErrNotMine) {
					t.Fatalf("Verify = %v, want ErrNotMine", err)
				}
			case !errors.As(err, &refused) || refused.Reason != test.want:
				t.Fatalf("Verify = %v, want refusal %q", err, test.want)
			default:
				if soft := test.c.Carrier == authn.CarrierCookie; refused.Soft != soft {
					t.Errorf("Soft = %v, want %v", refused.Soft, soft)
				}
			}
		})
	}
}

func TestSignedCookies(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.exec(`DROP TABLE django_session`) // the engine has no table
		s.addUser(account{id: "42", staff: true})
		v := s.open(func(o *Options) { o.Engine, o.SessionKey, o.CookieAge = EngineSignedCookies, "", time.Hour })
		key := rawKey(s.keys.CookieKey)
		at := time.Now().Truncate(time.Second)
		good := sign(key, s.payload("42"), at)

		for _, c := range []authn.Credential{cookie(good), bearer(good)} {
			id, err := v.Verify(t.Context(), c)
			if err != nil {
				t.Fatalf("Verify by %s: %v", c.Carrier, err)
			}
			if id.ID != "42" || id.Kind != authn.KindStaff || id.SessionHash != hashSession(good) || !id.Expires.Equal(at.Add(time.Hour)) {
				t.Errorf("Verify by %s = %#v", c.Carrier, id)
			}
		}
		for _, test := range []struct {
			name string
			c    authn.Credential
			want string
			soft bool
		}{
			{"too old", cookie(sign(key, s.payload("42"), at.Add(-2*time.Hour))), "expired", true},
			{"too old a token", bearer(sign(key, s.payload("42"), at.Add(-2*time.Hour))), "expired", false},
			{"tampered", cookie("x" + good), "bad_signature", false},
			{"signed as a row", cookie(sign(rawKey(s.keys.SessionKey), s.payload("42"), at)), "bad_signature", false},
			{"a key of engine db", cookie(aliceKey), "unknown_session", true},
			{"garbage", cookie("a:b"), "unknown_session", true},
			{"garbage with colons", cookie("a:b:c"), "bad_signature", false},
			{"10 KB", cookie(strings.Repeat("a", 10<<10) + good), "unknown_session", true},
			{"a JWT", bearer("eyJhbGciOiJIUzI1NiJ9.e30.abc"), "not mine", false},
			{"a deleted user", cookie(sign(key, s.payload("1"), at)), "unknown_user", false},
		} {
			_, err := v.Verify(t.Context(), test.c)
			var refused *authn.Refused
			if test.want == "not mine" {
				if !errors.Is(err, authn.ErrNotMine) {
					t.Errorf("%s: Verify = %v, want ErrNotMine", test.name, err)
				}
			} else if !errors.As(err, &refused) || refused.Reason != test.want || refused.Soft != test.soft {
				t.Errorf("%s: Verify = %v, want refusal %q, soft %v", test.name, err, test.want, test.soft)
			}
		}
		if _, err := v.Verify(t.Context(), cookie(sign(key, `{"cart":[1,2,3]}`, at))); !errors.Is(err, authn.ErrNoLogin) {
			t.Errorf("a cookie without a user: Verify = %v, want ErrNoLogin", err)
		}
		if got := v.TombstoneTTL(); got != time.Hour {
			t.Errorf("TombstoneTTL = %s, want the cookie's age", got)
		}
	})
}

// SQLite has no zones: a site with USE_TZ = False writes its own wall clock.
func TestSQLiteTimesInTheSitesZone(t *testing.T) {
	for _, zone := range []string{"America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "UTC"} {
		t.Run(zone, func(t *testing.T) {
			s := newSQLiteSite(t, plainSite, "delete")
			s.zone, _ = time.LoadLocation(zone)
			s.addUser(account{id: "42"})
			data, now := sign(rawKey(s.keys.SessionKey), s.payload("42"), time.Now()), time.Now()
			s.addSession(aliceKey, data, now.Add(time.Minute))
			s.addSession(bobKey, data, now.Add(-time.Minute))
			v := s.open(func(o *Options) { o.UseTZ, o.TimeZone = false, zone })
			id, err := v.Verify(t.Context(), cookie(aliceKey))
			if err != nil || time.Until(id.Expires) > time.Minute || time.Until(id.Expires) < 50*time.Second {
				t.Errorf("a session of one minute: %+v, %v", id, err)
			}
			var refused *authn.Refused
			if _, err := v.Verify(t.Context(), cookie(bobKey)); !errors.As(err, &refused) || refused.Reason != "expired" {
				t.Errorf("a session that ended a minute ago: %v, want expired", err)
			}
		})
	}
}

func TestExpiryIsStrict(t *testing.T) {
	s := newSQLiteSite(t, plainSite, "delete")
	s.addUser(account{id: "42"})
	at := time.Date(2030, 1, 2, 3, 4, 5, 123456000, time.UTC)
	s.addSession(aliceKey, sign(rawKey(s.keys.SessionKey), s.payload("42"), at), at)
	v := s.open()
	for _, test := range []struct {
		now  time.Time
		good bool
	}{{at.Add(-time.Microsecond), true}, {at, false}, {at.Add(time.Microsecond), false}} {
		v.now = func() time.Time { return test.now }
		if _, err := v.Verify(t.Context(), cookie(aliceKey)); (err == nil) != test.good {
			t.Errorf("at %s: Verify = %v, want good %v", test.now, err, test.good)
		}
	}
}

func TestCustomUserModels(t *testing.T) {
	const uuid = "53b6eb2b-4fbd-4a4d-9d4c-0b5f0a1f7c11"
	for _, test := range []struct {
		kind siteKind
		id   string
	}{
		{siteKind{"a member with a big id", "accounts_member", "member", "bigint", "bigint"}, "9007199254740993"},
		{siteKind{"a member with a UUID", "accounts_member", "member", "char(32)", "uuid"}, uuid},
		{siteKind{"a member with a text id", "my_app_person", "person", "varchar(64)", "varchar(64)"}, "Zoë.O'Neil@x.com"},
	} {
		t.Run(test.kind.name, func(t *testing.T) {
			onEveryDatabase(t, test.kind, func(t *testing.T, s *site) {
				s.addUser(account{id: test.id, groups: []int{1}, permissions: []int{1}, superuser: true})
				s.login(aliceKey, test.id)
				v := s.open()
				id, err := v.Verify(t.Context(), cookie(aliceKey))
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(id.Perms)
				if id.ID != test.id || id.Kind != authn.KindSuperuser || !slices.Equal(id.Groups, []string{"Editors"}) || !slices.Equal(id.Perms, []string{"chat.moderate", "chat.view_room"}) {
					t.Errorf("Verify = %#v", id)
				}
				if got := v.Revalidate(t.Context(), []*authn.Identity{id}); len(got) != 1 || got[0].Err != nil || got[0].Identity != nil {
					t.Errorf("Revalidate = %+v, want still good", got)
				}
			})
		})
	}
}

func TestUserModelWithoutPermissionsMixin(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.exec(`DROP TABLE auth_user_groups`)
		s.exec(`DROP TABLE auth_user_user_permissions`)
		s.exec(`ALTER TABLE auth_user DROP COLUMN is_superuser`)
		s.exec(`ALTER TABLE auth_user DROP COLUMN is_staff`)
		s.exec(`ALTER TABLE auth_user DROP COLUMN is_active`)
		s.exec(s.bind(`INSERT INTO auth_user (id, password, username) VALUES (42, $1, 'x')`), vectorPassword)
		s.login(aliceKey, "42")
		v := s.open()
		id, err := v.Verify(t.Context(), cookie(aliceKey))
		if err != nil || id.Kind != authn.KindUser || id.Groups != nil || id.Perms != nil {
			t.Errorf("Verify = %#v, %v, want a plain user", id, err)
		}
	})
}
