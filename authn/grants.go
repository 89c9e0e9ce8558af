package authn

import (
	"slices"

	"github.com/gatecast/gatecast/broker/subject"
)

// Grants are what one Conn may hear and say. They are immutable and may be used concurrently; checks allocate nothing. A
// nil *Grants allows nothing.
//
// What depends on the rules, the kind and the Django groups only is shared by all identities for which it is the same;
// own is what depends on this one, and conn on the Conn too.
type Grants struct {
	id string // "" = anonymous
	Sets
}

// Sets are Grants without the user whose personal group they cover: for many users the same. They are comparable.
type Sets struct {
	shared *grantSets
	own    *grantSets // nil for most
	conn   *grantSets // nil for most
}

// lists are the sets there are or may be.
func (s *Sets) lists() [3]*grantSets { return [...]*grantSets{s.shared, s.own, s.conn} }

// Own reports whether some of it is one login's or conn's: who keeps that may keep thousands of patterns for nobody.
func (s Sets) Own() bool { return s.own != nil || s.conn != nil }

// Of makes the Grants of a user again.
func (s Sets) Of(id string) Grants { return Grants{id, s} }

// grantSets are lists of patterns, compiled. Each may be nil.
type grantSets struct {
	join                     []string // concrete names
	subscribe, publish, deny *subject.Set
}

// compileSets compiles p; join is added to subscribe.
func compileSets(p *Patterns) (*grantSets, error) {
	if len(p.Join)+len(p.Subscribe)+len(p.Publish)+len(p.Deny) == 0 {
		return nil, nil
	}
	s := &grantSets{join: unique(p.Join)}
	var err error
	if s.subscribe, err = subject.NewSet(slices.Concat(p.Subscribe, p.Join)); err != nil {
		return nil, err
	}
	if s.publish, err = subject.NewSet(p.Publish); err != nil {
		return nil, err
	}
	if s.deny, err = subject.NewSet(p.Deny); err != nil {
		return nil, err
	}
	return s, nil
}

// CanSubscribe reports whether name, which has passed subject.CheckName, may be heard. The own personal group always may.
func (g *Grants) CanSubscribe(name []byte) bool {
	if g == nil {
		return false
	}
	if g.id != "" && subject.IsUserGroup(name, g.id) {
		return true
	}
	s, o, c := g.shared, g.own, g.conn
	allowed := s != nil && s.subscribe.Match(name) || o != nil && o.subscribe.Match(name) || c != nil && c.subscribe.Match(name)
	return allowed && !g.denied(name)
}

// CanPublish reports whether name, which has passed subject.CheckName, may be sent to.
func (g *Grants) CanPublish(name []byte) bool {
	if g == nil {
		return false
	}
	s, o, c := g.shared, g.own, g.conn
	allowed := s != nil && s.publish.Match(name) || o != nil && o.publish.Match(name) || c != nil && c.publish.Match(name)
	return allowed && !g.denied(name)
}

func (g *Grants) denied(name []byte) bool {
	s, o, c := g.shared, g.own, g.conn
	return s != nil && s.deny.Match(name) || o != nil && o.deny.Match(name) || c != nil && c.deny.Match(name)
}

// Join returns the names of the groups to join at connect: the own personal group first, then those of the rules that are
// not denied. The slice is the caller's.
func (g *Grants) Join() []string {
	if g == nil {
		return nil
	}
	var names []string
	if g.id != "" {
		names = append(names, subject.UserGroup(g.id))
	}
	for _, s := range g.lists() {
		if s == nil {
			continue
		}
		before := names // each list has a name once
		for _, name := range s.join {
			if !slices.Contains(before, name) && !g.denied([]byte(name)) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Patterns returns all of it as patterns over names, for the native NATS door: Join is in Subscribe too, as is the own
// personal group. NATS lets Deny win over that one also.
func (g *Grants) Patterns() Patterns {
	p := Patterns{Join: g.Join()}
	if g == nil {
		return p
	}
	if g.id != "" {
		p.Subscribe = append(p.Subscribe, subject.UserGroup(g.id))
	}
	for _, s := range g.lists() {
		if s == nil {
			continue
		}
		p.Subscribe = append(p.Subscribe, s.subscribe.Patterns()...)
		p.Publish = append(p.Publish, s.publish.Patterns()...)
		p.Deny = append(p.Deny, s.deny.Patterns()...)
	}
	p.Subscribe, p.Publish, p.Deny = unique(p.Subscribe), unique(p.Publish), unique(p.Deny)
	return p
}

// unique removes repetitions from a list of its own, keeping the order.
func unique(list []string) []string {
	if len(list) < 2 {
		return slices.Clone(list)
	}
	seen := make(map[string]bool, len(list))
	out := make([]string, 0, len(list))
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}
