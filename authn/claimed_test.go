package authn

import (
	"reflect"
	"strings"
	"testing"
)

func TestClaimedGrants(t *testing.T) {
	for text, want := range map[string]*Patterns{
		"":     nil,
		"null": nil,
		"{}":   {},
		`{"join":["room.7"],"subscribe":["chat.>"],"publish":["chat.*"],"deny":["chat.private.>"]}`: {Join: []string{"room.7"}, Subscribe: []string{"chat.>"}, Publish: []string{"chat.*"}, Deny: []string{"chat.private.>"}},
		` {"deny": ["a"], "join": null} `: {Deny: []string{"a"}},
	} {
		if got, err := ParseClaimed([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseClaimed(%s) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`{"denies":["a"]}`:     "want an object of lists",
		`{"deny":"a"}`:         "want an object of lists",
		`["a"]`:                "want an object of lists",
		`7`:                    "want an object of lists",
		`{"deny":["a"]`:        "want an object of lists",
		`{} {}`:                "something behind",
		`{"subscribe":["a*"]}`: `subscribe "a*"`,
		`{"publish":["a b"]}`:  `publish "a b"`,
		`{"deny":[""]}`:        `deny ""`,
		`{"join":["a.>"]}`:     `join "a.>"`,
		`{"deny":["a"` + strings.Repeat(`,"a"`, maxClaimed) + `]}`: "257 patterns are more than 256",
	} {
		if got, err := ParseClaimed([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseClaimed(%.60s) = %+v, %v, want %q", text, got, err, want)
		}
	}
}
