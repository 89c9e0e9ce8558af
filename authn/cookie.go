package authn

import "strings"

// Cookie reads one cookie of a Cookie header as django.http.parse_cookie and Python's http.cookies do: the last of several
// with one name counts, white space around name and value does not, and a value in double quotes is unquoted. The header
// is taken as Latin-1, so an octal escape is one byte of the value. Several headers are joined by "; ". It allocates only
// for a value with escapes.
func Cookie(header, name string) (value string, ok bool) {
	for rest, more := header, true; more; {
		var chunk string
		chunk, rest, more = strings.Cut(rest, ";")
		key, val, found := strings.Cut(chunk, "=")
		if !found {
			key, val = "", chunk
		}
		key, val = stripPython(key), stripPython(val)
		if key == name && (key != "" || val != "") {
			value, ok = val, true
		}
	}
	return unquoteCookie(value), ok
}

// unquoteCookie is http.cookies._unquote: \ooo and \c inside double quotes.
func unquoteCookie(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c != '\\' || i+1 == len(s) || s[i+1] == '\n':
		case i+3 < len(s) && s[i+1] <= '3' && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]):
			c = (s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0')
			i += 3
		default:
			c = s[i+1]
			i++
		}
		out = append(out, c)
	}
	return string(out)
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// stripPython is str.strip() of a Latin-1 string.
func stripPython(s string) string {
	for s != "" && spacePython(s[0]) {
		s = s[1:]
	}
	for s != "" && spacePython(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func spacePython(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r' || c >= 0x1c && c <= 0x1f || c == 0x85 || c == 0xa0
}
