package config

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// works is the least that a node needs beside the defaults.
const works = "[authn.jwt]\nsecret = \"0123456789abcdef0123456789abcdef-x\"\n"

// write stores text as config.toml in a new folder.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads text, which must work.
func load(t *testing.T, text string, env ...string) *Settings {
	t.Helper()
	s, err := Load(Input{Path: write(t, text), Environ: env})
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return s
}
