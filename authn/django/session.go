package django

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// login is what the session says of its user. All empty: nobody is logged in.
type login struct {
	user    string // _auth_user_id: the primary key as Django's value_to_string wrote it
	backend string // _auth_user_backend: dotted path
	hash    string // _auth_user_hash
}

// extras are other keys of a session that were asked for, as encoding/json or package pickle have their values.
type extras map[string]any

var errPickle = errors.New(`the session is pickled: set authn.django.serializer = "pickle" if the site's SESSION_SERIALIZER is the PickleSerializer`)

// maxDepth bounds the nesting of session data; Python's own json gives up near 1,000.
const maxDepth = 1000

// decodeLogin finds the three keys of a login in a serialised session. Everything else in it is skipped, not built. It reads what Python's
// json.dumps writes, which is more than JSON: NaN and Infinity are numbers there, and one such value in a shopping cart must not end a login.
// A repeated key counts as its last value, as in Python. asked are more keys that are wanted.
func decodeLogin(data []byte, asked ...string) (login, extras, error) {
	if len(data) > 0 && data[0] == 0x80 {
		return login{}, nil, errPickle
	}
	s := scanner{data: data, asked: asked}
	l, err := s.login()
	if err != nil {
		return login{}, nil, fmt.Errorf("session data at byte %d: %w", s.pos, err)
	}
	return l, s.extras, nil
}

// scanner walks JSON as Python's json module reads it.
type scanner struct {
	data   []byte
	pos    int
	asked  []string
	extras extras // nil until one that was asked for is found
}

var (
	errEnd    = errors.New("ends too early")
	errSyntax = errors.New("not JSON")
	errNotObj = errors.New("not an object")
)

func (s *scanner) login() (l login, err error) {
	s.space()
	if s.peek() != '{' {
		return l, errNotObj
	}
	err = s.object(0, func(key []byte) error {
		var dst *string
		switch string(key) {
		case `"_auth_user_id"`:
			dst = &l.user
		case `"_auth_user_backend"`:
			dst = &l.backend
		case `"_auth_user_hash"`:
			dst = &l.hash
		default:
			return s.extra(key)
		}
		start := s.pos
		if err := s.value(1); err != nil {
			return err
		}
		*dst, err = text(s.data[start:s.pos])
		return err
	})
	if err != nil {
		return login{}, err
	}
	if s.space(); s.pos != len(s.data) {
		return login{}, errSyntax
	}
	return l, nil
}

// extra passes over the value of a key, and keeps it if it was asked for.
func (s *scanner) extra(key []byte) error {
	start := s.pos
	if err := s.value(1); err != nil {
		return err
	}
	for _, name := range s.asked {
		if len(key) != len(name)+2 || string(key[1:len(key)-1]) != name { // Python escapes nothing of such a name
			continue
		}
		var v any
		if json.Unmarshal(s.data[start:s.pos], &v) != nil {
			v = string(s.data[start:s.pos]) // with NaN in it, which is something
		}
		if s.extras == nil {
			s.extras = extras{}
		}
		s.extras[name] = v
	}
	return nil
}

// text is a string as it is, an integer (sessions of very old sites) as its digits, and null as nothing.
func text(raw []byte) (string, error) {
	switch {
	case raw[0] == '"':
		var v string
		if err := json.Unmarshal(raw, &v); err != nil {
			return "", errSyntax
		}
		return v, nil
	case string(raw) == "null":
		return "", nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return "", errors.New("a key of the login is neither text nor an integer")
	}
	return strconv.FormatInt(n, 10), nil
}

func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) value(depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deeply")
	}
	switch c := s.peek(); {
	case s.pos >= len(s.data):
		return errEnd
	case c == '{':
		return s.object(depth, func([]byte) error { return s.value(depth + 1) })
	case c == '[':
		return s.array(depth)
	case c == '"':
		_, err := s.string()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null", "NaN", "Infinity"} {
		if s.word(word) {
			return nil
		}
	}
	return errSyntax
}

func (s *scanner) word(word string) bool {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

// object calls member with each key, quotes and all, the scanner standing at its value.
func (s *scanner) object(depth int, member func(key []byte) error) error {
	s.pos++
	s.space()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		s.space()
		if s.peek() != '"' {
			return errSyntax
		}
		key, err := s.string()
		if err != nil {
			return err
		}
		s.space()
		if s.peek() != ':' {
			return errSyntax
		}
		s.pos++
		s.space()
		if err := member(key); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return nil
		default:
			return errSyntax
		}
	}
}

func (s *scanner) array(depth int) error {
	s.pos++
	s.space()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return nil
		default:
			return errSyntax
		}
	}
}

func (s *scanner) string() ([]byte, error) {
	start := s.pos
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			raw := s.data[start:s.pos]
			if !utf8.Valid(raw) {
				return nil, errors.New("not UTF-8")
			}
			return raw, nil
		case c == '\\':
			s.pos++
		case c < 0x20:
			return nil, errSyntax
		}
	}
	return nil, errEnd
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	if s.word("Infinity") {
		return nil
	}
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case '0' <= c && c <= '9', c == '.', c == 'e', c == 'E', c == '+', c == '-':
			s.pos++
		default:
			return s.numberEnd(start)
		}
	}
	return s.numberEnd(start)
}

func (s *scanner) numberEnd(start int) error {
	if s.pos == start || s.data[start] < '0' || s.data[start] > '9' {
		return errSyntax
	}
	return nil
}
