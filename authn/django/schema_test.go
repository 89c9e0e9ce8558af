package django

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/django/pgtest"
)

func TestMissingTablesAreWarnedAbout(t *testing.T) {
	for _, test := range []struct {
		name, table string
		want, not   string
	}{
		{"a model without PermissionsMixin", "auth_user_groups", `\"group:\" and \"perm:\"`, ""},
		{"no groups at all", "auth_group", `\"group:\" and \"perm:\"`, ""},
		{"no permissions", "auth_user_user_permissions", `to \"perm:\" never match`, "group:"},
		{"no content types", "django_content_type", `to \"perm:\" never match`, "group:"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSQLiteSite(t, plainSite, "delete")
			s.exec(`DROP TABLE ` + test.table)
			var out bytes.Buffer
			v, err := Open(t.Context(), s.options(), slog.New(slog.NewTextHandler(&out, nil)))
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			got := out.String()
			for _, want := range []string{"level=WARN", test.want, "is not denied", "missing=[" + test.table + "]"} {
				if !strings.Contains(got, want) {
					t.Errorf("log = %s, want it to hold %q", got, want)
				}
			}
			if test.not != "" && strings.Contains(got, test.not) {
				t.Errorf("log = %s, which holds %q", got, test.not)
			}
		})
	}
}

// A migration under a node that runs: the first login that meets it is unavailable, the next ones see the new tables.
func TestTablesAreLookedAtAgainAfterAMigration(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.addUser(account{id: "42", staff: true, groups: []int{1}})
		s.login(aliceKey, "42")
		v := s.open()
		kind := func() string {
			id, err := v.Verify(t.Context(), cookie(aliceKey))
			var refused *authn.Refused
			switch {
			case errors.As(err, &refused):
				t.Fatalf("Verify = %v, want no refusal", err)
			case err != nil:
				return "unavailable"
			case !slices.Equal(id.Groups, []string{"Editors"}):
				t.Fatalf("groups are %q, want Editors", id.Groups)
			}
			return id.Kind
		}
		if got := kind(); got != authn.KindStaff {
			t.Fatalf("before: %s", got)
		}
		s.exec(`ALTER TABLE auth_user DROP COLUMN is_staff`)
		if got := kind(); got != "unavailable" {
			t.Errorf("with the old query: %s, want unavailable", got)
		}
		if got := kind(); got != authn.KindUser {
			t.Errorf("with a new one: %s, want user", got)
		}
		// Without the tables of groups nothing of theirs is denied, so a site that had them waits for them.
		s.exec(`ALTER TABLE auth_user_groups RENAME TO elsewhere`)
		for range 3 {
			if got := kind(); got != "unavailable" {
				t.Fatalf("without groups: %s, want unavailable", got)
			}
		}
		s.exec(`ALTER TABLE elsewhere RENAME TO auth_user_groups`)
		waitFor(t, func() bool { return kind() == authn.KindUser })
	})
}

// user_foreign_key names the column of one of the two tables; the other's is found.
func TestUserForeignKeyOfOneTable(t *testing.T) {
	onEveryDatabase(t, plainSite, func(t *testing.T, s *site) {
		s.addUser(account{id: "42", groups: []int{1}, permissions: []int{1}})
		s.login(aliceKey, "42")
		s.exec(`ALTER TABLE auth_user_groups RENAME COLUMN user_id TO who`)
		v := s.open(func(o *Options) { o.UserForeignKey = "who" })
		id, err := v.Verify(t.Context(), cookie(aliceKey))
		if err != nil || len(id.Groups) != 1 || len(id.Perms) != 2 {
			t.Errorf("Verify = %#v, %v, want a group and two permissions", id, err)
		}
	})
}

// OPTIONS = {"options": "-c search_path=site"} of DATABASES, as gatecast_keys writes it.
func TestPostgresSearchPath(t *testing.T) {
	s := newPostgresSite(t, pgtest.Shared(t), plainSite)
	s.addUser(account{id: "42", groups: []int{1}, permissions: []int{1}})
	s.login(aliceKey, "42")
	s.exec(`CREATE SCHEMA site`)
	for _, table := range []string{"django_session", "auth_user", "auth_user_groups", "auth_user_user_permissions", "auth_group", "auth_permission", "auth_group_permissions", "django_content_type"} {
		s.exec(`ALTER TABLE ` + table + ` SET SCHEMA site`)
	}
	separator := "?"
	if strings.Contains(s.dsn, "?") {
		separator = "&"
	}
	v := s.open(func(o *Options) { o.Database += separator + "options=-c%20search_path%3Dsite" })
	id, err := v.Verify(t.Context(), cookie(aliceKey))
	if err != nil || len(id.Groups) != 1 || len(id.Perms) != 2 {
		t.Errorf("Verify = %#v, %v", id, err)
	}
}

func TestPostgresAddressIsNotRepeated(t *testing.T) {
	for _, address := range []string{
		"POSTGRES://u:hunter2@h/n?connect_timeout=x",
		"postgresql://u:hunter2@h:1,2,3/n",
		"postgres://h/n?password=hunter2&sslmode=x",
		"postgres://h/n?password=hunter2&sslrootcert=/nowhere",
	} {
		o := vectorOptions()
		o.Database = address
		if _, err := Open(t.Context(), o, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%s) = %v, want an error without the password", address, err)
		}
	}
}
