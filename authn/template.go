package authn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/broker/subject"
)

// template is a pattern with variables, {id} for one. A value is quoted before it is put in, so it is a part of one token
// whatever it holds: it can never add a token or a wildcard.
type template struct {
	// literals stand before, between and after vars: one more than these.
	literals []string
	vars     []variable
}

type variable struct {
	kind varKind
	name string // of varAttr and varRow
}

// varKind is a set bit, so that templates can say together what they depend on.
type varKind uint8

const (
	varID varKind = 1 << iota
	varKindOf
	varConn
	varGroups
	varAttr
	varRow
)

type varName struct {
	name string
	kind varKind
}

var varNames = []varName{{"id", varID}, {"kind", varKindOf}, {"conn", varConn}, {"groups", varGroups}}

// parseTemplate checks text as a pattern too, with any value in its variables.
func parseTemplate(text string) (t template, err error) {
	rest := text
	for {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			t.literals = append(t.literals, rest)
			break
		}
		end := strings.IndexAny(rest[open+1:], "{}")
		if rest[open] == '}' || end < 0 || rest[open+1+end] != '}' {
			return t, fmt.Errorf("%q has a brace without its pair; braces are for variables such as {id}", text)
		}
		v, err := parseVariable(rest[open+1 : open+1+end])
		if err != nil {
			return t, fmt.Errorf("%q: %w", text, err)
		}
		t.literals = append(t.literals, rest[:open])
		t.vars = append(t.vars, v)
		rest = rest[open+1+end+1:]
	}
	// Any value is at least one byte that passes in a token: what is legal with x is legal, or too long, with others.
	if err := subject.CheckPattern(strings.Join(t.literals, "x")); err != nil {
		return t, fmt.Errorf("%q: %w", text, err)
	}
	return t, nil
}

func parseVariable(name string) (variable, error) {
	for _, v := range varNames {
		if v.name == name {
			return variable{kind: v.kind}, nil
		}
	}
	if attr, ok := strings.CutPrefix(name, "attr."); ok && attr != "" {
		return variable{kind: varAttr, name: attr}, nil
	}
	if column, ok := strings.CutPrefix(name, "row."); ok && column != "" {
		return variable{kind: varRow, name: column}, nil
	}
	known := []string{"id", "kind", "conn", "groups", "attr.NAME", "row.COLUMN"}
	if near := nearest(name, known); near != "" {
		return variable{}, fmt.Errorf("unknown variable {%s}; did you mean {%s}?", name, near)
	}
	return variable{}, fmt.Errorf("unknown variable {%s}; there are {%s}", name, strings.Join(known, "} {"))
}

func (t *template) depends() (kinds varKind) {
	for _, v := range t.vars {
		kinds |= v.kind
	}
	return kinds
}

// wild reports whether the template has a wildcard of its own.
func (t *template) wild() bool {
	for _, l := range t.literals {
		if strings.ContainsAny(l, "*>") {
			return true
		}
	}
	return false
}

// maxExpanded bounds the patterns that one template may give one identity.
const maxExpanded = 1024

// values are what variables stand for.
type values struct {
	id   *Identity
	conn string
	// Of a rule with sql: one row, and the names of its columns.
	columns, row []string
}

// expand appends the patterns of t: one for each value of a list, none if a variable has no value. Values that make
// a pattern longer than any name are left out, for it could match nothing. ok is false if the patterns became too many.
func (t *template) expand(dst []string, v *values) (_ []string, ok bool) {
	x := expansion{template: t, values: v, patterns: dst}
	ok = x.from(0, t.literals[0])
	return x.patterns, ok
}

type expansion struct {
	template *template
	values   *values
	patterns []string
	tried    int // also those left out
}

// from fills the variables from the nth on; prefix is what stands before it.
func (x *expansion) from(n int, prefix string) (ok bool) {
	if n == len(x.template.vars) {
		if subject.CheckPattern(prefix) == nil {
			x.patterns = append(x.patterns, prefix)
		}
		x.tried++
		return x.tried <= maxExpanded
	}
	one, list := x.values.of(x.template.vars[n])
	if one != "" {
		return x.from(n+1, prefix+subject.Quote(one)+x.template.literals[n+1])
	}
	for _, value := range list {
		if value != "" && !x.from(n+1, prefix+subject.Quote(value)+x.template.literals[n+1]) {
			return false
		}
	}
	return true
}

// of gives the one value of a variable or its list.
func (v *values) of(name variable) (one string, list []string) {
	switch name.kind {
	case varID:
		return v.id.ID, nil
	case varKindOf:
		return v.id.Kind, nil
	case varConn:
		return v.conn, nil
	case varGroups:
		return "", v.id.Groups
	case varRow:
		return v.row[slices.Index(v.columns, name.name)], nil
	default:
		return "", v.id.Attrs[name.name]
	}
}

// nearest gives the known word that name was probably meant to be, or "".
func nearest(name string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < bestDistance && d < len(k) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}
