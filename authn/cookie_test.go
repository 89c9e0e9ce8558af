package authn

import (
	"strings"
	"testing"
)

// What Django 5.2's parse_cookie makes of these was found by running it.
func TestCookie(t *testing.T) {
	tests := []struct {
		header, name, want string
		ok                 bool
	}{
		{"sessionid=abc", "sessionid", "abc", true},
		{"a=1; sessionid=abc; b=2", "sessionid", "abc", true},
		{"sessionid=abc; sessionid=def", "sessionid", "def", true},
		{"sessionid=abc;sessionid=", "sessionid", "", true},
		{"  sessionid  =  abc  ", "sessionid", "abc", true},
		{"\xa0sessionid=\x85abc\x1c", "sessionid", "abc", true},
		{`sessionid="abc"`, "sessionid", "abc", true},
		{`sessionid="a\073b"`, "sessionid", "a;b", true},
		{`sessionid="a\"b\\c"`, "sessionid", `a"b\c`, true},
		{`sessionid="a\400b"`, "sessionid", "a400b", true},
		{`sessionid="a\08b"`, "sessionid", "a08b", true},
		{`sessionid="\377"`, "sessionid", "\xff", true},
		{`sessionid="a\`, "sessionid", `"a\`, true},
		{`sessionid="a\"`, "sessionid", `a\`, true},
		{"sessionid=\"a\\\nb\"", "sessionid", "a\\\nb", true},
		{`sessionid="`, "sessionid", `"`, true},
		{`sessionid=""`, "sessionid", "", true},
		{"sessionid=a=b", "sessionid", "a=b", true},
		{"Sessionid=abc", "sessionid", "", false},
		{"xsessionid=abc", "sessionid", "", false},
		{"sessionid", "sessionid", "", false},
		{"sessionid", "", "sessionid", true},
		{"=x", "", "x", true},
		{"", "", "", false},
		{";;;", "", "", false},
		{"", "sessionid", "", false},
		{`a="x; sessionid=abc"`, "sessionid", `abc"`, true},
		{"a=1, sessionid=abc", "sessionid", "", false},
	}
	for _, tt := range tests {
		if got, ok := Cookie(tt.header, tt.name); got != tt.want || ok != tt.ok {
			t.Errorf("Cookie(%q, %q) = %q, %v, want %q, %v", tt.header, tt.name, got, ok, tt.want, tt.ok)
		}
	}
	wantAllocs(t, 0, func() { Cookie("a=1; sessionid=abc; b=2", "sessionid") })
}

func FuzzCookie(f *testing.F) {
	f.Add("a=1; sessionid=abc", "sessionid")
	f.Add(`sessionid="a\073\"b"`, "sessionid")
	f.Fuzz(func(t *testing.T, header, name string) {
		value, ok := Cookie(header, name)
		if !ok && value != "" {
			t.Fatalf("Cookie(%q, %q) = %q and none", header, name, value)
		}
		if len(value) > len(header) {
			t.Fatalf("Cookie(%q, %q) = %q", header, name, value)
		}
		// The last one counts, whatever stands before it.
		if name == stripPython(name) && !strings.ContainsAny(name, "=;") && name != "" {
			if got, ok := Cookie(header+";"+name+"=last", name); !ok || got != "last" {
				t.Fatalf("Cookie(%q + last, %q) = %q, %v", header, name, got, ok)
			}
			if got, ok := Cookie(name+"=first;"+header, name); !ok || got != "first" && got != value {
				t.Fatalf("Cookie(first + %q, %q) = %q, %v, want first or %q", header, name, got, ok, value)
			}
		}
		if value, ok := oracleCookie(header, name); ok {
			if got, _ := Cookie(header, name); got != value {
				t.Fatalf("Cookie(%q, %q) = %q, want %q", header, name, got, value)
			}
		}
	})
}

// oracleCookie is parse_cookie line by line, for headers without anything to unquote.
func oracleCookie(header, name string) (string, bool) {
	if strings.Contains(header, `"`) {
		return "", false
	}
	jar := map[string]string{}
	for _, chunk := range strings.Split(header, ";") {
		key, val, found := strings.Cut(chunk, "=")
		if !found {
			key, val = "", chunk
		}
		if key, val = stripPython(key), stripPython(val); key != "" || val != "" {
			jar[key] = val
		}
	}
	value, ok := jar[name]
	return value, ok
}
