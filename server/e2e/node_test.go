package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startLimit bounds the wait for /readyz; a node built with the race detector on two busy cores needs seconds.
const startLimit = 60 * time.Second

// node is one gatecast process.
type node struct {
	t     testing.TB
	name  string
	dir   string
	conf  conf
	env   []string // more than the usual
	flags []string // of serve
	addr  string   // WebSocket listener
	api   string   // admin listener
	nats  string   // broker's client listener
	logs  *logs

	cmd  *exec.Cmd
	done chan struct{} // closed when the process is gone

	mu      sync.Mutex
	waitErr error
	killed  bool // the test ended it on purpose, not by SIGTERM, or it never came up
	leaving bool // SIGTERM was sent: a second one would end it at once
	stopped bool
}

// nodeConf is the config of a node called name: baseConf, free ports, then extra laid over.
func nodeConf(t testing.TB, name string, extra conf) conf {
	t.Helper()
	return extra.over(conf{
		"server.listen": freeAddr(t),
		"admin.listen":  freeAddr(t),
		"broker.listen": freeAddr(t),
		"broker.name":   name,
	}.over(baseConf()))
}

// startNode starts a node, waits until it is ready, and ends it with the test.
func startNode(t testing.TB, name string, extra conf, env ...string) *node {
	t.Helper()
	n := launchNode(t, name, extra, env...)
	n.waitReady()
	return n
}

// launchNode starts a node without waiting for it.
func launchNode(t testing.TB, name string, extra conf, env ...string) *node {
	t.Helper()
	c := nodeConf(t, name, extra)
	n := &node{t: t, name: name, dir: t.TempDir(), conf: c, env: env, logs: newLogs(), done: make(chan struct{})}
	n.addr, n.api = c["server.listen"].(string), c["admin.listen"].(string)
	n.nats, _ = c["broker.listen"].(string)
	n.exec()
	t.Cleanup(n.finish)
	return n
}

// exec starts the process on the config written now.
func (n *node) exec() {
	n.t.Helper()
	args := append([]string{"serve", "-config", n.conf.write(n.t, n.dir)}, n.flags...)
	n.cmd = exec.Command(gatecast(n.t), args...)
	n.cmd.Dir = n.dir
	n.cmd.Env = append(append(cleanEnv(), "GORACE=halt_on_error=0 exitcode=66"), n.env...)
	n.cmd.Stdout, n.cmd.Stderr = n.logs, n.logs
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	// Ends with the process.
	go func() {
		err := n.cmd.Wait()
		n.mu.Lock()
		n.waitErr = err
		n.mu.Unlock()
		close(n.done)
	}()
}

// cleanEnv is the environment without our own settings, which would override a test's config.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "GATECAST_") {
			env = append(env, kv)
		}
	}
	return env
}

// waitReady waits until /readyz answers 200.
func (n *node) waitReady() {
	n.t.Helper()
	last := ""
	ok := n.until(startLimit, func() bool {
		status, body, err := n.get("/readyz")
		if err != nil {
			last = err.Error()
			return false
		}
		last = fmt.Sprintf("%d %s", status, body)
		return status == http.StatusOK
	})
	if !ok {
		n.mu.Lock()
		n.killed = true
		n.mu.Unlock()
		n.cmd.Process.Kill()
		n.t.Fatalf("node %s is not ready: %s\n%s", n.name, last, n.logs.tail(60))
	}
}

// until polls cond till it holds, the time is over or the process is gone. It returns whether cond held.
func (n *node) until(limit time.Duration, cond func() bool) bool {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if cond() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		select {
		case <-n.done:
			return cond()
		case <-tick.C:
		}
	}
}

// finish ends the node with SIGTERM and checks that it left well; it runs once, at the end of the test or before.
func (n *node) finish() {
	n.t.Helper()
	n.mu.Lock()
	killed, stopped, leaving := n.killed, n.stopped, n.leaving
	n.stopped = true
	n.mu.Unlock()
	if stopped {
		return
	}
	if !killed && !leaving {
		n.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-n.done:
	case <-time.After(30 * time.Second):
		n.t.Errorf("node %s did not leave within 30 s of SIGTERM; its goroutines are at the log's end", n.name)
		n.cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-n.done:
		case <-time.After(5 * time.Second):
			n.cmd.Process.Kill()
			<-n.done
		}
	}
	n.mu.Lock()
	err := n.waitErr
	n.mu.Unlock()
	if err != nil && !killed {
		n.t.Errorf("node %s left with %v, want exit 0", n.name, err)
	}
	log := n.logs.String()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "[recovered]", `"msg":"panic`} {
		if i := strings.Index(log, bad); i >= 0 {
			n.t.Errorf("node %s printed %q:\n%s", n.name, bad, log[max(0, i-300):min(len(log), i+4000)])
			break
		}
	}
	if !slices.Contains(n.flags, "-dev") { // which prints ready tokens
		if found := secret.FindStringIndex(log); found != nil {
			n.t.Errorf("the log of node %s shows a credential: %s", n.name, log[max(0, found[0]-200):min(len(log), found[1]+20)])
		}
	}
	if n.t.Failed() {
		n.t.Logf("last lines of node %s:\n%s", n.name, n.logs.tail(40))
	}
}

// secret matches what no log may show: our own credentials and anything that looks like a JWT.
var secret = regexp.MustCompile(strings.Join([]string{jwtSecret, serviceToken, spyToken, clusterToken, adminKey, readKey, publishKey, `eyJ[\w-]{8,}\.eyJ`}, "|"))

// kill ends the node as a crash would.
func (n *node) kill() {
	n.mu.Lock()
	n.killed = true
	n.mu.Unlock()
	n.cmd.Process.Kill()
	<-n.done
}

func (n *node) signal(s os.Signal) {
	n.t.Helper()
	if s == syscall.SIGTERM {
		n.mu.Lock()
		n.leaving = true
		n.mu.Unlock()
	}
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// reload rewrites the config with extra laid over and sends SIGHUP.
func (n *node) reload(extra conf) {
	n.t.Helper()
	n.conf = extra.over(n.conf)
	n.conf.write(n.t, n.dir)
	n.signal(syscall.SIGHUP)
}

// wsURL is where clients dial.
func (n *node) wsURL() string { return "ws://" + n.addr + "/ws" }

var adminClient = &http.Client{
	Timeout:   15 * time.Second,
	Transport: &http.Transport{DisableKeepAlives: true}, // no idle conns for goleak to find
}

// get fetches from the admin listener without a key.
func (n *node) get(path string) (status int, body string, err error) {
	res, err := adminClient.Get("http://" + n.api + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// call makes an API call with a key and returns the status and the decoded answer.
func (n *node) call(key, method, path string, body any) (int, map[string]any) {
	n.t.Helper()
	status, raw, err := n.tryCall(key, method, path, body)
	if err != nil {
		n.t.Fatal(err)
	}
	var answer map[string]any
	if err := json.Unmarshal(raw, &answer); err != nil {
		n.t.Fatalf("%s %s answered %d %q: %v", method, path, status, raw, err)
	}
	return status, answer
}

func (n *node) tryCall(key, method, path string, body any) (int, []byte, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return 0, nil, err
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+n.api+path, in)
	if err != nil {
		return 0, nil, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := adminClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, raw, err
}

// groupSend sends by the API and fails the test on anything but ok.
func (n *node) groupSend(group string, data any) {
	n.t.Helper()
	status, answer := n.call(publishKey, "POST", "/api/v1/group_send", map[string]any{"group": group, "data": data})
	if status != http.StatusOK || answer["ok"] != true {
		n.t.Fatalf("group_send %s: %d %v", group, status, answer)
	}
}

// cli runs a sub-command and returns its exit code and output.
func cli(t testing.TB, dir string, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, gatecast(t), args...)
	cmd.Dir = dir
	cmd.Env = cleanEnv()
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("gatecast %v: %v\n%s", args, err, b)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// eventually waits for cond and fails with what() when it does not come true.
func eventually(t testing.TB, limit time.Duration, what func() string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatal(what())
		}
		<-tick.C
	}
}

// startCluster starts nodes called a, b, c… that know each other's routes, and waits until all are ready and
// each lists all of them.
func startCluster(t testing.TB, size int, extra conf) []*node {
	t.Helper()
	var nodes []*node
	routes := make([]string, size)
	for i := range size {
		routes[i] = "nats://" + freeAddr(t)
	}
	for i := range size {
		nodes = append(nodes, launchNode(t, string(rune('a'+i)), extra.over(clusterConf(routes, i))))
	}
	for _, n := range nodes {
		n.waitReady()
	}
	for _, n := range nodes {
		n.waitPeers(size)
	}
	return nodes
}

// clusterConf is what makes a node number i of the cluster on routes.
func clusterConf(routes []string, i int) conf {
	return conf{
		"broker.cluster.listen": strings.TrimPrefix(routes[i], "nats://"),
		"broker.cluster.routes": routes,
		"broker.cluster.token":  clusterToken,
	}
}

// waitPeers waits until the node's own list of nodes has size entries.
func (n *node) waitPeers(size int) {
	n.t.Helper()
	var answer []byte
	eventually(n.t, 30*time.Second, func() string {
		return fmt.Sprintf("node %s does not list %d nodes: %s\n%s", n.name, size, answer, n.logs.tail(40))
	}, func() bool {
		status, raw, err := n.tryCall(adminKey, "GET", "/api/v1/nodes", nil)
		answer = raw
		if err != nil || status != http.StatusOK {
			return false
		}
		var list struct{ Nodes []struct{ Name string } }
		return json.Unmarshal(raw, &list) == nil && len(list.Nodes) == size
	})
}

// scratch is a directory for one test that other accounts may enter.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(workDir, "t-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Clean(dir)
}
