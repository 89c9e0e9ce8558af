package subject

import (
	"fmt"
	"strconv"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// Escape writes name as subject tokens. Bytes of [A-Za-z0-9_-] pass, any other becomes =XX; dots separate tokens if no
// token is empty, else every dot is escaped too and the subject is one token.
func Escape(name string) string {
	if plain(name) {
		return name
	}
	return string(AppendEscaped(make([]byte, 0, len(name)+len(name)/2), name))
}

// AppendEscaped appends Escape(name) to dst.
func AppendEscaped[T string | []byte](dst []byte, name T) []byte {
	dots := !emptyToken(name)
	for i := 0; i < len(name); i++ {
		c := name[i]
		if passes(c) || (c == '.' && dots) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '=', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// Unescape gives the name whose Escape is subject, and a *NameError for what Escape makes of no name.
func Unescape(subject string) (string, error) {
	if subject != "" && len(subject) <= MaxName && plain(subject) {
		return subject, nil
	}
	name, err := AppendUnescaped(make([]byte, 0, len(subject)), []byte(subject))
	if err != nil {
		return "", err
	}
	return string(name), nil
}

// AppendUnescaped appends Unescape(subject) to dst; it allocates only to refuse. dst is returned as it was if it refuses.
func AppendUnescaped(dst, subject []byte) ([]byte, error) {
	start := len(dst)
	rawDot, escapedDot := false, false
	for i := 0; i < len(subject); i++ {
		c := subject[i]
		switch {
		case passes(c):
		case c == '.':
			rawDot = true
		case c == '=':
			v, ok := unhex(subject[i+1:])
			if !ok || passes(v) {
				return dst[:start], &NameError{What: "subject", Reason: "has a wrong escape; =XX with upper-case hex, only for bytes that need it"}
			}
			escapedDot = escapedDot || v == '.'
			c = v
			i += 2
		default:
			return dst[:start], &NameError{What: "subject", Reason: fmt.Sprintf("has an unescaped %q", c)}
		}
		dst = append(dst, c)
	}
	name := dst[start:]
	if reason := badName(view(name)); reason != "" {
		return dst[:start], &NameError{What: "subject", Reason: "of a name that " + reason}
	}
	if empty := emptyToken(name); rawDot && empty || escapedDot && !empty {
		return dst[:start], &NameError{What: "subject", Reason: "escapes its dots otherwise than its name needs"}
	}
	return dst, nil
}

// Quote writes a value of an identity as one token: bytes of [A-Za-z0-9_-] pass, any other becomes %XX.
func Quote(value string) string { return string(appendQuoted(make([]byte, 0, len(value)+8), value)) }

func appendQuoted(dst []byte, value string) []byte {
	for i := 0; i < len(value); i++ {
		if c := value[i]; passes(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// Unquote gives the value whose Quote is token, and a *NameError for what Quote never makes.
func Unquote(token string) (string, error) {
	if token == "" {
		return "", &NameError{What: "token", Reason: "is empty"}
	}
	value := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if c == '%' {
			v, ok := unhex(token[i+1:])
			if !ok || passes(v) {
				return "", &NameError{What: "token", Reason: "has a wrong escape; %XX with upper-case hex, only for bytes that need it"}
			}
			c = v
			i += 2
		} else if !passes(c) {
			return "", &NameError{What: "token", Reason: fmt.Sprintf("has an unquoted %q", c)}
		}
		value = append(value, c)
	}
	return string(value), nil
}

const userPrefix = "user."

// UserGroup names the personal group of the user with this id.
func UserGroup(id string) string {
	return string(appendQuoted(append(make([]byte, 0, len(userPrefix)+len(id)+8), userPrefix...), id))
}

// UserOf gives the id of the user whose personal group this is.
func UserOf(group string) (id string, ok bool) {
	token, ok := strings.CutPrefix(group, userPrefix)
	if !ok {
		return "", false
	}
	id, err := Unquote(token)
	if err != nil || CheckUserID(id) != nil {
		return "", false
	}
	return id, true
}

// IsUserGroup reports whether group is UserGroup(id), without allocating.
func IsUserGroup(group []byte, id string) bool {
	if id == "" || len(group) < len(userPrefix)+len(id) || string(group[:len(userPrefix)]) != userPrefix {
		return false
	}
	rest := group[len(userPrefix):]
	for i := 0; i < len(id); i++ {
		c := id[i]
		if passes(c) {
			if len(rest) == 0 || rest[0] != c {
				return false
			}
			rest = rest[1:]
			continue
		}
		if len(rest) < 3 || rest[0] != '%' || rest[1] != upperHex[c>>4] || rest[2] != upperHex[c&15] {
			return false
		}
		rest = rest[3:]
	}
	return len(rest) == 0
}

// isUserGroup is UserOf without its id.
func isUserGroup(name string) bool {
	_, ok := UserOf(name)
	return ok
}

// Shard gives the shard of a group by its escaped name: fnv1a32 mod shards. shards is at least 1.
func Shard(escaped []byte, shards int) int {
	const offset, prime = 2166136261, 16777619
	h := uint32(offset)
	for _, c := range escaped {
		h ^= uint32(c)
		h *= prime
	}
	return int(h % uint32(shards))
}

// AppendShard appends the shard's number as it stands in a subject: two digits or more.
func AppendShard(dst []byte, n int) []byte {
	if n < 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

// passes reports whether c stands for itself in a token.
func passes(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
}

// plain reports whether Escape(name) is name.
func plain(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; !passes(c) && (c != '.' || i == 0 || i == len(name)-1 || name[i-1] == '.') {
			return false
		}
	}
	return true
}

func emptyToken[T string | []byte](name T) bool {
	last := byte('.')
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '.' && last == '.' {
			return true
		}
		last = c
	}
	return last == '.'
}

func unhex[T string | []byte](s T) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	hi, lo := strings.IndexByte(upperHex, s[0]), strings.IndexByte(upperHex, s[1])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}
