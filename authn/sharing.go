package authn

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"weak"
)

// Compiled sets are shared in three ways, none of which can give an identity those of another or of other rules:
//
//	Rules.kept   by what the shared templates depend on, and by claims: few kinds, kept for as long as the rules
//	alike        by all that a login's own templates are filled from, where that is much: for as long as somebody has the sets
//	memo         by the Identity itself: for as long as it is in the cache

// maxShared bounds the sets that kept holds. Sites with more kinds of users than that compile again.
const maxShared = 4096

// Keys of sets begin with what they are made of.
const (
	rulesKey  = "rules\x00"
	claimsKey = "claims\x00"
)

// appendDepends completes the key of shared sets, which began with the rules that select the identity.
func appendDepends(key []byte, depends varKind, id *Identity) []byte {
	if depends&varKindOf != 0 {
		key = append(append(key, id.Kind...), 0)
	}
	if depends&varGroups != 0 {
		for _, group := range id.Groups {
			key = appendText(key, group)
		}
	}
	return key
}

// appendClaims begins the key of claimed sets, which the key of rules never begins like.
func appendClaims(key []byte, p *Patterns) []byte {
	key = append(key, claimsKey...)
	for _, list := range [][]string{p.Join, p.Subscribe, p.Publish, p.Deny} {
		key = appendList(key, list)
	}
	return key
}

// kept returns the sets that were compiled for key, or compiles them.
func (r *Rules) kept(key []byte, compile func() (*grantSets, error)) (*grantSets, error) {
	r.mu.Lock()
	s, ok := r.shared[string(key)]
	r.mu.Unlock()
	if ok {
		return s, nil
	}
	s, err := compile()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if other, ok := r.shared[string(key)]; ok {
		return other, nil
	}
	if r.shared == nil {
		r.shared = make(map[string]*grantSets)
	}
	if len(r.shared) >= maxShared {
		for k := range r.shared {
			delete(r.shared, k)
			break
		}
	}
	r.shared[string(key)] = s
	return s, nil
}

// alike finds sets by what they were made of. It keeps none: those that nobody has are collected.
type alike struct {
	mu   sync.Mutex
	sets map[alikeKey]weak.Pointer[grantSets] // guarded by mu
}

// alikeKey is a SHA-256: who finds another text with the same has what others may.
type alikeKey [sha256.Size]byte

// worthSharing is of how many values sets are made that are sought in alike: those of fewer are compiled as soon, and having them twice takes less than to
// find them.
const worthSharing = 4

func manyValues(id *Identity) bool {
	n := len(id.Groups)
	for i := range id.Rows {
		n += len(id.Rows[i].Values)
	}
	for _, list := range id.Attrs {
		n += len(list)
	}
	if id.Claimed != nil {
		n += id.Claimed.len()
	}
	return n >= worthSharing
}

// ownKey tells apart all that compileOwn makes sets of; rules tells which rules select the identity.
func ownKey(rules []byte, own []*rule, id *Identity) alikeKey {
	var depends varKind
	for _, one := range own {
		depends |= one.own.depends
	}
	b := appendText(make([]byte, 0, 4096), string(rules))
	if depends&varID != 0 {
		b = appendText(b, id.ID)
	}
	if depends&varKindOf != 0 {
		b = appendText(b, id.Kind)
	}
	if depends&varGroups != 0 {
		b = appendList(b, id.Groups)
	}
	if depends&varAttr != 0 {
		b = binary.AppendUvarint(b, uint64(len(id.Attrs)))
		for _, name := range slices.Sorted(maps.Keys(id.Attrs)) {
			b = appendList(appendText(b, name), id.Attrs[name])
		}
	}
	b = binary.AppendUvarint(b, uint64(len(id.Rows)))
	for i := range id.Rows {
		b = appendList(append(b, id.Rows[i].Query[:]...), id.Rows[i].Values)
	}
	if id.Claimed != nil {
		b = appendClaims(b, id.Claimed)
	}
	return sha256.Sum256(b)
}

func (a *alike) get(key alikeKey) *grantSets {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sets[key].Value()
}

// put returns s, or what was put for the key meanwhile.
func (a *alike) put(key alikeKey, s *grantSets) *grantSets {
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.sets[key].Value(); other != nil {
		return other
	}
	if a.sets == nil {
		a.sets = make(map[alikeKey]weak.Pointer[grantSets])
	}
	a.sets[key] = weak.Make(s)
	runtime.AddCleanup(s, a.drop, key)
	return s
}

// drop forgets a key whose sets are gone, unless others came for it.
func (a *alike) drop(key alikeKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sets[key].Value() == nil {
		delete(a.sets, key)
	}
	if len(a.sets) == 0 {
		a.sets = nil // maps never shrink by themselves
	}
}

// memo is what rules made of an Identity's own templates last: all conns that a login in the cache lets in have the same, and nothing is compiled for them.
type memo struct {
	of   *Identity // a copy is about to be changed, so it is none of its
	made atomic.Pointer[made]
}

type made struct {
	rules *Rules
	sets  *grantSets
}

// remember has the Conns of id share what is compiled for it. To be called before others see id.
func (id *Identity) remember() { id.memo = &memo{of: id} }

func (m *memo) get(r *Rules, id *Identity) (*grantSets, bool) {
	if m == nil || m.of != id {
		return nil, false
	}
	last := m.made.Load()
	if last == nil || last.rules != r {
		return nil, false
	}
	return last.sets, true
}

func (m *memo) put(r *Rules, id *Identity, s *grantSets) {
	if m != nil && m.of == id {
		m.made.Store(&made{r, s})
	}
}
