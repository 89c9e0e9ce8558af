package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClusterScript: what `make cluster` starts is a cluster of three, and Ctrl-C ends all of it.
func TestClusterScript(t *testing.T) {
	heavy(t)
	t.Parallel()
	offset := clusterOffset(t)
	bin := gatecast(t)
	cmd := exec.Command(filepath.Join(repoRoot(), "server/e2e/cluster.sh"), bin, fmt.Sprint(offset))
	cmd.Dir, cmd.Env = repoRoot(), cleanEnv()
	log := newLogs()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ended := make(chan struct{})
	go func() { // ends with the script
		err := cmd.Wait()
		close(ended)
		done <- err
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) // as a terminal does: the whole group
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-done
			t.Error("Ctrl-C does not end the cluster")
		}
		if t.Failed() {
			t.Logf("cluster.sh printed:\n%s", log.tail(60))
		}
	})
	for i := range 3 {
		at := 8080 + 10*i + offset
		n := &node{t: t, name: fmt.Sprintf("n%d", i+1), addr: fmt.Sprintf("127.0.0.1:%d", at), api: fmt.Sprintf("127.0.0.1:%d", at+1), logs: log, done: ended}
		ready := n.until(startLimit, func() bool {
			status, _, err := n.get("/readyz")
			return err == nil && status == 200
		})
		if !ready {
			t.Fatalf("node %s is not ready, the script: %v", n.name, cmd.ProcessState)
		}
		n.waitDevPeers(3)
	}
}

// waitDevPeers is waitPeers without a key, as -dev allows.
func (n *node) waitDevPeers(size int) {
	n.t.Helper()
	var raw []byte
	eventually(n.t, 30*time.Second, func() string { return fmt.Sprintf("node %s does not list %d nodes: %s", n.name, size, raw) }, func() bool {
		_, raw, _ = n.tryCall("", "GET", "/api/v1/nodes", nil)
		return strings.Count(string(raw), `"name"`) == size
	})
}

// TestMakeRunConfig: config.toml of the repository is a config that a node starts with under -dev, as make run does.
func TestMakeRunConfig(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(filepath.Join(repoRoot(), "config.toml")); err != nil {
		t.Fatal(err)
	}
	code, out := cli(t, repoRoot(), "config", "check", "-dev", "-config", "config.toml")
	if code != 0 {
		t.Errorf("config check -dev: exit %d\n%s", code, out)
	}
}
