package authn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/gatecast/gatecast/broker/subject"
)

// Rule is one [[grants]] entry. Its lists are templates: {id} {kind} {conn} {groups} {attr.NAME} stand for quoted values
// of the identity.
type Rule struct {
	// To says who gets it: "authenticated", "anonymous", "staff" (superusers too), "superuser", "group:NAME",
	// "perm:app.codename" (superusers have all) or "user:ID".
	To string `toml:"to"`
	// Join lists groups joined at connect, which implies subscribe for them; no wildcards.
	Join []string `toml:"join"`
	// Subscribe lists patterns of groups that may be heard.
	Subscribe []string `toml:"subscribe"`
	// Publish lists patterns of groups that may be sent to.
	Publish []string `toml:"publish"`
	// Deny lists patterns that win over every allow of any rule, for hearing and sending.
	Deny []string `toml:"deny"`
}

// Rules are the grants of config, compiled. They never change and may be used concurrently; a nil *Rules has no rule.
type Rules struct {
	rules []rule

	mu     sync.Mutex
	shared map[string]*grantSets // by what they depend on: see appendDepends and appendClaims; guarded by mu
}

// maxShared bounds the compiled sets that are kept to be shared. Sites with more kinds of users than that compile again.
const maxShared = 4096

type rule struct {
	to     selector
	shared lists // templates that depend on {kind} and {groups} at most
	own    lists
}

// lists are the templates of a rule.
type lists struct {
	join, subscribe, publish, deny []template
	depends                        varKind
}

type selector struct {
	kind  selectorKind
	value string
}

type selectorKind uint8

const (
	toAuthenticated selectorKind = iota
	toAnonymous
	toStaff
	toSuperuser
	toGroup
	toPerm
	toUser
)

// CompileRules checks selectors, templates and patterns. The error names each entry that is wrong, counted from 1.
func CompileRules(rules []Rule) (*Rules, error) {
	r := &Rules{shared: make(map[string]*grantSets)}
	var errs []error
	for i := range rules {
		compiled, err := compileRule(&rules[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("grants %d: %w", i+1, err))
		}
		r.rules = append(r.rules, compiled)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

func compileRule(in *Rule) (out rule, err error) {
	var errs []error
	out.to, err = parseSelector(in.To)
	errs = append(errs, err)
	compile := func(key string, texts []string, list func(*lists) *[]template) {
		for _, text := range texts {
			t, err := parseTemplate(text)
			if err == nil && key == "join" && t.wild() {
				err = fmt.Errorf("%q has a wildcard; a group to join has one name", text)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", key, err))
				continue
			}
			into := &out.own
			if t.depends()&^(varKindOf|varGroups) == 0 {
				into = &out.shared
			}
			into.depends |= t.depends()
			templates := list(into)
			*templates = append(*templates, t)
		}
	}
	compile("join", in.Join, func(l *lists) *[]template { return &l.join })
	compile("subscribe", in.Subscribe, func(l *lists) *[]template { return &l.subscribe })
	compile("publish", in.Publish, func(l *lists) *[]template { return &l.publish })
	compile("deny", in.Deny, func(l *lists) *[]template { return &l.deny })
	return out, errors.Join(errs...)
}

func parseSelector(to string) (selector, error) {
	words := []string{"authenticated", "anonymous", "staff", "superuser"}
	if i := slices.Index(words, to); i >= 0 {
		return selector{kind: selectorKind(i)}, nil
	}
	kind, value, found := strings.Cut(to, ":")
	if !found {
		if near := nearest(to, words); near != "" {
			return selector{}, fmt.Errorf("to = %q is nobody; did you mean %q?", to, near)
		}
		return selector{}, fmt.Errorf("to = %q is nobody; use authenticated, anonymous, staff, superuser, group:NAME, perm:app.codename or user:ID", to)
	}
	switch kind {
	case "group":
		if value == "" {
			return selector{}, fmt.Errorf("to = %q wants the name of a Django group behind the colon", to)
		}
		return selector{kind: toGroup, value: value}, nil
	case "perm":
		if app, codename, ok := strings.Cut(value, "."); !ok || app == "" || codename == "" {
			return selector{}, fmt.Errorf("to = %q wants a permission as app.codename, e.g. perm:chat.moderate", to)
		}
		return selector{kind: toPerm, value: value}, nil
	case "user":
		if err := subject.CheckUserID(value); err != nil {
			return selector{}, fmt.Errorf("to = %q: %w", to, err)
		}
		return selector{kind: toUser, value: value}, nil
	}
	if near := nearest(kind, []string{"group", "perm", "user"}); near != "" {
		return selector{}, fmt.Errorf("to = %q is nobody; did you mean %q?", to, near+":"+value)
	}
	return selector{}, fmt.Errorf("to = %q is nobody; use group:NAME, perm:app.codename or user:ID", to)
}

func (s selector) selects(id *Identity) bool {
	switch s.kind {
	case toAuthenticated:
		return id.ID != ""
	case toAnonymous:
		return id.ID == ""
	case toStaff: // an Identity has one kind, and Django's superusers are staff as a rule
		return id.Kind == KindStaff || id.Kind == KindSuperuser
	case toSuperuser:
		return id.Kind == KindSuperuser
	case toGroup:
		return slices.Contains(id.Groups, s.value)
	case toPerm: // as has_perm
		return id.Kind == KindSuperuser || slices.Contains(id.Perms, s.value)
	default:
		return id.ID != "" && id.ID == s.value
	}
}

// GrantsFor compiles what id may do; conn, the conn's id, fills {conn}. The error says that it would be too many patterns
// or that a claim is no pattern: nothing is granted then.
func (r *Rules) GrantsFor(id *Identity, conn string) (*Grants, error) {
	g := &Grants{id: id.ID}
	if r == nil {
		r = &Rules{}
	}
	var ownBuf [8]*lists
	var keyBuf [128]byte
	own, key := ownBuf[:0], append(keyBuf[:0], rulesKey...)
	var depends varKind
	for i := range r.rules {
		if i%8 == 0 {
			key = append(key, 0)
		}
		if !r.rules[i].to.selects(id) {
			continue
		}
		key[len(key)-1] |= 1 << (i % 8)
		depends |= r.rules[i].shared.depends
		if !r.rules[i].own.empty() {
			own = append(own, &r.rules[i].own)
		}
	}
	var err error
	if g.shared, err = r.sharedSets(appendDepends(key, depends, id), id); err != nil {
		return nil, err
	}
	if g.own, err = r.ownSets(own, id, conn); err != nil {
		return nil, err
	}
	return g, nil
}

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
			key = append(binary.AppendUvarint(key, uint64(len(group))), group...)
		}
	}
	return key
}

func (r *Rules) sharedSets(key []byte, id *Identity) (*grantSets, error) {
	if len(r.rules) == 0 {
		return nil, nil
	}
	return r.kept(key, func() (*grantSets, error) {
		var p Patterns
		for i := range r.rules {
			if r.rules[i].to.selects(id) && !r.rules[i].shared.expand(&p, id, "") {
				return nil, tooMany(id)
			}
		}
		return compileSets(&p)
	})
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

// ownSets compiles what depends on this identity. Claims alone are the same for many: tokens of one kind carry the same.
func (r *Rules) ownSets(own []*lists, id *Identity, conn string) (*grantSets, error) {
	switch {
	case len(own) == 0 && id.Claimed == nil:
		return nil, nil
	case len(own) == 0:
		return r.kept(appendClaims(make([]byte, 0, 256), id.Claimed), func() (*grantSets, error) { return ownSets(own, id, conn) })
	}
	return ownSets(own, id, conn)
}

// appendClaims begins the key of claimed sets, which the key of rules never begins like.
func appendClaims(key []byte, p *Patterns) []byte {
	key = append(key, claimsKey...)
	for _, list := range [][]string{p.Join, p.Subscribe, p.Publish, p.Deny} {
		key = binary.AppendUvarint(key, uint64(len(list)))
		for _, s := range list {
			key = append(binary.AppendUvarint(key, uint64(len(s))), s...)
		}
	}
	return key
}

func ownSets(own []*lists, id *Identity, conn string) (*grantSets, error) {
	var p Patterns
	for _, l := range own {
		if !l.expand(&p, id, conn) {
			return nil, tooMany(id)
		}
	}
	if c := id.Claimed; c != nil {
		for _, name := range c.Join {
			if err := subject.CheckName(name); err != nil {
				return nil, fmt.Errorf("claimed join %q: %w", name, err)
			}
		}
		p.Join = append(p.Join, c.Join...)
		p.Subscribe = append(p.Subscribe, c.Subscribe...)
		p.Publish = append(p.Publish, c.Publish...)
		p.Deny = append(p.Deny, c.Deny...)
	}
	return compileSets(&p)
}

func tooMany(id *Identity) error {
	return fmt.Errorf("the grants of user %q give one template more than %d patterns; use a wildcard instead of a list", id.ID, maxExpanded)
}

func (l *lists) empty() bool {
	return len(l.join)+len(l.subscribe)+len(l.publish)+len(l.deny) == 0
}

func (l *lists) expand(p *Patterns, id *Identity, conn string) bool {
	for _, list := range []struct {
		templates []template
		into      *[]string
	}{{l.join, &p.Join}, {l.subscribe, &p.Subscribe}, {l.publish, &p.Publish}, {l.deny, &p.Deny}} {
		for i := range list.templates {
			var ok bool
			if *list.into, ok = list.templates[i].expand(*list.into, id, conn); !ok {
				return false
			}
		}
	}
	return true
}
