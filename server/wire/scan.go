package wire

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest in one value. Deeper values are refused: some peers' parsers recurse.
const maxDepth = 512

// scanner checks JSON (RFC 8259) in b. Its methods take the index where something begins and return the index behind it, or ^i (negative) if b is malformed at i.
type scanner struct {
	b     []byte
	open  [maxDepth / 64]uint64 // bit d says whether the container at depth d is an object
	spill []uint64              // the same below maxDepth, so that a refused op can be skipped and the ops behind it read
	deep  bool                  // some value since this was cleared nests deeper than maxDepth
}

// ValidJSON reports whether b is one JSON value in valid UTF-8, not nested deeper than 512 levels.
func ValidJSON(b []byte) bool {
	s := scanner{b: b}
	end := s.value(s.space(0))
	return end >= 0 && s.space(end) == len(b) && !s.deep && utf8.Valid(b)
}

func (s *scanner) space(i int) int {
	for i < len(s.b) {
		switch s.b[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// at returns the byte at i, 0 behind the end.
func (s *scanner) at(i int) byte {
	if i < len(s.b) {
		return s.b[i]
	}
	return 0
}

// value skips one value of any kind, without recursion.
func (s *scanner) value(i int) int {
	depth := 0
	for {
		switch c := s.at(i); {
		case c == '"':
			i, _ = s.str(i)
		case c == '-' || '0' <= c && c <= '9':
			i = s.number(i)
		case c == '{':
			s.push(depth, true)
			depth++
			if i = s.space(i + 1); s.at(i) != '}' {
				if i = s.key(i); i < 0 {
					return i
				}
				continue
			}
			depth--
			i++
		case c == '[':
			s.push(depth, false)
			depth++
			if i = s.space(i + 1); s.at(i) != ']' {
				continue
			}
			depth--
			i++
		default:
			i = s.literal(i)
		}
		if i < 0 {
			return i
		}
		// A value has ended at i: go on to the next one in its container, or leave containers.
		for {
			if depth == 0 {
				return i
			}
			i = s.space(i)
			object := s.top(depth - 1)
			switch c := s.at(i); {
			case c == ',':
				if i = s.space(i + 1); object {
					i = s.key(i)
				}
			case c == '}' && object, c == ']' && !object:
				depth--
				i++
				continue
			default:
				return ^i
			}
			break
		}
		if i < 0 {
			return i
		}
	}
}

func (s *scanner) push(depth int, object bool) {
	word := depth / 64
	if depth >= maxDepth {
		s.deep = true
		if word -= len(s.open); word == len(s.spill) {
			s.spill = append(s.spill, 0)
		}
		setBit(&s.spill[word], depth%64, object)
		return
	}
	setBit(&s.open[word], depth%64, object)
}

func setBit(w *uint64, bit int, on bool) {
	*w &^= 1 << bit
	if on {
		*w |= 1 << bit
	}
}

func (s *scanner) top(depth int) (object bool) {
	if depth >= maxDepth {
		return s.spill[depth/64-len(s.open)]>>(depth%64)&1 != 0
	}
	return s.open[depth/64]>>(depth%64)&1 != 0
}

// key skips a member's name and colon, and the white space up to its value.
func (s *scanner) key(i int) int {
	if s.at(i) != '"' {
		return ^i
	}
	if i, _ = s.str(i); i < 0 {
		return i
	}
	return s.colon(i)
}

func (s *scanner) colon(i int) int {
	if i = s.space(i); s.at(i) != ':' {
		return ^i
	}
	return s.space(i + 1)
}

// literal skips true, false and null.
func (s *scanner) literal(i int) int {
	word := ""
	switch s.at(i) {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	}
	if word == "" || len(s.b)-i < len(word) || string(s.b[i:i+len(word)]) != word {
		return ^i
	}
	return i + len(word)
}

func (s *scanner) number(i int) int {
	if s.at(i) == '-' {
		i++
	}
	if s.at(i) == '0' {
		i++
	} else if i = s.digits(i); i < 0 {
		return i
	}
	if s.at(i) == '.' {
		if i = s.digits(i + 1); i < 0 {
			return i
		}
	}
	if c := s.at(i); c == 'e' || c == 'E' {
		i++
		if c := s.at(i); c == '+' || c == '-' {
			i++
		}
		i = s.digits(i)
	}
	return i
}

// digits skips one digit or more.
func (s *scanner) digits(i int) int {
	start := i
	for c := s.at(i); '0' <= c && c <= '9'; c = s.at(i) {
		i++
	}
	if i == start {
		return ^i
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str skips the string whose opening quote is at i. escaped says that it holds a backslash.
func (s *scanner) str(i int) (end int, escaped bool) {
	b := s.b
	i++
	for {
		// Eight bytes at a time until one is a quote, a backslash or a control character; the lowest marked byte is exact.
		for i+8 <= len(b) {
			w := binary.LittleEndian.Uint64(b[i:])
			quote, back := w^(ones*'"'), w^(ones*'\\')
			if m := ((w-ones*0x20)&^w | (quote-ones)&^quote | (back-ones)&^back) & highs; m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return ^len(b), escaped
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			if i = s.escape(i); i < 0 {
				return i, escaped
			}
		case c < 0x20:
			return ^i, escaped
		default:
			i++
		}
	}
}

// escape skips the escape whose backslash is at i.
func (s *scanner) escape(i int) int {
	switch s.at(i + 1) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if hex4(s.b[i+2:]) >= 0 {
			return i + 6
		}
	}
	return ^i
}

// hex4 decodes four hex digits at the start of b, or returns -1.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendUnescaped appends what a checked string's inside means. A lone surrogate becomes U+FFFD, as in encoding/json.
func appendUnescaped(dst, in []byte) []byte {
	for i := 0; i < len(in); {
		c := in[i]
		if c != '\\' {
			dst = append(dst, c)
			i++
			continue
		}
		c = in[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(in[i:])
			i += 4
			if r >= 0xd800 && r < 0xdc00 && len(in)-i >= 6 && in[i] == '\\' && in[i+1] == 'u' {
				if low := hex4(in[i+2:]); low >= 0xdc00 && low < 0xe000 {
					r = (r-0xd800)<<10 | (low - 0xdc00) + 0x10000
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r) // a surrogate is appended as U+FFFD
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
