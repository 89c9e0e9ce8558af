package django

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/gatecast/gatecast/authn"
)

// The database has the last word: an attribute that is NULL now is gone, and what the credential says of groups is nothing.
func TestAUserCompletesALogin(t *testing.T) {
	u := &Users{opts: Options{Attributes: []string{"team", "plan"}}}
	login := &authn.Identity{ID: "42", Groups: []string{"Editors"}, Ref: "ref", Attrs: map[string][]string{"team": {"old"}, "plan": {"pro"}, "room": {"7"}}}
	user := &User{Active: true, Identity: authn.Identity{ID: "shop-42", Kind: authn.KindStaff, Perms: []string{"chat.moderate"}, Attrs: map[string][]string{"plan": {"basic"}}}}
	id, err := u.Complete(login, user)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string][]string{"plan": {"basic"}, "room": {"7"}}; !maps.EqualFunc(id.Attrs, want, slices.Equal) {
		t.Errorf("attributes are %v, want %v", id.Attrs, want)
	}
	if id.ID != "shop-42" || id.Kind != authn.KindStaff || id.Groups != nil || !slices.Equal(id.Perms, user.Identity.Perms) || id.Ref != "ref" {
		t.Errorf("Complete = %+v", id)
	}
	if len(login.Attrs) != 3 || login.ID != "42" || len(login.Groups) != 1 {
		t.Errorf("the login itself was changed: %+v", login)
	}
	for want, user := range map[string]*User{"unknown_user": nil, "inactive": {Identity: user.Identity}} {
		var refused *authn.Refused
		if id, err := u.Complete(login, user); id != nil || !errors.As(err, &refused) || refused.Reason != want {
			t.Errorf("Complete = %v, %v; want %s", id, err, want)
		}
	}
}
