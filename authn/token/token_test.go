package token

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
	"github.com/gatecast/gatecast/authn/django"
)

func TestConformance(t *testing.T) {
	onEveryDatabase(t, "integer", func(t *testing.T, s *site) {
		s.addUser("42", "editor")
		s.addUser("7", "inactive")
		s.addDRF(aliceToken, "42")
		s.addDRF(bobToken, "7")
		s.addKnox(knoxToken, "42", time.Now().Add(time.Hour))
		expired := strings.Repeat("e", 64)
		s.addKnox(expired, "42", time.Now().Add(-time.Second))
		v := s.open(t)
		authntest.Run(t, func(t *testing.T) authntest.Harness {
			return authntest.Harness{
				Verifier: v,
				Good: []authntest.Good{
					{Credential: authntest.WithBearer(aliceToken), ID: "42"},
					{Credential: authn.Credential{Carrier: authn.CarrierHeader, Scheme: "token", Value: knoxToken}, ID: "42"},
					{Credential: authn.Credential{Carrier: authn.CarrierMessage, Value: knoxToken}, ID: "42"},
				},
				Bad: map[string]authn.Credential{
					"unknown": authntest.WithBearer(strings.Repeat("0", 40)), "unknown knox": authntest.WithBearer(strings.Repeat("0", 64)),
					"inactive": authntest.WithBearer(bobToken), "expired": authntest.WithBearer(expired),
				},
				NotMine: []authn.Credential{authntest.WithCookie("token", aliceToken), authntest.WithBearer(strings.ToUpper(aliceToken)), authntest.WithBearer(knoxDigest)},
				Secrets: []string{knoxDigest},
				Blocks:  true,
				Takes: func(c authn.Credential) bool {
					return c.Carrier != authn.CarrierCookie && (isHex(c.Value, 40) || isHex(c.Value, 64))
				},
			}
		})
	})
}

func verify(t *testing.T, v *Verifier, token string) (*authn.Identity, string) {
	t.Helper()
	id, err := v.Verify(t.Context(), authntest.WithBearer(token))
	var refused *authn.Refused
	switch {
	case err == nil:
		return id, "accepted"
	case errors.As(err, &refused):
		return nil, refused.Reason
	case errors.Is(err, authn.ErrNotMine):
		return nil, "not mine"
	}
	t.Fatalf("Verify: %v", err)
	return nil, ""
}

func TestAnIdentityIsThatOfTheUser(t *testing.T) {
	onEveryDatabase(t, "integer", func(t *testing.T, s *site) {
		s.addUser("42", "editor", "staff")
		s.addUser("43", "superuser")
		s.addDRF(aliceToken, "42")
		expiry := time.Now().Add(time.Hour).Truncate(time.Second)
		s.addKnox(knoxToken, "43", expiry)
		v := s.open(t)
		id, got := verify(t, v, aliceToken)
		if got != "accepted" || id.ID != "42" || id.Kind != authn.KindStaff || !slices.Equal(id.Groups, []string{"Editors"}) || !slices.Equal(id.Perms, []string{"chat.moderate"}) ||
			!slices.Equal(id.Attrs["email"], []string{"u@example.com"}) || !id.Expires.IsZero() || id.SessionHash != "" {
			t.Errorf("DRF: %s, %+v", got, id)
		}
		id, got = verify(t, v, knoxToken)
		if got != "accepted" || id.ID != "43" || id.Kind != authn.KindSuperuser || !id.Expires.Equal(expiry) {
			t.Errorf("knox: %s, %+v, want user 43 until %v", got, id, expiry)
		}
	})
}

// A UUID is spelled with hyphens in sessions, and without in SQLite's tables: one user must have one id.
func TestUUIDsAreSpelledAsInSessions(t *testing.T) {
	onEveryDatabase(t, "uuid", func(t *testing.T, s *site) {
		const id = "53b6eb2b-4fbd-4c2e-9a57-0c6b2f4a1d10"
		stored := id
		if !s.pg {
			stored = strings.ReplaceAll(id, "-", "")
		}
		s.addUser(stored)
		s.addDRF(aliceToken, stored)
		v := s.open(t)
		if got, how := verify(t, v, aliceToken); how != "accepted" || got.ID != id {
			t.Fatalf("%s, %+v, want user %s", how, got, id)
		}
		got, _ := verify(t, v, aliceToken)
		if answers := v.Revalidate(t.Context(), []*authn.Identity{got}); answers[0] != (authn.Recheck{}) {
			t.Errorf("a sweep says %+v, want nothing changed", answers[0])
		}
	})
}

func TestKindsOfKnox(t *testing.T) {
	onEveryDatabase(t, "integer", func(t *testing.T, s *site) {
		s.addUser("42")
		s.addUser("43")
		raw, _ := hex.DecodeString(knoxToken)
		s.addDigest(knoxToken[:15], knoxDigest, "42", time.Time{})
		s.addDigest(knoxToken[:15], strings.Repeat("0", 128), "43", time.Time{}) // another with the same first characters
		s.addDigest(knoxToken[:8], hex.EncodeToString(hashes["sha512"](raw)), "43", time.Time{})
		prefixed, sha3 := "myapp_"+knoxToken, strings.Repeat("ab", 32)
		s.addKnox(prefixed, "42", time.Time{})
		s.addDigest(sha3[:15], hex.EncodeToString(hashes["sha3_512"]([]byte(sha3))), "42", time.Time{})

		five := s.open(t)
		if id, how := verify(t, five, knoxToken); how != "accepted" || id.ID != "42" {
			t.Errorf("knox 5: %s %v", how, id)
		}
		for token, want := range map[string]string{sha3: "unknown_token", prefixed: "not mine", knoxToken[:62]: "not mine"} {
			if _, how := verify(t, five, token); how != want {
				t.Errorf("knox 5, %.20s…: %s, want %s", token, how, want)
			}
		}
		four := s.open(t, func(o *Options) { o.KnoxVersion = 4 })
		if id, how := verify(t, four, knoxToken); how != "accepted" || id.ID != "43" {
			t.Errorf("knox 4: %s %v", how, id)
		}
		named := s.open(t, func(o *Options) { o.KnoxPrefix = "myapp_" })
		if id, how := verify(t, named, prefixed); how != "accepted" || id.ID != "42" {
			t.Errorf("knox with a prefix: %s %v", how, id)
		}
		if _, how := verify(t, named, knoxToken); how != "not mine" {
			t.Errorf("knox with a prefix, token without: %s", how)
		}
		if id, how := verify(t, s.open(t, func(o *Options) { o.KnoxHash = "sha3_512" }), sha3); how != "accepted" || id.ID != "42" {
			t.Errorf("knox with SHA-3: %s %v", how, id)
		}
	})
}

func TestASweepEndsWhatIsDeleted(t *testing.T) {
	onEveryDatabase(t, "integer", func(t *testing.T, s *site) {
		for _, id := range []string{"1", "2", "3", "4", "5"} {
			s.addUser(id)
			s.addDRF(strings.Repeat(id, 40), id)
			s.addKnox(strings.Repeat(id, 64), id, time.Now().Add(time.Hour))
		}
		v := s.open(t)
		var ids []*authn.Identity
		for _, n := range []int{40, 64} {
			for _, user := range []string{"1", "2", "3", "4", "5"} {
				id, how := verify(t, v, strings.Repeat(user, n))
				if how != "accepted" {
					t.Fatal(how)
				}
				ids = append(ids, id)
			}
		}
		for i, a := range v.Revalidate(t.Context(), ids) {
			if a != (authn.Recheck{}) {
				t.Errorf("%d: %+v, want nothing changed", i, a)
			}
		}
		s.exec(`DELETE FROM authtoken_token WHERE user_id = 2`)
		s.exec(`DELETE FROM knox_authtoken WHERE user_id = 3`)
		s.exec(`UPDATE auth_user SET is_active = $1 WHERE id = 4`, false)
		s.exec(`INSERT INTO auth_user_groups VALUES (1, 5, 1)`)
		s.exec(`UPDATE knox_authtoken SET user_id = 1 WHERE user_id = 2`)
		later := time.Now().Add(2 * time.Hour).Truncate(time.Second)
		s.exec(`DELETE FROM knox_authtoken WHERE token_key = '111111111111111'`)
		s.addKnox(strings.Repeat("1", 64), "1", later) // AUTO_REFRESH
		want := []string{"", "unknown_token", "", "inactive", "changed", "changed", "other_user", "unknown_token", "inactive", "changed"}
		answers := v.Revalidate(t.Context(), ids)
		for i, a := range answers {
			got := ""
			var refused *authn.Refused
			if errors.As(a.Err, &refused) {
				got = refused.Reason
			} else if a.Err != nil {
				got = a.Err.Error()
			} else if a.Identity != nil {
				got = "changed"
			}
			if got != want[i] {
				t.Errorf("login %d: %q, want %q", i, got, want[i])
			}
		}
		if now := answers[5].Identity; now == nil || !now.Expires.Equal(later) {
			t.Errorf("a renewed token: %+v, want it to end at %v", now, later)
		}
		if now := answers[4].Identity; now == nil || !slices.Equal(now.Groups, []string{"Editors"}) || now.Ref != ids[4].Ref {
			t.Errorf("a user who joined a group: %+v", now)
		}
	})
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	onEveryDatabase(t, "integer", func(t *testing.T, s *site) {
		s.exec(`DROP TABLE authtoken_token`)
		s.exec(`ALTER TABLE knox_authtoken RENAME COLUMN expiry TO expires`)
		d := django.DefaultOptions()
		d.Database = s.dsn
		for kind, want := range map[string]string{KindDRF: `there is no table authtoken_token: add "rest_framework.authtoken"`, KindKnox: "table knox_authtoken has no column expiry"} {
			o := DefaultOptions()
			o.Kinds = []string{kind}
			v, err := Open(t.Context(), o, d, slog.New(slog.DiscardHandler))
			if err == nil {
				v.Close()
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Open of %s = %v, want %q", kind, err, want)
			}
		}
	})
}

func TestATableThatGoesAwayIsNoRefusal(t *testing.T) {
	onEveryDatabase(t, "integer", func(t *testing.T, s *site) {
		s.addUser("42")
		s.addDRF(aliceToken, "42")
		v := s.open(t)
		id, how := verify(t, v, aliceToken)
		if how != "accepted" {
			t.Fatal(how)
		}
		s.exec(`ALTER TABLE authtoken_token RENAME TO elsewhere`)
		if _, err := v.Verify(t.Context(), authntest.WithBearer(aliceToken)); err == nil || isRefusal(err) {
			t.Errorf("Verify without the table = %v, want an error that is no answer", err)
		}
		if a := v.Revalidate(t.Context(), []*authn.Identity{id}); a[0].Err == nil || isRefusal(a[0].Err) {
			t.Errorf("Revalidate without the table = %+v, want could not tell", a[0])
		}
		if v.Ping(t.Context()) == nil {
			t.Error("Ping without the table = nil")
		}
		s.exec(`ALTER TABLE elsewhere RENAME TO authtoken_token`)
		if _, how := verify(t, v, aliceToken); how != "accepted" {
			t.Errorf("with the table again: %s", how)
		}
		if err := v.Ping(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func isRefusal(err error) bool {
	var refused *authn.Refused
	return errors.As(err, &refused) || errors.Is(err, authn.ErrNotMine) || errors.Is(err, authn.ErrNoLogin)
}

func TestOptionsAreChecked(t *testing.T) {
	good := DefaultOptions()
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Options){
		`kinds has "jwt"`:         func(o *Options) { o.Kinds = []string{"jwt"} },
		`kinds has "drf" twice`:   func(o *Options) { o.Kinds = []string{"drf", "drf"} },
		"drf_table is":            func(o *Options) { o.DRFTable = `a"b` },
		"knox_table is":           func(o *Options) { o.KnoxTable = "" },
		"knox_version is 3":       func(o *Options) { o.KnoxVersion = 3 },
		"knox_prefix: want":       func(o *Options) { o.KnoxPrefix = "a b" },
		"knox_prefix: knox 4 has": func(o *Options) { o.KnoxVersion, o.KnoxPrefix = 4, "x" },
		"knox_length is 33":       func(o *Options) { o.KnoxLength = 33 },
		`knox_hash is "md5"`:      func(o *Options) { o.KnoxHash = "md5" },
	} {
		o := DefaultOptions()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "authn.token."+want) {
			t.Errorf("Validate = %v, want it to say %q", err, want)
		}
	}
}

// What is no token of a kind never reaches the database, and what is finds its row by characters of its own.
func FuzzParse(f *testing.F) {
	for _, s := range append(authntest.Hostile(), aliceToken, knoxToken, "myapp_"+knoxToken, strings.ToUpper(knoxToken)) {
		f.Add(s)
	}
	o := DefaultOptions()
	four := o
	four.KnoxVersion = 4
	prefixed := o
	prefixed.KnoxPrefix = "myapp_"
	kinds := []kind{newDRF(&o), newKnox(&o), newKnox(&four), newKnox(&prefixed)}
	f.Fuzz(func(t *testing.T, token string) {
		for i, k := range kinds {
			lookup, value, ok := k.parse(token)
			if !ok {
				if lookup != "" || value != "" {
					t.Errorf("kind %d: %q is none, and has a lookup", i, token)
				}
				continue
			}
			if !strings.HasPrefix(token, lookup) || !isHex(value, len(value)) || len(value) != 40 && len(value) != 128 {
				t.Errorf("kind %d: %q is looked for by %q and compared with %q", i, token, lookup, value)
			}
			r := ref{kind: i, lookup: lookup, value: value}
			if got := parseRef(r.secret()); got != r {
				t.Errorf("a ref comes back as %+v, want %+v", got, r)
			}
		}
	})
}
