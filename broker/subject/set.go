package subject

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Set is many patterns compiled to be matched at once. It never changes and may be used concurrently; a nil *Set is empty.
//
// Names without wildcards are found by binary search. Patterns with one are sorted by their literal prefix, the tokens
// before the first wildcard: for every prefix length that occurs, one binary search with the name's own first tokens finds
// those that can match. So 1,000 patterns cost little more than 20.
type Set struct {
	names    []string // sorted
	wild     []string // sorted by prefix, then text
	depths   uint64   // bit n: a prefix of n tokens occurs; the last bit stands for all beyond
	prefixes []uint16 // length of wild[i]'s literal prefix with its last dot
}

const deepest = 63

// NewSet compiles patterns. Repeated ones count once. The error names the pattern that is wrong.
func NewSet(patterns []string) (*Set, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	s := &Set{}
	for _, p := range patterns {
		if reason := badPattern(p); reason != "" {
			return nil, fmt.Errorf("%q: %w", p, &NameError{What: "pattern", Reason: reason})
		}
		if isWild(p) {
			s.wild = append(s.wild, p)
		} else {
			s.names = append(s.names, p)
		}
	}
	slices.Sort(s.names)
	s.names = slices.Clip(slices.Compact(s.names))
	sort.Slice(s.wild, func(i, j int) bool {
		a, b := s.wild[i], s.wild[j]
		if c := strings.Compare(literalPrefix(a), literalPrefix(b)); c != 0 {
			return c < 0
		}
		return a < b
	})
	s.wild = slices.Clip(slices.Compact(s.wild))
	if len(s.wild) > 0 {
		s.prefixes = make([]uint16, len(s.wild))
	}
	for i, p := range s.wild {
		prefix := literalPrefix(p)
		s.prefixes[i] = uint16(len(prefix))
		s.depths |= 1 << min(strings.Count(prefix, "."), deepest)
	}
	return s, nil
}

// literalPrefix gives the tokens before the first wildcard, with the dot behind them.
func literalPrefix(p string) string { return p[:strings.IndexAny(p, "*>")] }

// Match reports whether a pattern of s matches name. It allocates nothing and keeps nothing of name.
func (s *Set) Match(name []byte) bool { return s.MatchString(view(name)) }

// MatchString is Match for a string.
func (s *Set) MatchString(name string) bool {
	if s == nil || name == "" {
		return false
	}
	if s.hasName(name) {
		return true
	}
	if len(s.wild) == 0 || !wildcardsMayMatch(name) {
		return false
	}
	if s.depths&1 != 0 && s.matchBehind("", name) {
		return true
	}
	depth := 0
	for i := 0; i < len(name); i++ {
		if name[i] != '.' {
			continue
		}
		depth++
		if s.depths>>min(depth, deepest) == 0 {
			return false
		}
		if s.depths&(1<<min(depth, deepest)) != 0 && s.matchBehind(name[:i+1], name) {
			return true
		}
	}
	return false
}

func (s *Set) hasName(name string) bool {
	lo, hi := 0, len(s.names)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := strings.Compare(s.names[mid], name); {
		case c == 0:
			return true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return false
}

// matchBehind tries the patterns with this literal prefix, which name starts with.
func (s *Set) matchBehind(prefix, name string) bool {
	lo, hi := 0, len(s.wild)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.wild[mid][:s.prefixes[mid]] < prefix {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for ; lo < len(s.wild) && s.wild[lo][:s.prefixes[lo]] == prefix; lo++ {
		if matchTokens(s.wild[lo][len(prefix):], name[len(prefix):]) {
			return true
		}
	}
	return false
}

// wildcardsMayMatch refuses names with empty tokens and what is no name at all.
func wildcardsMayMatch(name string) bool {
	last := byte('.')
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '.' && last == '.' || c == '*' || c == '>' {
			return false
		}
		last = c
	}
	return last != '.'
}

// Patterns returns the patterns, each once: names first, then those with wildcards.
func (s *Set) Patterns() []string {
	if s == nil {
		return nil
	}
	return slices.Concat(s.names, s.wild)
}

// Len returns the number of patterns.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.names) + len(s.wild)
}
