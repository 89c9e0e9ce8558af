package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// roleVar names the helper a re-executed test binary becomes instead of running tests.
const roleVar = "GATECAST_E2E_ROLE"

// roles are the programs the test binary can be: each reads its orders from standard input, answers on
// standard output and ends when its input does.
var roles = map[string]func() error{
	"broker":  runBroker,
	"crowd":   runCrowd,
	"leavers": runLeavers,
	"storm":   runStorm,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		run, ok := roles[role]
		if !ok {
			fmt.Fprintf(os.Stderr, "unknown role %q\n", role)
			os.Exit(2)
		}
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	dir, err := os.MkdirTemp("", "gatecast-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Other accounts (PostgreSQL's) must be able to reach what tests put below it.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// workDir is the run's own directory, removed at the end; set once by TestMain.
var workDir string

// repoRoot is the directory of go.mod.
var repoRoot = sync.OnceValue(func() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			panic("e2e: no go.mod above the test's directory")
		}
		dir = up
	}
})

// built holds the path of the binary, made once for the whole run.
var built = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(workDir, "bin", "gatecast")
	args := []string{"build", "-o", bin}
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./server/cmd/gatecast")...)
	cmd.Dir = repoRoot()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build gatecast: %w\n%s", err, out)
	}
	return bin, nil
})

// gatecast returns the binary's path.
func gatecast(t testing.TB) string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// missing skips the test for want of a program, or fails it where skipping is forbidden.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if os.Getenv("GATECAST_TEST_NO_SKIP") == "1" {
		t.Fatalf("GATECAST_TEST_NO_SKIP=1 forbids skipping: %s", text)
	}
	fmt.Fprintf(os.Stderr, "SKIP %s: %s\n", t.Name(), text)
	t.Skip(text)
}

// heavy leaves a test out of the short ring.
func heavy(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("heavy: left out by -short")
	}
}
