package config

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Key describes one setting, for the golden file and the reference.
type Key struct {
	Path    string // "server.ping"; below [[tables]] without an index, below [x.NAME] with NAME
	Doc     string // one paragraph, the Options' doc comment in terms of keys
	Default string // as TOML
	Want    string // "a duration like \"25s\""
	Env     string
	Secret  bool // has a twin Path_file
	example string
}

// Section is one [table] or [[table]] of config.toml.
type Section struct {
	Path   string // "server.limits"
	Header string // "[server.limits]", "[[grants]]"
	Doc    string
	Keys   []Key
	Absent bool // a list or map of tables: none by default, so the golden file shows it as a comment

	// Repeats is set below [x.NAME], whose keys are those of [x]: they are not written a second time.
	Repeats bool
}

// Sections lists all there is to set, in the order of config.toml.
func Sections() []Section {
	var out []Section
	root := reflect.ValueOf(Default())
	for _, f := range fieldsOf(root.Type()) {
		out = append(out, sectionsOf(root.FieldByIndex(f.index), f, f.key, false)...)
	}
	return out
}

// sectionsOf describes the table v, which the field f of its parent holds, and the tables in it.
func sectionsOf(v reflect.Value, f field, path string, absent bool) []Section {
	s := Section{Path: path, Header: "[" + path + "]", Doc: tidy(docOf(f.goName), f.goName, f.key), Absent: absent, Repeats: strings.Contains(path, ".NAME.")}
	switch shapeOf(v.Type()) {
	case tables:
		s.Header, s.Absent = "[["+path+"]]", true
		v = defaultOf(v.Type().Elem())
	case byName:
		path += ".NAME"
		s.Path, s.Header, s.Absent = path, "["+path+"]", true
		v = defaultOf(v.Type().Elem())
	}
	if s.Doc == "" {
		s.Doc = tidy(docOf(v.Type().PkgPath()+"."+v.Type().Name()), "", "")
	}
	var inner []Section
	for _, k := range fieldsOf(v.Type()) {
		if k.twin {
			continue
		}
		at := path + "." + k.key
		if sh := shapeOf(k.typ); sh != scalar && sh != list {
			inner = append(inner, sectionsOf(v.FieldByIndex(k.index), k, at, s.Absent)...)
			continue
		}
		key := Key{
			Path: at, Doc: tidy(docOf(k.goName), k.goName, k.key), Default: literal(v.FieldByIndex(k.index)),
			Want: want(k.typ), Env: EnvName(at), Secret: k.secret,
		}
		key.example = key.Default
		if e, ok := examples[at]; ok {
			key.example = e
		}
		if shapeOf(f.typ) == tables {
			key.Env = EnvName(path + "[0]." + k.key)
		}
		s.Keys = append(s.Keys, key)
	}
	return append([]Section{s}, inner...)
}

// docOf is the doc comment of a type or field by its "import/path.Type.Field", as docs_gen.go has it.
func docOf(goName string) string { return docs[goName] }

// tidy puts a doc comment in terms of keys: "Listen is the address" becomes "listen is the address", and names of
// fields beside it become their keys too.
func tidy(doc, goName, key string) string {
	if i := strings.LastIndexByte(goName, '.'); i >= 0 {
		if rest, ok := strings.CutPrefix(doc, goName[i+1:]+" "); ok {
			doc = key + " " + rest
		}
		doc = fieldWords(doc, goName[:i])
	}
	return doc
}

// fieldWords replaces the Go names of goType's fields in doc by their keys, but not where the name may be a word:
// at the start of a sentence, or if it is that of a table ("TLS", "JetStream").
func fieldWords(doc, goType string) string {
	keys := map[string]string{}
	for _, t := range settingTypes() {
		if t.PkgPath()+"."+t.Name() != goType {
			continue
		}
		for _, f := range fieldsOf(t) {
			if sh := shapeOf(f.typ); !f.twin && (sh == scalar || sh == list) {
				keys[f.goName[strings.LastIndexByte(f.goName, '.')+1:]] = f.key
			}
		}
	}
	words := strings.Fields(doc)
	start := true
	for i, w := range words {
		core := strings.TrimSuffix(strings.Trim(w, ".,:;()[]`"), "'s")
		oneWord := core != "" && strings.ToLower(core[1:]) == core[1:]
		if key, ok := keys[core]; ok && !(start && oneWord) {
			words[i] = strings.Replace(strings.Replace(w, "["+core+"]", core, 1), core, key, 1)
		}
		start = strings.HasSuffix(w, ".") || strings.HasSuffix(w, ":")
	}
	return strings.Join(words, " ")
}

// settingTypes lists the struct types that hold settings.
func settingTypes() []reflect.Type {
	var out []reflect.Type
	var walk func(t reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		if shapeOf(t) != table {
			return
		}
		out = append(out, t)
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() && f.Tag.Get("toml") != "-" {
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	return out
}

// SettingTypes lists "import/path.Type" of every struct that holds settings, for the generator of docs_gen.go.
func SettingTypes() []string {
	var out []string
	for _, t := range settingTypes() {
		out = append(out, t.PkgPath()+"."+t.Name())
	}
	return out
}

const tomlHead = `# Gatecast: every setting with its default. A setting that is not here has the same default, so keep only
# the lines you change. Written by: gatecast config init
#
# Order: this file, then environment variables, then flags. server.ping is GATECAST_SERVER_PING, lists are
# comma-separated there, and entry 0 of [[admin.keys]] is GATECAST_ADMIN_KEYS_0_KEY. A secret may stand in a file of
# its own: secret_file = "path" (relative to this file) instead of secret = "…". Durations are "250ms", "25s",
# "1h30m"; sizes are bytes. Check with: gatecast config check. What holds, and from where: gatecast config print
`

// WriteTOML writes the golden config.toml: every setting with its default and why.
func WriteTOML(w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString(tomlHead)
	for _, s := range Sections() {
		if s.Repeats {
			continue
		}
		b.WriteString("\n")
		hash := ""
		if s.Absent {
			hash = "#"
		}
		writeComment(b, s.Doc)
		fmt.Fprintf(b, "%s%s\n", hash, s.Header)
		for _, k := range s.Keys {
			if _, shown := examples[k.Path]; named(s.Path) && !shown {
				continue
			}
			name := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
			doc := k.Doc
			if k.Secret {
				doc = strings.TrimSpace(doc + " Or " + name + "_file.")
			}
			writeComment(b, doc)
			fmt.Fprintf(b, "%s%s = %s\n", hash, name, k.example)
		}
	}
	return b.Flush()
}

// named reports whether path is that of [x.NAME], whose keys are those of [x] but for what examples show.
func named(path string) bool { return strings.HasSuffix(path, ".NAME") }

// writeComment writes text as comment lines of at most 112 columns.
func writeComment(b *bufio.Writer, text string) {
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > 112 && line != "#" {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	if line != "#" {
		b.WriteString(line + "\n")
	}
}

const markdownHead = `# Settings

<!-- Generated by make docs from the Options' doc comments. Do not edit. -->

Order of precedence: ` + "`config.toml`" + `, then the environment, then ` + "`-set section.key=value`" + ` flags. A key marked *secret* may be
replaced by ` + "`key_file`" + `, the path of a file that holds the value (relative to ` + "`config.toml`" + ` when it stands there). Lists in the
environment are comma-separated; entry N of a ` + "`[[list]]`" + ` has the index N in its variable. Variables beginning with
%s are no settings; any other unknown ` + "`GATECAST_`" + ` variable is an error.
`

// WriteMarkdown writes the reference of all settings.
func WriteMarkdown(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, markdownHead, "`"+strings.Join(envExempt, "`, `")+"`")
	for _, s := range Sections() {
		if s.Repeats {
			continue
		}
		fmt.Fprintf(b, "\n## `%s`\n\n", s.Header)
		if s.Doc != "" {
			fmt.Fprintf(b, "%s\n\n", s.Doc)
		}
		if len(s.Keys) == 0 || named(s.Path) {
			continue
		}
		fmt.Fprint(b, "| key | default | meaning | environment |\n| --- | --- | --- | --- |\n")
		for _, k := range s.Keys {
			name := "`" + k.Path[strings.LastIndexByte(k.Path, '.')+1:] + "`"
			if k.Secret {
				name += " *secret*"
			}
			fmt.Fprintf(b, "| %s | `%s` | %s | `%s` |\n", name, k.Default, strings.ReplaceAll(k.Doc, "|", `\|`), k.Env)
		}
	}
	return b.Flush()
}

// Explain describes the setting or section at path for `config doc`. It reports whether there is one; if not, text
// says what is near.
func Explain(path string) (text string, ok bool) {
	var all []string
	for _, s := range Sections() {
		if s.Path == path || s.Header == path {
			var b strings.Builder
			fmt.Fprintf(&b, "%s\n  %s\n", s.Header, s.Doc)
			for _, k := range s.Keys {
				fmt.Fprintf(&b, "\n%s = %s\n  %s\n", k.Path, k.Default, k.Doc)
			}
			return b.String(), true
		}
		all = append(all, s.Path)
		for _, k := range s.Keys {
			if k.Path == path || k.Secret && k.Path+"_file" == path {
				text := fmt.Sprintf("%s = %s\n  %s\n  Wants %s. Environment: %s\n", k.Path, k.Default, k.Doc, k.Want, k.Env)
				if k.Secret {
					text += fmt.Sprintf("  A secret: %s_file names a file that holds it instead.\n", k.Path)
				}
				return text, true
			}
			all = append(all, k.Path)
		}
	}
	return fmt.Sprintf("no setting %q%s", path, Suggest(path, all)), false
}
