package subject

import (
	"bytes"
	"errors"
	"hash/fnv"
	"strings"
	"testing"
)

func TestEscape(t *testing.T) {
	tests := []struct{ name, subject string }{
		{"chat.7", "chat.7"},
		{"a-B_9.c", "a-B_9.c"},
		{"user.a%2Eb%40x%2Ecom", "user.a=252Eb=2540x=252Ecom"},
		{"a..b", "a=2E=2Eb"},
		{".a", "=2Ea"},
		{"a.", "a=2E"},
		{".", "=2E"},
		{"a.b..c", "a=2Eb=2E=2Ec"},
		{"a=b", "a=3Db"},
		{"$JS.API", "=24JS.API"},
		{"Zoë", "Zo=C3=AB"},
		{"specific.abc!def", "specific.abc=21def"},
	}
	for _, tt := range tests {
		if got := Escape(tt.name); got != tt.subject {
			t.Errorf("Escape(%q) = %q, want %q", tt.name, got, tt.subject)
		}
		if got := string(AppendEscaped([]byte("gc.g.07."), []byte(tt.name))); got != "gc.g.07."+tt.subject {
			t.Errorf("AppendEscaped(%q) = %q", tt.name, got)
		}
		if got, err := Unescape(tt.subject); err != nil || got != tt.name {
			t.Errorf("Unescape(%q) = %q, %v, want %q", tt.subject, got, err, tt.name)
		}
	}
}

func TestUnescapeRefusesWhatEscapeNeverMakes(t *testing.T) {
	for _, s := range []string{
		"", "a b", "a=", "a=2", "a=2e", "a=zz", "a=41", "a=5F", "a..b", ".a", "a.", "a.b=2Ec", "a=2Eb", "a.=2E", "*", ">", "a.*", "a.>",
		"=2A", "=3E", "=20", "=0A", "=FF", "a%2E", "é", "a:b", strings.Repeat("a", MaxName+1),
	} {
		var nameErr *NameError
		if got, err := Unescape(s); !errors.As(err, &nameErr) {
			t.Errorf("Unescape(%q) = %q, %v, want a NameError", s, got, err)
		}
		if got, err := AppendUnescaped([]byte("kept"), []byte(s)); err == nil || string(got) != "kept" {
			t.Errorf("AppendUnescaped(kept, %q) = %q, %v, want kept and an error", s, got, err)
		}
	}
}

func TestQuote(t *testing.T) {
	tests := []struct{ value, token string }{
		{"42", "42"},
		{"a.b@x.com", "a%2Eb%40x%2Ecom"},
		{"*", "%2A"},
		{">", "%3E"},
		{"%", "%25"},
		{"%2E", "%252E"},
		{"two words", "two%20words"},
		{"Zoë", "Zo%C3%AB"},
		{"\xff", "%FF"},
	}
	for _, tt := range tests {
		if got := Quote(tt.value); got != tt.token {
			t.Errorf("Quote(%q) = %q, want %q", tt.value, got, tt.token)
		}
		if got, err := Unquote(tt.token); err != nil || got != tt.value {
			t.Errorf("Unquote(%q) = %q, %v, want %q", tt.token, got, err, tt.value)
		}
	}
	for _, token := range []string{"", "%", "%2", "%2e", "%41", "a.b", "a b", "*", "é", "=2E"} {
		if got, err := Unquote(token); err == nil {
			t.Errorf("Unquote(%q) = %q, want an error", token, got)
		}
	}
}

func TestUserGroup(t *testing.T) {
	if got := UserGroup("a.b@x.com"); got != "user.a%2Eb%40x%2Ecom" {
		t.Errorf("UserGroup = %q", got)
	}
	for _, id := range []string{"42", "a.b@x.com", "*", "Zoë 🐉"} {
		group := []byte(UserGroup(id))
		if !IsUserGroup(group, id) {
			t.Errorf("IsUserGroup(%q, %q) = false", group, id)
		}
		for _, other := range []string{"", id + "x", id[1:], "4", "43", "%"} {
			if other != id && IsUserGroup(group, other) {
				t.Errorf("IsUserGroup(%q, %q) = true", group, other)
			}
		}
	}
	for _, group := range []string{"", "user.", "user", "user..", "user.a.b", "user.%", "user.a%2eb", "user.%41", "User.42", "chat.42", "user.%0A", "user.%FF", "user.a=2E"} {
		if id, ok := UserOf(group); ok {
			t.Errorf("UserOf(%q) = %q, want none", group, id)
		}
	}
}

func TestShard(t *testing.T) {
	for _, name := range []string{"", "a", "chat.7", "user.a=252Eb=2540x=252Ecom"} {
		h := fnv.New32a()
		h.Write([]byte(name))
		for _, shards := range []int{1, 32, 100, 1000} {
			if got, want := Shard([]byte(name), shards), int(h.Sum32()%uint32(shards)); got != want {
				t.Errorf("Shard(%q, %d) = %d, want %d", name, shards, got, want)
			}
		}
	}
	for n, want := range map[int]string{0: "00", 7: "07", 10: "10", 31: "31", 123: "123"} {
		if got := string(AppendShard(nil, n)); got != want {
			t.Errorf("AppendShard(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestEscapingDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 512)
	name, subject := []byte("user.a%2Eb"), []byte("user.a=252Eb")
	wantAllocs(t, 0, func() { _ = AppendEscaped(buf, name) })
	wantAllocs(t, 0, func() { _, _ = AppendUnescaped(buf, subject) })
	wantAllocs(t, 0, func() { _ = Escape("chat.7.plain") })
	wantAllocs(t, 0, func() { _, _ = Unescape("chat.7.plain") })
	wantAllocs(t, 0, func() { _ = Shard(subject, 32) })
	wantAllocs(t, 0, func() { _ = AppendShard(buf, 7) })
	wantAllocs(t, 0, func() { _ = IsUserGroup(name, "a.b") })
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"chat.7", "a..b", ".a", "user.a%2Eb", "Zoë", "a=2Eb", "=2E", "a.b=2Ec", "a b", "\xff"} {
		f.Add(s, "chat.7")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []string{a, b} {
			escaped := Escape(s)
			if appended := AppendEscaped([]byte("x"), s); string(appended) != "x"+escaped {
				t.Fatalf("AppendEscaped(%q) = %q, Escape = %q", s, appended, escaped)
			}
			for _, c := range []byte(escaped) {
				if !passes(c) && c != '=' && c != '.' {
					t.Fatalf("Escape(%q) = %q has %q", s, escaped, c)
				}
			}
			if s != "" && emptyToken(escaped) {
				t.Fatalf("Escape(%q) = %q has an empty token", s, escaped)
			}
			name, err := Unescape(escaped)
			if legal := CheckName(s) == nil; legal != (err == nil) || legal && name != s {
				t.Fatalf("Unescape(Escape(%q)) = %q, %v", s, name, err)
			}
			// What Unescape takes is what Escape makes.
			if name, err := Unescape(s); err == nil && (Escape(name) != s || CheckName(name) != nil) {
				t.Fatalf("Unescape(%q) = %q, but Escape of it is %q", s, name, Escape(name))
			}
		}
		if a != b && Escape(a) == Escape(b) {
			t.Fatalf("Escape(%q) = Escape(%q)", a, b)
		}
	})
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"42", "a.b@x.com", "*", "%2E", "%41", "\xff", "Zoë"} {
		f.Add(s, "42")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		quoted := Quote(a)
		if got, err := Unquote(quoted); (a == "") != (err != nil) || got != a {
			t.Fatalf("Unquote(Quote(%q)) = %q, %v", a, got, err)
		}
		if a != b && quoted == Quote(b) {
			t.Fatalf("Quote(%q) = Quote(%q)", a, b)
		}
		if value, err := Unquote(a); err == nil && Quote(value) != a {
			t.Fatalf("Unquote(%q) = %q, but Quote of it is %q", a, value, Quote(value))
		}
		id, ok := UserOf(UserGroup(a))
		if ok != (CheckUserID(a) == nil) || ok && id != a {
			t.Fatalf("UserOf(UserGroup(%q)) = %q, %v", a, id, ok)
		}
		if IsUserGroup([]byte(b), a) != (a != "" && UserGroup(a) == b) {
			t.Fatalf("IsUserGroup(%q, %q) = %v", b, a, IsUserGroup([]byte(b), a))
		}
		if !bytes.HasPrefix([]byte(Escape(UserGroup(a))), []byte("user")) {
			t.Fatalf("Escape(UserGroup(%q)) = %q", a, Escape(UserGroup(a)))
		}
	})
}
