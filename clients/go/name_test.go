package gatecast

import (
	"encoding/json"
	"os"
	"testing"
)

func TestGroupName(t *testing.T) {
	for _, tt := range []struct{ kind, value, want string }{
		{"user", "42", "user.42"},
		{"user", "a.b@x.com", "user.a%2Eb%40x%2Ecom"},
		{"user", "Zoë *>%", "user.Zo%C3%AB%20%2A%3E%25"},
		{"user", "under_score-dash", "user.under_score-dash"},
	} {
		if got := GroupName(tt.kind, tt.value); got != tt.want {
			t.Errorf("GroupName(%q, %q) = %q, want %q", tt.kind, tt.value, got, tt.want)
		}
	}
}

// The vectors of names.json are common to all client libraries.
func TestGroupNameVectors(t *testing.T) {
	text, err := os.ReadFile("../conformance/names.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Users []struct{ ID, Group string }
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors.Users) == 0 {
		t.Fatalf("names.json has %d users (%v)", len(vectors.Users), err)
	}
	for _, v := range vectors.Users {
		if got := GroupName("user", v.ID); got != v.Group {
			t.Errorf("GroupName(user, %q) = %q, want %q", v.ID, got, v.Group)
		}
	}
}
