package django

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
	"github.com/gatecast/gatecast/authn/django/servertest"
)

// TestAnotherSpellingIsAnotherUser: where the database finds a key without regard to case, accents or spaces at its end, whoever an identity provider calls
// "ADMIN" or "ádmin" is not the site's admin.
func TestAnotherSpellingIsAnotherUser(t *testing.T) {
	kind := func(idSQL string) siteKind {
		return siteKind{"text", "accounts_member", "member", idSQL, "varchar(60)"}
	}
	for name, open := range map[string]func(t *testing.T) *site{
		"mariadb": func(t *testing.T) *site {
			return newMariaSite(t, servertest.MariaDBShared(t), kind("varchar(60) COLLATE utf8mb4_general_ci"))
		},
		"sqlite":   func(t *testing.T) *site { return newSQLiteSite(t, kind("varchar(60) COLLATE NOCASE"), "wal") },
		"postgres": func(t *testing.T) *site { return newPostgresSite(t, pgtest.Shared(t), kind("")) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			s.addUser(account{id: "admin", superuser: true})
			s.members()
			s.addMember(7, "admin", "owner")
			q := query(t, memberRooms, "room_id")
			rows := s.openRows(q)
			rowsOf(t, rows, q, "admin", "7")
			users, err := OpenUsers(t.Context(), s.options(), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer users.Close()
			v := s.open()
			s.login(aliceKey, "admin")
			if id, err := v.Verify(t.Context(), cookie(aliceKey)); err != nil || id.ID != "admin" || id.Kind != authn.KindSuperuser {
				t.Errorf("admin is %+v, %v", id, err)
			}
			for i, other := range []string{"ADMIN", "ádmin", "admin "} {
				rowsOf(t, rows, q, other)
				for _, keys := range [][]string{{other}, {other, "admin"}} {
					found, err := users.Find(t.Context(), keys)
					if err != nil || found[other] != nil || len(keys) == 2 && found["admin"] == nil {
						t.Errorf("Find(%q) = %+v, %v, want nobody of that name", keys, found, err)
					}
				}
				key := bobKey[:31] + string(rune('a'+i))
				s.login(key, other)
				var refused *authn.Refused
				if id, err := v.Verify(t.Context(), cookie(key)); !errors.As(err, &refused) || refused.Reason != reasonUnknownUser {
					t.Errorf("a session of %q is %+v, %v, want %s", other, id, err, reasonUnknownUser)
				}
			}
		})
	}
}

// TestRowsOfAUserWhoIsNotInTheTable: an SQL rule may be about users that another verifier knows.
func TestRowsOfAUserWhoIsNotInTheTable(t *testing.T) {
	s := newSQLiteSite(t, siteKind{"text", "accounts_member", "member", "varchar(60) COLLATE NOCASE", ""}, "wal")
	s.members()
	s.addMember(7, "guest", nil)
	q := query(t, memberRooms, "room_id")
	rowsOf(t, s.openRows(q), q, "guest", "7")
}
