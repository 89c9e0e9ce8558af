package subject

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/gsl"
)

func TestCheckPattern(t *testing.T) {
	for _, p := range []string{"chat.7", "chat.*", "chat.>", ">", "*", "*.*.>", "a..b", ".a", "räume.*", "a.*.b"} {
		if err := CheckPattern(p); err != nil {
			t.Errorf("CheckPattern(%q) = %v, want nil", p, err)
		}
	}
	for p, want := range map[string]string{
		"":                              "is empty",
		"a b.*":                         "space",
		"a*":                            "whole token",
		"a.b>":                          "whole token",
		"**":                            "whole token",
		"a.>.b":                         "before its end",
		"a..*":                          "empty token",
		".>":                            "empty token",
		"*.":                            "empty token",
		"\xff.*":                        "not UTF-8",
		strings.Repeat("a.", 100) + "*": "at most 200",
	} {
		var nameErr *NameError
		if err := CheckPattern(p); !errors.As(err, &nameErr) || !strings.Contains(nameErr.Reason, want) {
			t.Errorf("CheckPattern(%q) = %v, want a NameError with %q", p, err, want)
		}
	}
}

func TestEscapePattern(t *testing.T) {
	for p, want := range map[string]string{
		"chat.>":       "chat.>",
		"*.Zoë.*":      "*.Zo=C3=AB.*",
		"a..b":         "a=2E=2Eb",
		"user.a%2Eb.>": "user.a=252Eb.>",
		">":            ">",
	} {
		if got, err := EscapePattern(p); err != nil || got != want {
			t.Errorf("EscapePattern(%q) = %q, %v, want %q", p, got, err, want)
		}
	}
	if got, err := EscapePattern("a.*b"); err == nil {
		t.Errorf("EscapePattern(a.*b) = %q, want an error", got)
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"chat.7", "chat.7", true},
		{"chat.7", "chat.70", false},
		{"chat.*", "chat.7", true},
		{"chat.*", "chat", false},
		{"chat.*", "chat.7.8", false},
		{"chat.>", "chat.7", true},
		{"chat.>", "chat.7.8", true},
		{"chat.>", "chat", false},
		{"chat.>", "chats.7", false},
		{">", "a", true},
		{"*", "a", true},
		{"*", "a.b", false},
		{"*.b.*", "a.b.c", true},
		{"*.b.*", "a.c.c", false},
		{"*.b.>", "a.b", false},
		// Names with an empty token are reached by an exact pattern only.
		{">", "a..b", false},
		{"a.>", "a..b", false},
		{"a.*.b", "a..b", false},
		{"a.>", "a.", false},
		{"*", ".", false},
		{"a..b", "a..b", true},
		{".a", ".a", true},
		// A name with a wildcard is no name.
		{"a.>", "a.>", false},
		{"a.*", "a.*", false},
		{"a.>", "a.b*", false},
		{"", "", false},
		{">", "", false},
	}
	for _, tt := range tests {
		if got := Match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("Match(%q, %q) = %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
		if set, err := NewSet([]string{tt.pattern}); err == nil && set.MatchString(tt.name) != tt.want {
			t.Errorf("NewSet(%q).Match(%q) = %v, want %v", tt.pattern, tt.name, !tt.want, tt.want)
		}
	}
}

func TestCovers(t *testing.T) {
	tests := []struct {
		pattern, other string
		want           bool
	}{
		{">", "a.*", true},
		{">", ">", true},
		{"*", ">", false},
		{"a.>", "a.>", true},
		{"a.>", "a.*", true},
		{"a.>", "a.*.>", true},
		{"a.*.>", "a.>", false},
		{"a.*", "a.b", true},
		{"a.*", "a.>", false},
		{"a.b", "a.*", false},
		{"a.*", "b.*", false},
		{"*.*", "a.*", true},
		{"*.>", ">", false},
		{"a..b", "a..b", true},
		{">", "a..b", false},
		{">", "a.*b", false},
	}
	for _, tt := range tests {
		if got := Covers(tt.pattern, tt.other); got != tt.want {
			t.Errorf("Covers(%q, %q) = %v, want %v", tt.pattern, tt.other, got, tt.want)
		}
	}
}

// FuzzMatch compares with nats-server's own matching of the escaped forms.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][3]string{
		{"chat.>", "chat.*", "chat.7"}, {"*.b.*", "a.b.>", "a.b.c"}, {">", "*", "a"}, {"é.*", "é.%2E", "é.x"}, {"a.*.>", "a.>", "a.b.c.d"}, {"a..b", ">", "a..b"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, pattern, other, name string) {
		ep, err := EscapePattern(pattern)
		if (err == nil) != (CheckPattern(pattern) == nil) {
			t.Fatalf("EscapePattern(%q) = %v, CheckPattern = %v", pattern, err, CheckPattern(pattern))
		}
		if err != nil {
			return
		}
		if CheckName(name) == nil {
			list := gsl.NewSublist[int]()
			if err := list.Insert(ep, 1); err != nil {
				t.Fatalf("NATS refuses %q, made of %q: %v", ep, pattern, err)
			}
			want := list.HasInterest(Escape(name))
			if emptyToken(name) {
				// One token in NATS, which wildcards would match.
				want = pattern == name
			}
			if got := Match(pattern, name); got != want {
				t.Fatalf("Match(%q, %q) = %v, NATS says %v", pattern, name, got, want)
			}
		}
		if CheckPattern(other) != nil {
			return
		}
		set, err := NewSet([]string{pattern, other, pattern})
		if err != nil {
			t.Fatalf("NewSet(%q, %q) = %v", pattern, other, err)
		}
		if got, want := set.Match([]byte(name)), Match(pattern, name) || Match(other, name); got != want {
			t.Fatalf("NewSet(%q, %q).Match(%q) = %v, want %v", pattern, other, name, got, want)
		}
		eo, err := EscapePattern(other)
		if err != nil {
			t.Fatal(err)
		}
		want := server.SubjectMatchesFilter(eo, ep)
		if !isWild(other) && emptyToken(other) {
			want = pattern == other
		}
		covers := Covers(pattern, other)
		if covers != want {
			t.Fatalf("Covers(%q, %q) = %v, NATS says %v", pattern, other, covers, want)
		}
		if covers && Match(other, name) && !Match(pattern, name) {
			t.Fatalf("Covers(%q, %q), but only the second matches %q", pattern, other, name)
		}
	})
}
