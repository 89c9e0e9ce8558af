package ws

import "strings"

// Header returns the value of a header, repeated ones joined by ", ". The name is matched without case.
func (r *Request) Header(name string) string {
	found := ""
	for rest := r.lines; ; {
		var line string
		line, rest, _ = strings.Cut(rest, "\r\n")
		if line == "" {
			return found
		}
		n, value, _ := strings.Cut(line, ":")
		if !strings.EqualFold(n, name) || strings.IndexByte(n, '_') >= 0 {
			continue
		}
		if value = trim(value); found == "" {
			found = value
		} else if value != "" {
			found += ", " + value
		}
	}
}

// Values returns the values of a header in the order sent. The name is matched without case.
func (r *Request) Values(name string) []string {
	var all []string
	for rest := r.lines; ; {
		var line string
		line, rest, _ = strings.Cut(rest, "\r\n")
		if line == "" {
			return all
		}
		if n, value, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) && strings.IndexByte(n, '_') < 0 {
			all = append(all, trim(value))
		}
	}
}

// PathDecoded returns Path with percent escapes decoded. Where "%2F" must not become a separator, match on Path and decode its segments with [Unescape].
func (r *Request) PathDecoded() string {
	s, _ := Unescape(r.Path) // ParseRequest has checked it
	return s
}

// Unescape decodes the percent escapes of a path or one of its segments. ok is false if an escape is malformed.
func Unescape(segment string) (s string, ok bool) {
	if !validEscapes(segment) {
		return "", false
	}
	return decode(segment, false), true
}

// Query returns the first value of a query parameter, decoded; "" if there is none.
func (r *Request) Query(name string) string {
	for rest := r.RawQuery; rest != ""; {
		var n, value string
		if n, value, rest = cutPair(rest); decode(n, true) == name {
			return decode(value, true)
		}
	}
	return ""
}

// QueryAll returns all values of a query parameter in the order sent.
func (r *Request) QueryAll(name string) []string {
	var all []string
	for rest := r.RawQuery; rest != ""; {
		var n, value string
		if n, value, rest = cutPair(rest); decode(n, true) == name {
			all = append(all, decode(value, true))
		}
	}
	return all
}

func cutPair(query string) (name, value, rest string) {
	pair, rest, _ := strings.Cut(query, "&")
	name, value, _ = strings.Cut(pair, "=")
	return name, value, rest
}

func validEscapes(s string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return true
		}
		if _, ok := escaped(s[i:]); !ok {
			return false
		}
		s = s[i+3:]
	}
}

// escaped decodes the escape at the start of s.
func escaped(s string) (c byte, ok bool) {
	if len(s) < 3 {
		return 0, false
	}
	hi, lo := unhex(s[1]), unhex(s[2])
	return hi<<4 | lo&0xf, hi < 16 && lo < 16
}

func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

// decode decodes percent escapes, and "+" in queries. Malformed escapes stay as they are: browsers send a lone "%" of a query so.
func decode(s string, query bool) string {
	if strings.IndexByte(s, '%') < 0 && !(query && strings.IndexByte(s, '+') >= 0) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if d, ok := escaped(s[i:]); ok {
				c = d
				i += 2
			}
		} else if c == '+' && query {
			c = ' '
		}
		b.WriteByte(c)
	}
	return b.String()
}
