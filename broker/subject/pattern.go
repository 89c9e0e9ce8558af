package subject

import "strings"

// CheckPattern returns a *NameError if p is neither a name nor a name with '*' or '>' as whole tokens, '>' last.
func CheckPattern(p string) error {
	if reason := badPattern(p); reason != "" {
		return &NameError{What: "pattern", Reason: reason}
	}
	return nil
}

func badPattern(p string) string {
	if !strings.ContainsAny(p, "*>") {
		return badName(p)
	}
	for rest, more := p, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		switch {
		case token == "":
			return "has a wildcard and an empty token; remove the extra dot"
		case token == ">":
			if more {
				return "has '>' before its end; use '*' for one token"
			}
		case token == "*":
		case strings.ContainsAny(token, "*>"):
			return "has a wildcard inside a token; a wildcard is a whole token"
		}
	}
	return badName(strings.NewReplacer("*", "x", ">", "x").Replace(p))
}

// EscapePattern is Escape around the wildcards of p.
func EscapePattern(p string) (string, error) {
	if err := CheckPattern(p); err != nil {
		return "", err
	}
	if !isWild(p) {
		return Escape(p), nil
	}
	out := make([]byte, 0, len(p)+len(p)/2)
	for rest, more := p, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, ".")
		if token == "*" || token == ">" {
			out = append(out, token...)
		} else {
			out = AppendEscaped(out, token)
		}
		if more {
			out = append(out, '.')
		}
	}
	return string(out), nil
}

// Match reports whether pattern matches a name. Both have passed their checks; anything else matches nothing.
// For the same patterns many times there is [Set].
func Match(pattern, name string) bool {
	if !isWild(pattern) {
		return pattern == name && name != "" && !isWild(name)
	}
	if !noWildcardNorEmptyToken(name) {
		return false
	}
	return matchTokens(pattern, name)
}

// matchTokens matches a pattern with wildcards, or the rest of one, against a name without empty tokens.
func matchTokens(p, name string) bool {
	i, j := 0, 0 // where the next token of name and p starts
	for j < len(p) {
		switch p[j] {
		case '>':
			return j == len(p)-1 && i < len(name)
		case '*':
			if i == len(name) {
				return false
			}
			for i < len(name) && name[i] != '.' {
				i++
			}
			j++
		default:
			for ; j < len(p) && p[j] != '.'; i, j = i+1, j+1 {
				if i == len(name) || name[i] != p[j] {
					return false
				}
			}
		}
		if j == len(p) {
			return i == len(name)
		}
		if p[j] != '.' || i == len(name) || name[i] != '.' {
			return false
		}
		i, j = i+1, j+1
	}
	return false
}

// Covers reports whether pattern matches every name that other matches. other may be a name.
func Covers(pattern, other string) bool {
	if !isWild(other) {
		return Match(pattern, other)
	}
	if !isWild(pattern) || badPattern(other) != "" {
		return false
	}
	p, o := pattern, other
	for {
		if p == ">" {
			return o != ""
		}
		pt, prest, pmore := strings.Cut(p, ".")
		ot, orest, omore := strings.Cut(o, ".")
		if ot == ">" || pt != "*" && pt != ot || pmore != omore {
			return false
		}
		if !pmore {
			return true
		}
		p, o = prest, orest
	}
}

// isWild reports whether p has a byte that only patterns have.
func isWild(p string) bool {
	return strings.IndexByte(p, '*') >= 0 || strings.IndexByte(p, '>') >= 0
}
