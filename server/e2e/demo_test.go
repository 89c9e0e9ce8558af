package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDemo drives the page of -dev in a real Chromium.
func TestDemo(t *testing.T) {
	heavy(t)
	t.Parallel()
	chromium := "/usr/bin/chromium"
	if _, err := os.Stat(chromium); err != nil {
		path, err := exec.LookPath("chromium")
		if err != nil {
			missing(t, "Chromium is not installed: apt-get install chromium")
		}
		chromium = path
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, "%s is not installed", program)
		}
	}
	dir := filepath.Join(repoRoot(), "server/e2e/browser")
	installBrowserDriver(t, dir)

	n := launchDev(t)
	n.waitReady()
	page := "http://" + n.addr + "/"
	n.logs.waitLine(t, 0, "demo page", n.addr)
	for _, user := range []string{"alice", "bob"} { // with their tokens
		n.logs.waitLine(t, 0, user, "dev-")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	shot := filepath.Join(t.TempDir(), "demo.png")
	if keep := os.Getenv("GATECAST_E2E_SCREENSHOT"); keep != "" {
		shot = keep
	}
	cmd := exec.CommandContext(ctx, "node", "drive.mjs", page, "http://"+n.api, shot)
	cmd.Dir = dir
	cmd.Env = append(cleanEnv(), "CHROMIUM="+chromium)
	out, err := cmd.CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var result struct {
		OK    bool
		Steps int
	}
	if err != nil || json.Unmarshal([]byte(lines[len(lines)-1]), &result) != nil || !result.OK || result.Steps == 0 {
		t.Fatalf("drive.mjs: %v\n%s", err, out)
	}
}

// installBrowserDriver brings what package-lock.json says into node_modules, if it is not there yet.
func installBrowserDriver(t testing.TB, dir string) {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	stamp := filepath.Join(dir, "node_modules", ".gatecast-lock")
	if have, err := os.ReadFile(stamp); err == nil && string(have) == string(lock) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.WriteFile(stamp, lock, 0o644); err != nil {
		t.Fatal(err)
	}
}

// launchDev starts a node as `make run` does: no file, only -dev.
func launchDev(t testing.TB) *node {
	t.Helper()
	c := conf{"server.listen": freeAddr(t), "admin.listen": freeAddr(t), "broker.listen": freeAddr(t), "drain.window": "0s"}
	n := &node{t: t, name: "dev", dir: t.TempDir(), conf: c, logs: newLogs(), done: make(chan struct{})}
	n.addr, n.api, n.nats = c["server.listen"].(string), c["admin.listen"].(string), c["broker.listen"].(string)
	n.flags = []string{"-dev"}
	n.exec()
	t.Cleanup(n.finish)
	return n
}

// TestDevStaysHome: -dev refuses to listen beyond this machine.
func TestDevStaysHome(t *testing.T) {
	t.Parallel()
	code, out := cli(t, t.TempDir(), "serve", "-dev", "-set", "server.listen=0.0.0.0:0", "-set", "admin.listen=127.0.0.1:0", "-set", "broker.listen=127.0.0.1:0")
	if code == 0 || !strings.Contains(out, "-dev") || !strings.Contains(out, "0.0.0.0") {
		t.Errorf("exit %d\n%s", code, out)
	}
}
