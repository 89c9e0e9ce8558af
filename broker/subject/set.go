package subject

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Set is many patterns compiled to be matched at once. It never changes and may be used concurrently; a nil *Set is empty.
//
// Names without wildcards are found by binary search. Patterns with one are grouped by their literal prefix, the tokens
// before the first wildcard, and the groups sorted by a hash of it. One walk over a name hashes its own prefixes and looks
// each up, at the depths that occur only. So 1,000 patterns cost little more than 20.
type Set struct {
	names    []string // sorted
	wild     []string // sorted by prefix, then text
	branches []branch // sorted by hash
	depths   uint64   // bit n: a prefix of n tokens occurs; the last bit stands for all beyond
}

// branch is wild[first:last], which share their first n bytes.
type branch struct {
	hash        uint32
	n           uint16
	first, last uint32
}

const (
	deepest = 63
	// FNV-1a, 32 bits.
	hashStart = 2166136261
	hashPrime = 16777619
)

// NewSet compiles patterns; none give a nil Set. Repeated ones count once. The error names the pattern that is wrong.
func NewSet(patterns []string) (*Set, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	names := 0
	for _, p := range patterns {
		if reason := badPattern(p); reason != "" {
			return nil, fmt.Errorf("%q: %w", p, &NameError{What: "pattern", Reason: reason})
		}
		if !isWild(p) {
			names++
		}
	}
	s := &Set{}
	if names > 0 {
		s.names = make([]string, 0, names)
	}
	if names < len(patterns) {
		s.wild = make([]string, 0, len(patterns)-names)
	}
	for _, p := range patterns {
		if isWild(p) {
			s.wild = append(s.wild, p)
		} else {
			s.names = append(s.names, p)
		}
	}
	slices.Sort(s.names)
	s.names = slices.Compact(s.names)
	s.growBranches()
	return s, nil
}

func (s *Set) growBranches() {
	slices.SortFunc(s.wild, func(a, b string) int {
		return cmp.Or(strings.Compare(literalPrefix(a), literalPrefix(b)), strings.Compare(a, b))
	})
	s.wild = slices.Compact(s.wild)
	for first := 0; first < len(s.wild); {
		prefix := literalPrefix(s.wild[first])
		last := first + 1
		for last < len(s.wild) && literalPrefix(s.wild[last]) == prefix {
			last++
		}
		hash := uint32(hashStart)
		for i := 0; i < len(prefix); i++ {
			hash = (hash ^ uint32(prefix[i])) * hashPrime
		}
		s.branches = append(s.branches, branch{hash: hash, n: uint16(len(prefix)), first: uint32(first), last: uint32(last)})
		s.depths |= 1 << min(strings.Count(prefix, "."), deepest)
		first = last
	}
	slices.SortFunc(s.branches, func(a, b branch) int { return cmp.Compare(a.hash, b.hash) })
	s.branches = slices.Clip(s.branches)
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
	if s.depths&1 != 0 && s.matchBehind(hashStart, "", name) {
		return noWildcardNorEmptyToken(name)
	}
	hash, last := uint32(hashStart), byte('.')
	left := s.depths >> 1 // bit 0: the depth behind the next dot
	for i := 0; i < len(name) && left != 0; i++ {
		c := name[i]
		hash = (hash ^ uint32(c)) * hashPrime
		if c == '.' {
			if last == '.' {
				return false
			}
			if left&1 != 0 && s.matchBehind(hash, name[:i+1], name) {
				return noWildcardNorEmptyToken(name)
			}
			if left != 1 || s.depths>>deepest == 0 {
				left >>= 1
			}
		}
		last = c
	}
	return false
}

func (s *Set) hasName(name string) bool {
	_, found := slices.BinarySearch(s.names, name)
	return found
}

// matchBehind tries the patterns with this literal prefix, which name starts with.
func (s *Set) matchBehind(hash uint32, prefix, name string) bool {
	lo, hi := 0, len(s.branches)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.branches[mid].hash < hash {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for ; lo < len(s.branches) && s.branches[lo].hash == hash; lo++ {
		b := s.branches[lo]
		if int(b.n) != len(prefix) || s.wild[b.first][:b.n] != prefix {
			continue
		}
		for _, p := range s.wild[b.first:b.last] {
			if matchTokens(p[b.n:], name[b.n:]) {
				return true
			}
		}
	}
	return false
}

// noWildcardNorEmptyToken tells the names that wildcards may match.
func noWildcardNorEmptyToken(name string) bool {
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
