package token

import (
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/authn/authntest"
	"github.com/gatecast/gatecast/authn/django"
)

// A user with the rights that the documentation names, and no more: those of the users' tables and of the tokens', none to the sessions.
func TestDocumentedRights(t *testing.T) {
	t.Run("postgres", func(t *testing.T) { rights(t, newPostgresSite(t, "integer"), "LOGIN", 0, 3) })
	t.Run("mariadb", func(t *testing.T) { rights(t, newMariaSite(t, "integer"), "IDENTIFIED BY 'hunter2'", 1, 4) })
}

// rights takes how a user is made, and the numbers of the documented statements for users and tokens.
func rights(t *testing.T, s *site, made string, users, tokens int) {
	s.addUser("1", "editor")
	s.addDRF(aliceToken, "1")
	s.addKnox(knoxToken, "1", time.Now().Add(time.Hour))
	s.exec(`CREATE USER tokens ` + made)
	for _, grant := range documented(t, users) {
		if !strings.Contains(grant, "django_session") {
			s.exec(strings.Replace(grant, " TO gatecast", " TO tokens", 1))
		}
	}
	u, err := url.Parse(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("tokens", "hunter2")
	o, d := DefaultOptions(), django.DefaultOptions()
	o.Kinds, d.Database = []string{KindDRF, KindKnox}, u.String()
	if v, err := Open(t.Context(), o, d, slog.New(slog.DiscardHandler)); err == nil || strings.Contains(err.Error(), "hunter2") {
		if err == nil {
			v.Close()
		}
		t.Errorf("Open without a right to the tokens = %v, want an error and no password", err)
	}
	for _, grant := range documented(t, tokens) {
		s.exec(strings.Replace(grant, " TO gatecast", " TO tokens", 1))
	}
	v, err := Open(t.Context(), o, d, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var ids []*authn.Identity
	for _, token := range []string{aliceToken, knoxToken} {
		id, err := v.Verify(t.Context(), authntest.WithBearer(token))
		if err != nil || id.ID != "1" || len(id.Groups) != 1 {
			t.Fatalf("Verify = %v, %v", id, err)
		}
		ids = append(ids, id)
	}
	for _, r := range v.Revalidate(t.Context(), ids) {
		if r != (authn.Recheck{}) {
			t.Errorf("Revalidate = %+v, want still good", r)
		}
	}
	var refused *authn.Refused
	if _, err := v.Verify(t.Context(), authntest.WithBearer(bobToken)); !errors.As(err, &refused) {
		t.Errorf("Verify of nobody's token = %v, want a refusal", err)
	}
}

// documented are the statements of the n-th SQL block of the documentation.
func documented(t *testing.T, n int) (grants []string) {
	t.Helper()
	text, err := os.ReadFile("../../server/docs/django.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```sql\n")[1:]
	if n >= len(blocks) {
		t.Fatalf("%d SQL blocks in django.md, want more than %d", len(blocks), n)
	}
	block, _, _ := strings.Cut(blocks[n], "```")
	for grant := range strings.SplitSeq(block, ";") {
		if grant = strings.TrimSpace(grant); grant != "" {
			grants = append(grants, grant)
		}
	}
	return grants
}
