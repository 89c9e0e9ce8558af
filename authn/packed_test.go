package authn

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func hexHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestAPackedIdentityComesBackAsItWas(t *testing.T) {
	for name, id := range map[string]*Identity{
		"anonymous":       {Kind: KindAnonymous},
		"a token's user":  {ID: "42", Kind: KindUser, Verifier: "jwt", Carrier: CarrierHeader, Expires: time.Unix(253402300799, 0)},
		"a session":       {ID: "u7", Kind: KindStaff, Verifier: "django:shop", Carrier: CarrierCookie, Ref: "abc", SessionHash: hexHash("abc"), Expires: time.Unix(1700000000, 123456000)},
		"another's hash":  {ID: "u7", Kind: KindUser, Ref: "abc", SessionHash: hexHash("abd")},
		"a hash alone":    {ID: "u7", Kind: KindUser, SessionHash: "no hash"},
		"a ref alone":     {ID: "u7", Kind: KindUser, Ref: Secret(strings.Repeat("r", 5000))},
		"attributes":      {ID: "u7", Kind: KindUser, Attrs: map[string][]string{"team": {"red", ""}, "email": {"a@x.com"}, "none": nil}},
		"rows":            {ID: "u7", Kind: KindUser, Attrs: map[string][]string{"a": {"b"}}, Rows: []Rows{{Query: QueryKey{1, 2, 3}, Values: []string{"7", ""}}, {Query: QueryKey{0, 255}}}},
		"rows alone":      {ID: "u7", Kind: KindUser, Rows: []Rows{{Query: QueryKey{9}, Values: []string{"7"}}}},
		"groups":          {ID: "u7", Kind: KindUser, Groups: []string{"Editors", "", "Ünï"}, Perms: []string{"chat.moderate"}},
		"claims":          {ID: "u7", Kind: KindUser, Claimed: &Patterns{Join: []string{"a"}, Deny: []string{"b.>", "c.*"}}},
		"claims of empty": {ID: "u7", Kind: KindUser, Claimed: &Patterns{}},
	} {
		traits, own := id.AppendTraits(nil), id.AppendOwn(nil)
		if got := Unpack(id.ID, id.Expires, traits, own); !reflect.DeepEqual(got, id) {
			t.Errorf("%s: Unpack = %+v, want %+v", name, got, id)
		}
		for range 20 {
			if again := id.AppendOwn(nil); string(again) != string(own) {
				t.Fatalf("%s: packed again it is %q, was %q", name, again, own)
			}
		}
		if got, want := IsSession(own), id.SessionHash != ""; got != want {
			t.Errorf("%s: IsSession = %v, want %v", name, got, want)
		}
		if id.SessionHash != "" && !OwnsSession(own, id.SessionHash) {
			t.Errorf("%s: OwnsSession of its own hash = false", name)
		}
		for _, other := range []string{"", "no", hexHash("x"), hexHash("abc")[:63] + "?"} {
			if OwnsSession(own, other) {
				t.Errorf("%s: OwnsSession(%q) = true", name, other)
			}
		}
	}
}

func TestOnlyAWholeHashNamesASession(t *testing.T) {
	id := &Identity{ID: "u7", Ref: "abc", SessionHash: hexHash("abc")}
	almost := id.SessionHash[:2*hashStart] + strings.Repeat("0", 64-2*hashStart)
	if OwnsSession(id.AppendOwn(nil), almost) {
		t.Fatal("the first bytes of a hash were enough")
	}
}

func TestTraitsTellIdentitiesApart(t *testing.T) {
	seen := map[string]int{}
	for i, id := range []*Identity{
		{Kind: "a"}, {Kind: "ab"}, {Kind: "a", Verifier: "b"}, {Kind: "a", Carrier: "b"}, {Kind: "a", Groups: []string{"b"}}, {Kind: "a", Perms: []string{"b"}},
		{Kind: "a", Groups: []string{"b", "c"}}, {Kind: "a", Groups: []string{"bc"}}, {Kind: "a", Groups: []string{"b"}, Perms: []string{"c"}},
		{Kind: "a", Claimed: &Patterns{}}, {Kind: "a", Claimed: &Patterns{Join: []string{"b"}}}, {Kind: "a", Claimed: &Patterns{Deny: []string{"b"}}},
	} {
		key := fmt.Sprintf("%x", id.AppendTraits(nil))
		if other, ok := seen[key]; ok {
			t.Errorf("identities %d and %d have the same traits", other, i)
		}
		seen[key] = i
	}
}
