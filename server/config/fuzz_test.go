package config

import (
	"errors"
	"strings"
	"testing"
)

// FuzzFile reads any bytes as config.toml: what is refused is refused with a place, and nothing panics.
func FuzzFile(f *testing.F) {
	f.Add([]byte(works))
	f.Add([]byte("[[grants]]\nto = \"staff\"\n[[authn.django.fallbacks]]\nhash_key = \"x\"\n"))
	f.Add([]byte("server = {limits = {conns = 1}, ping = \"1s\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), "_file") {
			return // would read files of this machine
		}
		file, err := parseFile("config.toml", data)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || e.Line == 0 {
				t.Errorf("parseFile(%q): %v has no line", data, err)
			}
			return
		}
		s := &Settings{Config: Default(), origins: map[string]Origin{}, lines: file.lines}
		s.storeFile(file)
		for _, err := range s.errs {
			if e, ok := errors.AsType[*Error](err); ok && e.Line == 0 && e.Origin.Line == 0 {
				t.Errorf("%q: %v has no line", data, err)
			}
		}
		s.Values()
	})
}

// FuzzEnv reads any name and value as a variable.
func FuzzEnv(f *testing.F) {
	f.Add("SERVER_LISTEN", "127.0.0.1:1")
	f.Add("ADMIN_KEYS_0_ROLE", "read")
	f.Add("AUTHN_DJANGO_SITES_A_B_USE_TZ", "true")
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.HasSuffix(strings.ToLower(name), "_file") {
			return
		}
		s := &Settings{Config: Default(), origins: map[string]Origin{}}
		s.storeEnv([]string{envPrefix + name + "=" + value})
		s.Values()
	})
}
