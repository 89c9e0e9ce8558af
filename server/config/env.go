package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// envPrefix begins the name of every environment variable that is a setting: GATECAST_BROKER_LISTEN.
const envPrefix = "GATECAST_"

// envExempt are names with our prefix that are no settings: the path of the config file, what our tests and our
// benchmark use, and what Kubernetes sets in every pod beside a Service named "gatecast".
var envExempt = []string{"GATECAST_CONFIG", "GATECAST_TEST_", "GATECAST_BENCH_", "GATECAST_SERVICE_", "GATECAST_PORT"}

// EnvName is the environment variable of the setting at path.
func EnvName(path string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "[", "_", "]", "", "-", "_").Replace(path))
}

// storeEnv applies the variables in environ (as os.Environ gives them), in the order of their names so that
// element 0 of a list of tables comes before element 1.
func (s *Settings) storeEnv(environ []string) {
	environ = slices.Clone(environ)
	slices.Sort(environ)
	for _, entry := range environ {
		name, text, ok := strings.Cut(entry, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || isExempt(name) {
			continue
		}
		words := strings.ToLower(strings.TrimPrefix(name, envPrefix))
		origin := Origin{From: FromEnv, Name: name}
		if !s.storeWords(reflect.ValueOf(&s.Config).Elem(), "", words, text, origin) {
			s.fail(&Error{Env: name, Text: "unknown setting" + cmp.Or(Suggest(name, envNames()), "; rename the variable if it is for another program: "+envPrefix+"… are settings of gatecast")})
		}
	}
}

func isExempt(name string) bool {
	return slices.ContainsFunc(envExempt, func(p string) bool { return strings.HasPrefix(name, p) })
}

func envNames() []string {
	var names []string
	for _, p := range keyPaths(reflect.TypeFor[Config](), "") {
		names = append(names, EnvName(p))
	}
	return names
}

// storeWords finds the setting below v whose path, with "_" between its parts, is words, and sets it.
// It reports whether there is one.
func (s *Settings) storeWords(v reflect.Value, path, words, text string, origin Origin) bool {
	for _, fd := range fieldsOf(v.Type()) {
		at := join(path, fd.key)
		rest, whole := "", words == fd.key
		if !whole {
			var ok bool
			if rest, ok = strings.CutPrefix(words, fd.key+"_"); !ok {
				continue
			}
		}
		target := v.FieldByIndex(fd.index)
		if fd.twin {
			if whole {
				s.setTwin(target, at, text, origin)
				return true
			}
			continue
		}
		switch shapeOf(fd.typ) {
		case scalar, list:
			if whole {
				s.set(target, at, origin, fd.secret, func(v reflect.Value) error { return setText(v, text) })
				return true
			}
		case table:
			if !whole && s.storeWords(target, at, rest, text, origin) {
				return true
			}
		case tables:
			if !whole && s.storeElement(target, at, rest, text, origin) {
				return true
			}
		case byName:
			if !whole && s.storeNamed(target, at, rest, text, origin) {
				return true
			}
		}
	}
	return false
}

// storeElement sets a key of one element of a list of tables: GATECAST_ADMIN_KEYS_0_ROLE. The index may be that
// of an element of the file, or the next free one.
func (s *Settings) storeElement(target reflect.Value, path, words, text string, origin Origin) bool {
	digits, rest, _ := strings.Cut(words, "_")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 {
		return false
	}
	if n > target.Len() {
		s.fail(&Error{Env: origin.Name, Text: fmt.Sprintf("%s has %d entries, so the next one is number %d", path, target.Len(), target.Len())})
		return true
	}
	if n == target.Len() {
		target.Set(reflect.Append(target, defaultOf(target.Type().Elem())))
	}
	return s.storeWords(target.Index(n), path+"["+digits+"]", rest, text, origin)
}

// storeNamed sets a key of one table of a map: GATECAST_AUTHN_DJANGO_SITES_SHOP_COOKIE_NAME. Names that the file
// has come first, then the shortest lower-case name after which a key follows.
func (s *Settings) storeNamed(target reflect.Value, path, words, text string, origin Origin) bool {
	var names []string
	for _, k := range target.MapKeys() {
		names = append(names, k.String())
	}
	slices.SortFunc(names, func(a, b string) int { return len(b) - len(a) })
	for i, c := range words {
		if c == '_' && i > 0 {
			names = append(names, words[:i])
		}
	}
	for _, name := range names {
		prefix := strings.ToLower(strings.ReplaceAll(name, "-", "_")) + "_"
		rest, ok := strings.CutPrefix(words, prefix)
		if !ok || !hasWords(target.Type().Elem(), rest) {
			continue
		}
		if target.IsNil() {
			target.Set(reflect.MakeMap(target.Type()))
		}
		s.editNamed(target, name, func(e reflect.Value) { s.storeWords(e, join(path, name), rest, text, origin) })
		return true
	}
	return false
}

// hasWords reports whether the struct type t has a scalar or list setting named words.
func hasWords(t reflect.Type, words string) bool {
	return slices.ContainsFunc(keyPaths(t, ""), func(p string) bool {
		return strings.ReplaceAll(p, ".", "_") == words
	})
}

// storeFlag applies one "path=text" of the command line.
func (s *Settings) storeFlag(assignment string) {
	path, text, ok := strings.Cut(assignment, "=")
	path = strings.TrimSpace(path)
	origin := Origin{From: FromFlag, Name: "-set " + path}
	if !ok {
		s.fail(&Error{Env: origin.Name, Text: "write -set section.key=value"})
		return
	}
	words := strings.ToLower(strings.TrimPrefix(EnvName(path), envPrefix))
	if !s.storeWords(reflect.ValueOf(&s.Config).Elem(), "", words, text, origin) {
		s.fail(&Error{Env: origin.Name, Text: "unknown setting" + Suggest(path, keyPaths(reflect.TypeFor[Config](), ""))})
	}
}
