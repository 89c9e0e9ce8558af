package shape

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageHasOneComment(t *testing.T) {
	for _, p := range allPackages(t) {
		var with []string
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil && f.Doc.Text() != "" {
				with = append(with, name)
			}
		}
		if !slices.Equal(with, []string{"doc.go"}) {
			t.Errorf("%s has its package comment in %v, want it in doc.go only", p.name(), with)
		}
	}
}

func TestGoFilesAreFormatted(t *testing.T) {
	for _, path := range goFiles(t) {
		src := []byte(read(t, path))
		want, err := format.Source(src)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		} else if !bytes.Equal(src, want) {
			t.Errorf("%s is not formatted; run gofmt -w %s", path, path)
		}
	}
}

func TestFilesAreNamedForStepsOrNouns(t *testing.T) {
	grabBags := []string{"util", "utils", "common", "misc", "types", "helpers", "helper"}
	for _, path := range goFiles(t) {
		base := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".go"), "_test")
		if slices.Contains(grabBags, base) || slices.Contains(grabBags, filepath.Base(filepath.Dir(path))) {
			t.Errorf("%s is a grab-bag; name the file for its step or noun", path)
		}
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	for _, path := range goFiles(t) {
		if !strings.HasSuffix(path, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, filepath.Join(root, path), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
					t.Errorf("%s sleeps; wait for a condition with a deadline", fset.Position(s.Pos()))
				}
			}
			return true
		})
	}
}

func TestMainIsSmall(t *testing.T) {
	if n := strings.Count(read(t, "server/cmd/gatecast/main.go"), "\n"); n > 30 {
		t.Errorf("main.go has %d lines, want 30 at most", n)
	}
}

// TestTopLevelIsFixed keeps the first thing a reader sees: what git tracks at the top, dot-files aside.
func TestTopLevelIsFixed(t *testing.T) {
	want := []string{"CHANGELOG.md", "LICENSE", "Makefile", "README.md", "authn", "bench", "broker", "clients", "config.toml", "go.mod", "go.sum", "server"}
	cmd := exec.Command("git", "ls-files")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for path := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(path), "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(want, top) {
			t.Errorf("%s is at the top level, where only %v belong", top, want)
		}
	}
}
