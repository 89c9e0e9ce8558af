package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// file is a parsed config.toml: its values, and the line each key stands on by its path ("broker.services[0].name").
type file struct {
	path  string
	root  map[string]any
	lines map[string]int
}

// readFile parses the TOML at path. Syntax errors name the line.
func readFile(path string) (*file, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%s does not exist; write one with: gatecast config init > %s", path, path)
		}
		return nil, fmt.Errorf("read the config: %w", err)
	}
	return parseFile(path, data)
}

func parseFile(path string, data []byte) (*file, error) {
	f := &file{path: path}
	if err := toml.Unmarshal(data, &f.root); err != nil {
		line := 0
		if de, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ = de.Position()
		}
		text := strings.TrimPrefix(err.Error(), "toml: ")
		return nil, &Error{File: path, Line: line, Text: "not valid TOML: " + text + tomlAdvice(text)}
	}
	f.lines = linesOf(data)
	return f, nil
}

// tomlAdvice says what to do about the mistakes of who copies sections together. A parser of other words leaves them without.
func tomlAdvice(text string) string {
	switch {
	case strings.Contains(text, "already exists as an array of tables"):
		return "; every entry begins with double brackets: [[…]]"
	case strings.Contains(text, "already exists"):
		return "; a section stands once: put all its keys below one heading"
	case strings.Contains(text, "is already defined"):
		return "; keep one of them"
	case strings.Contains(text, "at start of value"):
		return `; a text needs quotes: "…"`
	}
	return ""
}

// linesOf finds the line of every key in a document that parsed before.
func linesOf(data []byte) map[string]int {
	l := lineFinder{lines: map[string]int{}, elements: map[string]int{}}
	l.parser.Reset(data)
	section := ""
	for l.parser.NextExpression() {
		e := l.parser.Expression()
		switch e.Kind {
		case unstable.Table:
			section = l.key("", e)
		case unstable.ArrayTable:
			section = l.key("", e)
			n, again := l.elements[section]
			if again {
				n++
			}
			l.elements[section] = n
			section += "[" + strconv.Itoa(n) + "]"
			l.lines[section] = l.line(e.Child())
		case unstable.KeyValue:
			l.keyValue(section, e)
		}
	}
	return l.lines
}

type lineFinder struct {
	parser   unstable.Parser
	lines    map[string]int
	elements map[string]int // index of the last [[table]] of a path
}

// key resolves the dotted key of e below prefix, records the line of each part and returns the path.
func (l *lineFinder) key(prefix string, e *unstable.Node) string {
	path := prefix
	for it := e.Key(); it.Next(); {
		if n, ok := l.elements[path]; ok && path != prefix {
			path += "[" + strconv.Itoa(n) + "]"
		}
		path = join(path, string(it.Node().Data))
		if _, known := l.lines[path]; !known {
			l.lines[path] = l.line(it.Node())
		}
	}
	return path
}

func (l *lineFinder) keyValue(prefix string, e *unstable.Node) {
	l.value(l.key(prefix, e), e.Value())
}

// value walks inline tables and arrays: their keys have lines too.
func (l *lineFinder) value(path string, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				l.keyValue(path, it.Node())
			}
		}
	case unstable.Array:
		i := 0
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			at := path + "[" + strconv.Itoa(i) + "]"
			l.lines[at] = l.lines[path]
			l.value(at, it.Node())
			i++
		}
	}
}

func (l *lineFinder) line(n *unstable.Node) int {
	return l.parser.Shape(n.Raw).Start.Line
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// store decodes the file into v, which is the struct at path, and collects every mistake it finds.
func (s *Settings) storeFile(f *file) {
	s.storeTable(f, reflect.ValueOf(&s.Config).Elem(), "", f.root)
}

func (s *Settings) storeTable(f *file, v reflect.Value, path string, values map[string]any) {
	for _, key := range sortedByLine(f, path, values) {
		x, at := values[key], join(path, key)
		fd, ok := fieldNamed(v.Type(), key)
		if !ok {
			s.fail(&Error{File: f.path, Line: f.lines[at], Key: at, Text: unknownKey(v.Type(), at, key)})
			continue
		}
		s.storeField(f, v, fd, at, x)
	}
}

func (s *Settings) storeField(f *file, v reflect.Value, fd field, at string, x any) {
	wrong := func(err error) {
		s.fail(&Error{File: f.path, Line: f.lines[at], Key: at, Text: at + ": " + err.Error()})
	}
	mismatch := func() { wrong(fmt.Errorf("want %s, got %s", want(fd.typ), got(x))) }
	origin := Origin{From: FromFile, Name: f.path, Line: f.lines[at]}
	target := v.FieldByIndex(fd.index)
	if fd.twin {
		path, ok := x.(string)
		if !ok {
			mismatch()
			return
		}
		if path != "" && !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(f.path), path)
		}
		s.setTwin(target, at, path, origin)
		return
	}
	switch shapeOf(fd.typ) {
	case table:
		values, ok := x.(map[string]any)
		if !ok {
			mismatch()
			return
		}
		s.storeTable(f, target, at, values)
	case tables:
		items, ok := x.([]any)
		if !ok {
			mismatch()
			return
		}
		out := reflect.MakeSlice(fd.typ, len(items), len(items))
		target.Set(out)
		for i, item := range items {
			values, ok := item.(map[string]any)
			if !ok {
				mismatch()
				return
			}
			out.Index(i).Set(defaultOf(fd.typ.Elem()))
			s.storeTable(f, out.Index(i), at+"["+strconv.Itoa(i)+"]", values)
		}
	case byName:
		values, ok := x.(map[string]any)
		if !ok {
			mismatch()
			return
		}
		if target.IsNil() {
			target.Set(reflect.MakeMap(fd.typ))
		}
		for _, name := range sortedByLine(f, at, values) {
			inner, ok := values[name].(map[string]any)
			if !ok {
				s.fail(&Error{File: f.path, Line: f.lines[join(at, name)], Key: at,
					Text: fmt.Sprintf("%s: want a table [%s.NAME], got %s", join(at, name), at, got(values[name]))})
				continue
			}
			s.editNamed(target, name, func(e reflect.Value) { s.storeTable(f, e, join(at, name), inner) })
		}
	default:
		s.set(target, at, origin, fd.secret, func(v reflect.Value) error { return setValue(v, x) })
	}
}

// editNamed changes one element of a map of tables; a new one begins with its defaults.
func (s *Settings) editNamed(m reflect.Value, name string, edit func(reflect.Value)) {
	e := reflect.New(m.Type().Elem()).Elem()
	key := reflect.ValueOf(name).Convert(m.Type().Key())
	if old := m.MapIndex(key); old.IsValid() {
		e.Set(old)
	} else {
		e.Set(defaultOf(e.Type()))
	}
	edit(e)
	m.SetMapIndex(key, e)
}

// unknownKey says which key was probably meant: one of the same table, or the same key elsewhere.
func unknownKey(t reflect.Type, at, key string) string {
	var keys []string
	for _, f := range fieldsOf(t) {
		keys = append(keys, f.key)
	}
	text := fmt.Sprintf("unknown key %q", at)
	if hint := Suggest(key, keys); hint != "" {
		return text + hint
	}
	for _, place := range keyPaths(reflect.TypeFor[Config](), "") {
		if strings.HasSuffix(place, "."+key) {
			return text + "; " + key + " belongs to [" + strings.TrimSuffix(place, "."+key) + "]"
		}
	}
	return text
}

// keyPaths lists the path of every key below t; elements of tables are written without an index.
func keyPaths(t reflect.Type, path string) []string {
	var out []string
	for _, f := range fieldsOf(t) {
		at := join(path, f.key)
		switch {
		case f.twin:
			out = append(out, at)
		case shapeOf(f.typ) == table:
			out = append(out, keyPaths(f.typ, at)...)
		case shapeOf(f.typ) == tables:
			out = append(out, keyPaths(f.typ.Elem(), at)...)
		case shapeOf(f.typ) == byName:
			out = append(out, keyPaths(f.typ.Elem(), at+".NAME")...)
		default:
			out = append(out, at)
		}
	}
	return out
}

func sortedByLine(f *file, path string, values map[string]any) []string {
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	sortBy(keys, func(k string) int { return f.lines[join(path, k)] })
	return keys
}
