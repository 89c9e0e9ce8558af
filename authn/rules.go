package authn

import (
	"context"
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
	// SQL makes the entry hold once for each row of a SELECT, with {row.COLUMN} in its patterns for the row's values, and not at all without a row:
	// "SELECT room_id FROM chat_member WHERE user_id = {id}" and "chat.{row.room_id}". The user's primary key is bound to {id} as a parameter. At most 1,024
	// rows, within query_timeout; they are kept for cache_ttl, and asked for again by every sweep and by revalidate. The database's user needs SELECT on what
	// is read.
	SQL string `toml:"sql"`
	// Site says in whose database sql is run, and for whose users: "" is [authn.django], "shop" is [authn.django.sites.shop]. A user is the site's
	// whose id begins with its user_prefix.
	Site string `toml:"site"`
}

// Rules are the grants of config, compiled. They never change and may be used concurrently; a nil *Rules has no rule.
type Rules struct {
	rules   []rule
	queries []*Query // each once
	alike   *alike   // see sharing.go

	mu     sync.Mutex
	shared map[string]*grantSets // by what they depend on: see appendDepends and appendClaims; guarded by mu
}

type rule struct {
	to     selector
	shared lists  // templates that depend on {kind} and {groups} at most; empty with a query
	own    lists  // those that depend on more of the login
	conn   lists  // those that depend on {conn}
	query  *Query // nil for most
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
	r := &Rules{alike: &alike{}, shared: make(map[string]*grantSets)}
	var errs []error
	for i := range rules {
		compiled, err := compileRule(&rules[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("grants %d: %w", i+1, err))
		}
		if q := compiled.query; q != nil {
			if i := slices.IndexFunc(r.queries, func(other *Query) bool { return other.key == q.key }); i >= 0 {
				compiled.query = r.queries[i]
			} else {
				r.queries = append(r.queries, q)
			}
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
	var columns []string
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
			for _, v := range t.vars {
				if v.kind == varRow && !slices.Contains(columns, v.name) {
					columns = append(columns, v.name)
				}
			}
			into := &out.own
			switch depends := t.depends(); {
			case depends&varConn != 0:
				into = &out.conn
			case depends&^(varKindOf|varGroups) == 0 && in.SQL == "":
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
	slices.Sort(columns)
	switch {
	case in.SQL != "" && out.to.kind == toAnonymous && err == nil:
		errs = append(errs, errors.New(`sql: to = "anonymous" is nobody whose rows could be asked for`))
	case in.SQL != "" && len(in.Join)+len(in.Subscribe)+len(in.Publish)+len(in.Deny) == 0:
		errs = append(errs, errors.New("sql: there is no join, subscribe, publish or deny in this entry that its rows could be for"))
	case in.SQL != "":
		if out.query, err = newQuery(in.Site, in.SQL, columns); err != nil {
			errs = append(errs, fmt.Errorf("sql: %w", err))
		}
	case len(columns) > 0:
		errs = append(errs, fmt.Errorf("{row.%s} is of a row, and there is no sql in this entry", columns[0]))
	case in.Site != "":
		errs = append(errs, errors.New("site says whose database sql is run in, and there is no sql in this entry"))
	}
	return out, errors.Join(errs...)
}

// Queries returns the queries of the rules, each once.
func (r *Rules) Queries() []*Query {
	if r == nil {
		return nil
	}
	return r.queries
}

// WithRows gives an identity with the rows of all queries that decide what it may, or id itself if it has just these.
func (r *Rules) WithRows(ctx context.Context, id *Identity, ask func(context.Context, *Query, string) (Rows, error)) (*Identity, error) {
	var buf [4]*Query
	queries := r.queriesFor(buf[:0], id)
	if len(queries) == 0 && len(id.Rows) == 0 {
		return id, nil
	}
	var rows []Rows
	for _, q := range queries {
		one, err := ask(ctx, q, id.ID)
		if err != nil {
			var refused *Refused
			if !errors.As(err, &refused) {
				err = fmt.Errorf("an SQL rule of [[grants]]: %w", err)
			}
			return nil, err
		}
		rows = append(rows, one)
	}
	if slices.EqualFunc(rows, id.Rows, func(a, b Rows) bool { return a.Query == b.Query && slices.Equal(a.Values, b.Values) }) {
		return id, nil
	}
	own := *id
	own.Rows = rows
	return &own, nil
}

// queriesFor appends the queries whose rows decide what id may.
func (r *Rules) queriesFor(dst []*Query, id *Identity) []*Query {
	if r == nil || len(r.queries) == 0 || id.ID == "" {
		return dst
	}
	for i := range r.rules {
		if q := r.rules[i].query; q != nil && r.rules[i].to.selects(id) && !slices.Contains(dst, q) {
			dst = append(dst, q)
		}
	}
	return dst
}

// answered tells whether id has the rows of all queries that decide what it may.
func (r *Rules) answered(id *Identity) bool {
	if r == nil || len(r.queries) == 0 || id.ID == "" {
		return true
	}
	for i := range r.rules {
		if q := r.rules[i].query; q != nil && r.rules[i].to.selects(id) && id.rows(q) == nil {
			return false
		}
	}
	return true
}

// selectorWords are the selectors without a value, by kind.
var selectorWords = []string{"authenticated", "anonymous", "staff", "superuser"}

func parseSelector(to string) (selector, error) {
	words := selectorWords
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

// ErrNoRows is GrantsFor's when the rows of an SQL rule are not known: what the rule would deny cannot be told.
var ErrNoRows = errors.New("the rows of an SQL rule of [[grants]] are not known yet")

// GrantsFor compiles what id may do; conn, the conn's id, fills {conn}. The error is ErrNoRows, or says that it would be too many patterns
// or that a claim is no pattern: nothing is granted then.
func (r *Rules) GrantsFor(id *Identity, conn string) (*Grants, error) {
	g := &Grants{id: id.ID}
	if r == nil {
		r = &Rules{}
	}
	var ownBuf, connBuf [8]*rule
	var keyBuf [128]byte
	own, conns, key := ownBuf[:0], connBuf[:0], append(keyBuf[:0], rulesKey...)
	var depends varKind
	for i := range r.rules {
		one := &r.rules[i]
		if i%8 == 0 {
			key = append(key, 0)
		}
		if !one.to.selects(id) {
			continue
		}
		key[len(key)-1] |= 1 << (i % 8)
		depends |= one.shared.depends
		if !one.own.empty() {
			own = append(own, one)
		}
		if !one.conn.empty() {
			conns = append(conns, one)
		}
	}
	var err error
	if g.own, err = r.ownSets(key, own, id); err != nil {
		return nil, err
	}
	if g.conn, err = connSets(conns, id, conn); err != nil {
		return nil, err
	}
	if g.shared, err = r.sharedSets(appendDepends(key, depends, id), id); err != nil {
		return nil, err
	}
	return g, nil
}

func (r *Rules) sharedSets(key []byte, id *Identity) (*grantSets, error) {
	if len(r.rules) == 0 {
		return nil, nil
	}
	return r.kept(key, func() (*grantSets, error) {
		var p Patterns
		for i := range r.rules {
			if r.rules[i].to.selects(id) && !r.rules[i].shared.expand(&p, &values{id: id}) {
				return nil, tooMany(id)
			}
		}
		return compileSets(&p)
	})
}

// ownSets gives what depends on this login: what was made for its Identity before, for one alike, or is made now. Claims alone are the same for
// many: tokens of one kind carry the same. key tells which rules select the identity.
func (r *Rules) ownSets(key []byte, own []*rule, id *Identity) (*grantSets, error) {
	switch {
	case len(own) == 0 && id.Claimed == nil:
		return nil, nil
	case len(own) == 0:
		return r.kept(appendClaims(make([]byte, 0, 256), id.Claimed), func() (*grantSets, error) { return compileOwn(nil, id) })
	}
	if s, ok := id.memo.get(r, id); ok {
		return s, nil
	}
	s, err := r.alikeSets(key, own, id)
	if err == nil {
		id.memo.put(r, id, s)
	}
	return s, err
}

// alikeSets shares what takes long to compile with all who have the same values, for as long as one of them has it.
func (r *Rules) alikeSets(key []byte, own []*rule, id *Identity) (*grantSets, error) {
	if !manyValues(id) {
		return compileOwn(own, id)
	}
	sum := ownKey(key, own, id)
	if s := r.alike.get(sum); s != nil {
		return s, nil
	}
	s, err := compileOwn(own, id)
	if err != nil || s == nil {
		return nil, err
	}
	return r.alike.put(sum, s), nil
}

func compileOwn(own []*rule, id *Identity) (*grantSets, error) {
	var p Patterns
	for _, one := range own {
		if err := one.expand(&one.own, &p, &values{id: id}); err != nil {
			return nil, err
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

// connSets compiles what depends on the conn itself.
func connSets(conns []*rule, id *Identity, conn string) (*grantSets, error) {
	if len(conns) == 0 {
		return nil, nil
	}
	var p Patterns
	for _, one := range conns {
		if err := one.expand(&one.conn, &p, &values{id: id, conn: conn}); err != nil {
			return nil, err
		}
	}
	return compileSets(&p)
}

// expand appends what some of the rule's templates give: with a query, for each of its rows.
func (r *rule) expand(l *lists, p *Patterns, v *values) error {
	if r.query == nil {
		if !l.expand(p, v) {
			return tooMany(v.id)
		}
		return nil
	}
	rows := v.id.rows(r.query)
	if rows == nil {
		return ErrNoRows
	}
	v.columns = r.query.columns
	before := p.len()
	for row := range slices.Chunk(rows.Values, r.query.width()) {
		v.row = row
		if !l.expand(p, v) || p.len()-before > maxExpanded*l.len() {
			return tooMany(v.id)
		}
	}
	return nil
}

func (p *Patterns) len() int { return len(p.Join) + len(p.Subscribe) + len(p.Publish) + len(p.Deny) }

func tooMany(id *Identity) error {
	return fmt.Errorf("the grants of user %q give one template more than %d patterns; use a wildcard instead of a list", id.ID, maxExpanded)
}

func (l *lists) empty() bool { return l.len() == 0 }

func (l *lists) len() int { return len(l.join) + len(l.subscribe) + len(l.publish) + len(l.deny) }

func (l *lists) expand(p *Patterns, v *values) bool {
	for _, list := range []struct {
		templates []template
		into      *[]string
	}{{l.join, &p.Join}, {l.subscribe, &p.Subscribe}, {l.publish, &p.Publish}, {l.deny, &p.Deny}} {
		for i := range list.templates {
			var ok bool
			if *list.into, ok = list.templates[i].expand(*list.into, v); !ok {
				return false
			}
		}
	}
	return true
}
