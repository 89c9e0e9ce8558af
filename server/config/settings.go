package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// Input is where settings come from. Later sources win: the file, then the environment, then flags.
type Input struct {
	Path    string   // config.toml; "" = only defaults, the environment and flags
	Environ []string // as os.Environ gives it; variables without the prefix GATECAST_ are passed over
	Set     []string // "section.key=value", from -set flags
	Dev     bool     // the -dev flag: adds the dev verifier and refuses to listen beyond loopback
}

// Settings is a whole configuration, and where each part of it came from. It is not changed after Load.
type Settings struct {
	Config   Config
	Input    Input
	Warnings []string // what works but should be looked at; each one line

	origins map[string]Origin // by path of the key; a key that is not here has its default
	lines   map[string]int    // line of every key and table of the file
	errs    []error
}

// From is the kind of source a value came from.
type From uint8

// The sources, from lowest to highest precedence.
const (
	FromDefault From = iota
	FromFile
	FromEnv
	FromFlag
	FromDev
)

// Origin tells where a value came from.
type Origin struct {
	From From
	Name string // path of the file, name of the variable, the flag
	Line int    // in the file
	Twin bool   // read from the file that the key's "_file" twin names
}

func (o Origin) String() string {
	s := o.Name
	switch o.From {
	case FromDefault:
		return "default"
	case FromFile:
		s = fmt.Sprintf("%s:%d", o.Name, o.Line)
	case FromEnv:
		s = "env " + o.Name
	case FromDev:
		return "-dev"
	}
	if o.Twin {
		s += " (from a file)"
	}
	return s
}

func (o Origin) sameLayer(other Origin) bool { return o.From == other.From }

// Error is one mistake in a configuration and the place to mend it.
type Error struct {
	File   string // with Line
	Line   int
	Env    string // the variable or flag, if it came from there
	Origin Origin // instead of the three above
	Key    string // path of the key
	Text   string // what is wrong and what would be right
}

func (e *Error) Error() string {
	o := e.Origin
	switch {
	case e.File != "" && e.Line > 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
	case e.File != "":
		return e.File + ": " + e.Text
	case e.Env != "":
		return e.Env + ": " + e.Text
	case o.From == FromFile && o.Line > 0:
		return fmt.Sprintf("%s:%d: %s", o.Name, o.Line, e.Text)
	case o.From == FromEnv || o.From == FromFlag:
		return o.Name + ": " + e.Text
	}
	return e.Text
}

// Load reads and checks a configuration. The error joins everything that is wrong, each with its place. It may be
// called concurrently.
func Load(in Input) (*Settings, error) {
	s, err := Read(in)
	if err != nil {
		return nil, err
	}
	s.applyDev()
	s.validate()
	s.check()
	if err := s.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// Read decodes a configuration without judging its values: what `config print` shows and doctor examines.
func Read(in Input) (*Settings, error) {
	s := &Settings{Config: Default(), Input: in, origins: map[string]Origin{}}
	if in.Path != "" {
		f, err := readFile(in.Path)
		if err != nil {
			return nil, err
		}
		s.lines = f.lines
		s.storeFile(f)
	}
	s.storeEnv(in.Environ)
	for _, assignment := range in.Set {
		s.storeFlag(assignment)
	}
	if err := s.err(); err != nil {
		return nil, err
	}
	s.locate()
	return s, nil
}

// set stores one value by put and records its origin.
func (s *Settings) set(v reflect.Value, at string, origin Origin, secret bool, put func(reflect.Value) error) {
	fresh := reflect.New(v.Type()).Elem()
	if err := put(fresh); err != nil {
		s.fail(&Error{Origin: origin, Key: at, Text: at + ": " + err.Error()})
		return
	}
	if secret {
		old, ok := s.origins[at]
		if fresh.IsZero() && (!ok || old.sameLayer(origin)) {
			return // `secret = ""` beside secret_file is no second value
		}
		if ok && old.sameLayer(origin) && old.Twin {
			s.fail(&Error{Origin: origin, Key: at, Text: fmt.Sprintf("%s: %s_file is set too (%s); keep one of them", at, at, old)})
			return
		}
	}
	v.Set(fresh)
	s.origins[at] = origin
}

// Origin tells where the value of the key at path came from.
func (s *Settings) Origin(path string) Origin { return s.origins[path] }

func (s *Settings) fail(err error) { s.errs = append(s.errs, err) }

func (s *Settings) warn(err error) { s.Warnings = append(s.Warnings, err.Error()) }

// err joins the mistakes found so far, without repeats.
func (s *Settings) err() error {
	var seen []string
	var out []error
	for _, err := range s.errs {
		if text := err.Error(); !slices.Contains(seen, text) {
			seen = append(seen, text)
			out = append(out, err)
		}
	}
	return errors.Join(out...)
}

// Find returns the path of the config file to use: the one asked for, else $GATECAST_CONFIG, else config.toml in
// the working directory if there is one, else "".
func Find(asked string) string {
	if asked != "" {
		return asked
	}
	if path := os.Getenv("GATECAST_CONFIG"); path != "" {
		return path
	}
	if _, err := os.Stat("config.toml"); err == nil {
		return "config.toml"
	}
	return ""
}

func sortBy[T cmp.Ordered](keys []string, rank func(string) T) {
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
	})
}
