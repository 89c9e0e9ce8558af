package subject

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestASetIsTheUnionOfItsPatterns(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	tokens := []string{"a", "b", "c", "aa", "é", "*", ">"}
	random := func(n int, wild bool) string {
		var parts []string
		for range 1 + rnd.IntN(n) {
			limit := len(tokens)
			if !wild {
				limit -= 2
			}
			parts = append(parts, tokens[rnd.IntN(limit)])
		}
		return strings.Join(parts, ".")
	}
	for range 300 {
		var patterns []string
		for range 1 + rnd.IntN(40) {
			if p := random(5, true); CheckPattern(p) == nil {
				patterns = append(patterns, p)
			}
		}
		set, err := NewSet(patterns)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			name := random(6, false)
			want := slices.ContainsFunc(patterns, func(p string) bool { return Match(p, name) })
			if got := set.MatchString(name); got != want {
				t.Fatalf("NewSet(%q).Match(%q) = %v, want %v", patterns, name, got, want)
			}
		}
	}
}

func TestPatternsDeeperThanTheTableOfDepths(t *testing.T) {
	deep := strings.Repeat("a.", 80)
	set, err := NewSet([]string{deep + "*", strings.Repeat("b.", 63) + ">", strings.Repeat("c.", 64) + "*"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		deep + "x":                       true,
		deep + "x.y":                     false,
		strings.Repeat("a.", 79) + "x":   false,
		strings.Repeat("b.", 63) + "x.y": true,
		strings.Repeat("b.", 62) + "x":   false,
		strings.Repeat("c.", 64) + "x":   true,
		strings.Repeat("c.", 65) + "x":   false,
	} {
		if got := set.MatchString(name); got != want {
			t.Errorf("Match(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestNewSet(t *testing.T) {
	if _, err := NewSet([]string{"chat.>", "a*b"}); err == nil || !strings.Contains(err.Error(), `"a*b"`) {
		t.Errorf("NewSet with a*b = %v, want an error that names it", err)
	}
	set, err := NewSet([]string{"b.*", "a", "b.*", "a", ">"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := set.Patterns(), []string{"a", ">", "b.*"}; !slices.Equal(got, want) || set.Len() != 3 {
		t.Errorf("Patterns() = %q, want %q", got, want)
	}
	var none *Set
	if none.MatchString("a") || none.Match([]byte("a")) || none.Patterns() != nil || none.Len() != 0 {
		t.Error("a nil set is not empty")
	}
	if set, err := NewSet(nil); err != nil || set != nil {
		t.Errorf("NewSet(nil) = %v, %v, want nil, nil", set, err)
	}
}

// twenty is a mix of patterns as grants have them.
func twenty() []string {
	patterns := []string{"chat.>", "team.*.news", "*.public", "news.user", "a.b.c.d.>"}
	for i := range 5 {
		patterns = append(patterns, fmt.Sprintf("team.%d.*", i), fmt.Sprintf("room.%d", i), fmt.Sprintf("org.x.%d.>", i))
	}
	return patterns
}

func TestMatchDoesNotAllocate(t *testing.T) {
	set, err := NewSet(twenty())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chat.7", "org.x.4.deep.name", "nothing.of.all.this"} {
		b := []byte(name)
		wantAllocs(t, 0, func() { _ = set.Match(b) })
		wantAllocs(t, 0, func() { _ = set.MatchString(name) })
		wantAllocs(t, 0, func() { _ = Match("chat.>", name) })
	}
}

func BenchmarkSetMatch(b *testing.B) {
	for _, size := range []int{20, 1000} {
		patterns := twenty()
		for i := len(patterns); i < size; i++ {
			patterns = append(patterns, fmt.Sprintf("team.%d.*", i))
		}
		set, err := NewSet(patterns)
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range []string{"room.3", "org.x.4.deep.name", "nothing.of.all.this.here"} {
			b.Run(fmt.Sprintf("%d/%s", size, name), func(b *testing.B) {
				n := []byte(name)
				for b.Loop() {
					set.Match(n)
				}
			})
		}
	}
}
