package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/gatecast/gatecast/server/config"
)

func main() {
	run := writeComments
	if len(os.Args) > 1 && os.Args[1] == "references" {
		run = writeReferences
	}
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// writeComments writes docs_gen.go below root, then starts a new build of this program, which has it compiled in.
func writeComments(root string) error {
	docs, err := comments(root, config.SettingTypes())
	if err != nil {
		return err
	}
	src, err := commentsGo(docs)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(root, "server/config/docs_gen.go"), src); err != nil {
		return err
	}
	cmd := exec.Command("go", "run", "./server/docs/gen", "references")
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, os.Stdout, os.Stderr
	return cmd.Run()
}

// references are the files made of what is compiled in, by their path in the repository.
var references = map[string]func(io.Writer) error{
	"config.toml":            config.WriteTOML,
	"server/docs/config.md":  config.WriteMarkdown,
	"server/docs/codes.md":   writeCodes,
	"server/docs/metrics.md": writeMetrics,
}

func writeReferences(root string) error {
	for path, make := range references {
		var b bytes.Buffer
		if err := make(&b); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := write(filepath.Join(root, path), b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// write replaces the file only if it changes, so that builds stay cached.
func write(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return os.WriteFile(path, data, 0o644)
}
