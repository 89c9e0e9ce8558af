package config

import (
	"reflect"
	"slices"
	"strings"
)

// reloadable are the tables and keys that a running node takes over without closing a socket.
var reloadable = []string{"grants", "admin.keys", "server.origins", "server.limits", "authn.jwt", "log"}

// replaceable are the tables and keys that a running node may take over now: a listener does not begin or end to speak TLS.
func (s *Settings) replaceable(next *Settings) []string {
	if (s.Config.Server.TLS.Cert == "") != (next.Config.Server.TLS.Cert == "") {
		return reloadable
	}
	return append(slices.Clone(reloadable), "server.tls")
}

// Changes lists the keys whose value differs after a reload.
type Changes struct {
	Applied []string // take effect now
	Restart []string // take effect when the node starts again
}

// Reload reads the same sources again. On success the Settings it returns hold the new values of what can change at
// once and keep the old ones of what waits for a restart; on error nothing changes.
func (s *Settings) Reload() (*Settings, Changes, error) {
	next, err := Load(s.Input)
	if err != nil {
		return nil, Changes{}, err
	}
	paths := s.replaceable(next)
	changes := diff(s, next, paths)
	merged := *next
	merged.Config = s.Config
	for _, path := range paths {
		copyPath(reflect.ValueOf(&merged.Config).Elem(), reflect.ValueOf(&next.Config).Elem(), path)
	}
	return &merged, changes, nil
}

// copyPath copies the table or key at path from one config to the other.
func copyPath(to, from reflect.Value, path string) {
	key, rest, more := strings.Cut(path, ".")
	f, _ := fieldNamed(to.Type(), key)
	if more {
		copyPath(to.FieldByIndex(f.index), from.FieldByIndex(f.index), rest)
		return
	}
	to.FieldByIndex(f.index).Set(from.FieldByIndex(f.index))
}

// diff lists the changed keys; a list of tables counts as one. Those at or below paths apply now.
func diff(old, next *Settings, paths []string) Changes {
	var c Changes
	var walk func(a, b reflect.Value, path string)
	walk = func(a, b reflect.Value, path string) {
		for _, f := range fieldsOf(a.Type()) {
			if f.twin {
				continue
			}
			at, x, y := join(path, f.key), a.FieldByIndex(f.index), b.FieldByIndex(f.index)
			if shapeOf(f.typ) == table {
				walk(x, y, at)
				continue
			}
			if same(x, y) {
				continue
			}
			if slices.ContainsFunc(paths, func(p string) bool { return at == p || strings.HasPrefix(at, p+".") }) {
				c.Applied = append(c.Applied, at)
			} else {
				c.Restart = append(c.Restart, at)
			}
		}
	}
	walk(reflect.ValueOf(old.Config), reflect.ValueOf(next.Config), "")
	return c
}

// same compares two values; a nil list equals an empty one.
func same(x, y reflect.Value) bool {
	if k := x.Kind(); (k == reflect.Slice || k == reflect.Map) && x.Len() == 0 && y.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(x.Interface(), y.Interface())
}
