package authn

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/broker/subject"
)

// Why tells what a login may do with one group, and what decides it.
type Why struct {
	Group string `json:"group"`
	// Subscribe is hearing it, Publish speaking to it, Join being put into it at connect.
	Subscribe Verdict `json:"subscribe"`
	Publish   Verdict `json:"publish"`
	Join      Verdict `json:"join"`
}

// Verdict is one answer of Why.
type Verdict struct {
	Allowed bool     `json:"allowed"`
	Reasons []Reason `json:"reasons"` // what denies, then what allows, then what would allow if something were otherwise
}

// Reason is one pattern that covers the group, or would.
type Reason struct {
	// Effect is "deny", "allow", or "miss" for a pattern that would allow it if Missing were not.
	Effect string `json:"effect"`
	// Source says where the pattern stands: "[[grants]] 2" for the second entry of config.toml, or what the credential itself carries.
	Source string `json:"source"`
	// To is that of the entry, List the list it stands in, Template its text there; Pattern is what that is for this login.
	To       string `json:"to,omitempty"`
	List     string `json:"list,omitempty"`
	Template string `json:"template,omitempty"`
	Pattern  string `json:"pattern,omitempty"`
	SQL      string `json:"sql,omitempty"`
	// Missing is what keeps a miss from being an allow.
	Missing string `json:"missing,omitempty"`
	// Text is all of it in words.
	Text string `json:"text"`
}

// Effects of a Reason.
const (
	effectDeny  = "deny"
	effectAllow = "allow"
	effectMiss  = "miss"
)

// Explain tells why id may hear, say and join a group, or may not; conn fills {conn}. The error is that of GrantsFor.
func (r *Rules) Explain(id *Identity, group, conn string) (*Why, error) {
	g, err := r.GrantsFor(id, conn)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = &Rules{}
	}
	x := &explanation{values: values{id: id, conn: conn}, group: group}
	x.ownGroup()
	for i := range r.rules {
		x.rule(fmt.Sprintf("[[grants]] %d", i+1), &r.rules[i])
	}
	x.claims()
	why := &Why{Group: group}
	denies := x.reasons["deny"]
	why.Subscribe = verdict(g.CanSubscribe([]byte(group)), denies, slices.Concat(x.reasons["own"], x.reasons["subscribe"], x.reasons["join"]))
	why.Publish = verdict(g.CanPublish([]byte(group)), denies, x.reasons["publish"])
	why.Join = verdict(slices.Contains(g.Join(), group), denies, slices.Concat(x.reasons["own"], x.reasons["join"]))
	return why, nil
}

// verdict puts the reasons of an answer into their order. What would be allowed if it were not denied needs no near misses; nothing denies the own group.
func verdict(allowed bool, denies, others []Reason) Verdict {
	v := Verdict{Allowed: allowed, Reasons: []Reason{}}
	with := func(list []Reason, effect string) {
		for _, reason := range list {
			if reason.Effect == effect {
				v.Reasons = append(v.Reasons, reason)
			}
		}
	}
	if !allowed {
		with(denies, effectDeny)
	}
	with(others, effectAllow)
	if len(v.Reasons) == 0 {
		with(others, effectMiss)
	}
	return v
}

// explanation collects the reasons for one login and group, by list.
type explanation struct {
	values
	group   string
	reasons map[string][]Reason
}

func (x *explanation) add(list string, r Reason) {
	if x.reasons == nil {
		x.reasons = make(map[string][]Reason)
	}
	x.reasons[list] = append(x.reasons[list], r)
}

func (x *explanation) ownGroup() {
	if x.id.ID != "" && subject.IsUserGroup([]byte(x.group), x.id.ID) {
		x.add("own", Reason{Effect: effectAllow, Source: "own group", Text: "it is the user's own group, which it always hears"})
	}
}

// rule looks at every template of a rule.
func (x *explanation) rule(source string, r *rule) {
	for _, one := range []struct {
		list   string
		effect string
		of     func(*lists) []template
	}{
		{"join", effectAllow, func(l *lists) []template { return l.join }},
		{"subscribe", effectAllow, func(l *lists) []template { return l.subscribe }},
		{"publish", effectAllow, func(l *lists) []template { return l.publish }},
		{"deny", effectDeny, func(l *lists) []template { return l.deny }},
	} {
		for _, t := range slices.Concat(one.of(&r.shared), one.of(&r.own), one.of(&r.conn)) {
			reason := Reason{Effect: one.effect, Source: source, To: r.to.String(), List: one.list, Template: t.String()}
			if r.query != nil {
				reason.SQL = r.query.SQL(idVariable)
			}
			if x.judge(r, &t, &reason) && (reason.Effect != effectMiss || one.effect != effectDeny) {
				reason.Text = reason.words()
				x.add(one.list, reason)
			}
		}
	}
}

// judge tells whether a template of a rule has to do with the group, and completes the reason.
func (x *explanation) judge(r *rule, t *template, reason *Reason) bool {
	shape := t.shape().FindStringSubmatch(x.group)
	if shape == nil {
		return false
	}
	selected := r.to.selects(x.id)
	if selected {
		if pattern, ok := x.covers(r, t); ok {
			reason.Pattern = pattern
			return true
		}
	}
	reason.Effect = effectMiss
	var missing []string
	if !selected {
		missing = append(missing, r.to.missing(x.id))
	}
	for i, v := range t.vars {
		if v.kind == varRow {
			continue
		}
		one, list := x.of(v)
		if want, err := subject.Unquote(shape[i+1]); err == nil && want != one && !slices.Contains(list, want) {
			missing = append(missing, fmt.Sprintf("{%s} would have to be %q and %s", v, want, valueText(one, list)))
		}
	}
	if r.query != nil && selected {
		missing = append(missing, x.missingRow(r, t, shape[1:]))
	}
	if len(missing) == 0 { // a wildcard does not match such a name, for one
		missing = append(missing, "a variable has no value, or the name has an empty token")
	}
	reason.Missing = strings.Join(missing, ", and ")
	return true
}

// covers finds the pattern of a template, for this login, that matches the group.
func (x *explanation) covers(r *rule, t *template) (pattern string, ok bool) {
	rows := [][]string{nil}
	if r.query != nil {
		rows = nil
		x.columns = r.query.columns
		if answered := x.id.rows(r.query); answered != nil {
			rows = slices.Collect(slices.Chunk(answered.Values, r.query.width()))
		}
	}
	for _, x.row = range rows {
		patterns, _ := t.expand(nil, &x.values)
		for _, p := range patterns {
			if set, err := subject.NewSet([]string{p}); err == nil && set.MatchString(x.group) {
				return p, true
			}
		}
	}
	return "", false
}

// missingRow says which row there would have to be.
func (x *explanation) missingRow(r *rule, t *template, shape []string) string {
	var wants []string
	for i, v := range t.vars {
		if want, err := subject.Unquote(shape[i]); err == nil && v.kind == varRow {
			wants = append(wants, fmt.Sprintf("%s = %q", v.name, want))
		}
	}
	n := 0
	if answered := x.id.rows(r.query); answered != nil {
		n = len(answered.Values) / r.query.width()
	}
	switch {
	case n == 0:
		return "its sql gives no row for this user"
	case len(wants) == 0:
		return fmt.Sprintf("none of the %d rows of its sql fits", n)
	}
	return fmt.Sprintf("none of the rows of its sql (%d) has %s", n, strings.Join(wants, " and "))
}

// claims looks at what the credential itself carries.
func (x *explanation) claims() {
	c := x.id.Claimed
	if c == nil {
		return
	}
	source := "grants of the credential"
	switch kind, _, _ := strings.Cut(x.id.Verifier, ":"); kind {
	case "jwt":
		source = "claim gatecast of the token"
	case "webhook":
		source = "grants in the application's answer (webhook)"
	case "ticket":
		source = "grants in the ticket"
	}
	for _, one := range []struct {
		list     string
		effect   string
		patterns []string
	}{{"join", effectAllow, c.Join}, {"subscribe", effectAllow, c.Subscribe}, {"publish", effectAllow, c.Publish}, {"deny", effectDeny, c.Deny}} {
		for _, p := range one.patterns {
			if set, err := subject.NewSet([]string{p}); err == nil && set.MatchString(x.group) {
				reason := Reason{Effect: one.effect, Source: source, List: one.list, Template: p, Pattern: p}
				reason.Text = reason.words()
				x.add(one.list, reason)
			}
		}
	}
}

// words is the reason for people.
func (r *Reason) words() string {
	text := r.Source
	if r.To != "" {
		text += fmt.Sprintf(", to %q", r.To)
	}
	text += fmt.Sprintf(": %s %q", r.List, r.Template)
	switch {
	case r.Effect == effectMiss:
		return text + " would cover it, but " + r.Missing
	case r.Pattern != r.Template && r.SQL != "":
		text += fmt.Sprintf(" covers it, by a row that makes it %q", r.Pattern)
	case r.Pattern != r.Template:
		text += fmt.Sprintf(" covers it, as %q", r.Pattern)
	case r.SQL != "":
		text += " covers it, for its sql gives a row"
	default:
		text += " covers it"
	}
	if r.Effect == effectDeny {
		text += ", and deny wins over every allow"
	}
	return text
}

func valueText(one string, list []string) string {
	switch {
	case one != "":
		return fmt.Sprintf("is %q", one)
	case len(list) == 0:
		return "has no value"
	}
	return "is " + quoteList(list)
}

// quoteList names the first of a list.
func quoteList(list []string) string {
	const most = 8
	var b strings.Builder
	for i, s := range list {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(list)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%.80q", s)
	}
	return b.String()
}

func (s selector) String() string {
	switch s.kind {
	case toGroup:
		return "group:" + s.value
	case toPerm:
		return "perm:" + s.value
	case toUser:
		return "user:" + s.value
	}
	return selectorWords[s.kind]
}

// missing says why a selector does not select id.
func (s selector) missing(id *Identity) string {
	switch s.kind {
	case toAuthenticated:
		return "nobody is logged in"
	case toAnonymous:
		return "somebody is logged in"
	case toStaff:
		return fmt.Sprintf("the user is not staff (kind %q)", id.Kind)
	case toSuperuser:
		return fmt.Sprintf("the user is no superuser (kind %q)", id.Kind)
	case toGroup:
		if len(id.Groups) == 0 {
			return fmt.Sprintf("the user is not in the group %q, nor in any other", s.value)
		}
		return fmt.Sprintf("the user is not in the group %q, but in %s", s.value, quoteList(id.Groups))
	case toPerm:
		return fmt.Sprintf("the user lacks the permission %s", s.value)
	}
	return fmt.Sprintf("it is for user %q, and this is %q", s.value, id.ID)
}

// String is the variable's name.
func (v variable) String() string {
	switch v.kind {
	case varAttr:
		return "attr." + v.name
	case varRow:
		return "row." + v.name
	}
	return varNames[slices.IndexFunc(varNames, func(n varName) bool { return n.kind == v.kind })].name
}

// String is the template as it stands in config.
func (t *template) String() string {
	var b strings.Builder
	for i, literal := range t.literals {
		if b.WriteString(literal); i < len(t.vars) {
			fmt.Fprintf(&b, "{%s}", t.vars[i])
		}
	}
	return b.String()
}

// shape matches every name that the template could cover with some values, and finds the values, quoted.
func (t *template) shape() *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for i, literal := range t.literals {
		for _, c := range literal {
			switch c {
			case '*':
				b.WriteString(`[^.]+`)
			case '>':
				b.WriteString(`.+`)
			default:
				b.WriteString(regexp.QuoteMeta(string(c)))
			}
		}
		if i < len(t.vars) {
			b.WriteString(`([A-Za-z0-9_%-]+)`)
		}
	}
	return regexp.MustCompile(b.String() + `\z`)
}
