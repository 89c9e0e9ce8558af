package gatecast

import "testing"

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
