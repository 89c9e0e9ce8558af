package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/server/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const root = "../../.."

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	docs, err := comments(root, config.SettingTypes())
	if err != nil {
		t.Fatal(err)
	}
	src, err := commentsGo(docs)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "server/config/docs_gen.go", src)
	for path, write := range references {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		compare(t, path, b.Bytes())
	}
}

func compare(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date; run make docs", path)
	}
}

func TestTypesWithoutDeclarationAreAnError(t *testing.T) {
	if _, err := comments(root, []string{module + "server.NoSuchOptions"}); err == nil {
		t.Error("comments of a type that is not there: no error")
	}
}
