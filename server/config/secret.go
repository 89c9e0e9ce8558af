package config

import (
	"fmt"
	"os"
	"reflect"
	"strings"
)

// setTwin remembers that the secret v is to be read from the file at path. at is the path of the "_file" key. An
// empty path takes back what a lower layer said.
func (s *Settings) setTwin(v reflect.Value, at, path string, origin Origin) {
	key := strings.TrimSuffix(at, "_file")
	if path == "" {
		return
	}
	if old, ok := s.origins[key]; ok && old.sameLayer(origin) && !v.IsZero() {
		s.fail(&Error{Origin: origin, Key: at, Text: fmt.Sprintf("%s: %s is set too (%s); keep one of them", at, key, old)})
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		s.fail(&Error{Origin: origin, Key: at, Text: fmt.Sprintf("%s: %v", at, err)})
		return
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		s.fail(&Error{Origin: origin, Key: at, Text: fmt.Sprintf("%s: %s is empty", at, path)})
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o004 != 0 {
		s.warn(&Error{Origin: origin, Key: at, Text: fmt.Sprintf("%s: everyone on this machine can read %s; chmod 640 it", at, path)})
	}
	if err := setText(v, text); err != nil {
		// The text is a secret, so the error, which quotes it, is not shown.
		s.fail(&Error{Origin: origin, Key: at, Text: fmt.Sprintf("%s: %s does not hold %s", at, path, want(v.Type()))})
		return
	}
	origin.Twin = true
	s.origins[key] = origin
}
