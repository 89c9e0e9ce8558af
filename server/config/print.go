package config

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"sort"
	"strconv"
)

// Value is one setting as it holds.
type Value struct {
	Path   string
	Text   string // as TOML; "(set, hidden)" for a secret, and so for the query of an address
	Origin Origin
}

// Values lists every setting in the order of config.toml.
func (s *Settings) Values() []Value {
	var out []Value
	s.values(reflect.ValueOf(s.Config), "", &out)
	return out
}

func (s *Settings) values(v reflect.Value, path string, out *[]Value) {
	var inner []func()
	for _, f := range fieldsOf(v.Type()) {
		if f.twin {
			continue
		}
		at, one := join(path, f.key), v.FieldByIndex(f.index)
		switch shapeOf(f.typ) {
		case table:
			inner = append(inner, func() { s.values(one, at, out) })
		case tables:
			inner = append(inner, func() {
				for i := range one.Len() {
					s.values(one.Index(i), at+"["+strconv.Itoa(i)+"]", out)
				}
			})
		case byName:
			inner = append(inner, func() {
				names := one.MapKeys()
				sort.Slice(names, func(a, b int) bool { return names[a].String() < names[b].String() })
				for _, name := range names {
					s.values(one.MapIndex(name), join(at, name.String()), out)
				}
			})
		default:
			text := hideQuery(literal(one))
			if f.secret && !one.IsZero() {
				text = "(set, hidden)"
			}
			*out = append(*out, Value{Path: at, Text: text, Origin: s.origins[at]})
		}
	}
	for _, walk := range inner {
		walk()
	}
}

// query is that of an address, up to the end of the string it stands in. Some services take a key there.
var query = regexp.MustCompile(`(://[^"?]*\?)[^"]+`)

func hideQuery(text string) string { return query.ReplaceAllString(text, "$1(hidden)") }

// Print writes every setting, its value and where it came from.
func (s *Settings) Print(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, v := range s.Values() {
		fmt.Fprintf(b, "%-44s = %-28s # %s\n", v.Path, v.Text, v.Origin)
	}
	return b.Flush()
}
