package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// release is what a virtual environment holds, such as one Django the site runs on, with the Pythons it accepts
// (its release notes say which).
type release struct {
	name     string // of the Django: its file in django/requirements
	file     string // requirements of anything else, below server/e2e
	min, max int    // Python 3.min to 3.max
}

// what is how people and folders call the release.
func (r release) what() string {
	if r.file != "" {
		return r.name
	}
	return "django-" + r.name
}

// requirements is the path of the file for pip.
func (r release) requirements() string {
	if r.file != "" {
		return filepath.Join(repoRoot(), "server/e2e", r.file)
	}
	return filepath.Join(repoRoot(), "server/e2e/django/requirements", r.name+".txt")
}

// djangos are the releases that logins are tried on. 3.2 promises Python 3.10 at most and runs on 3.11, which Debian has. pylibmc has no wheels beyond
// that, so the two oldest stay there.
var djangos = []release{
	{name: "3.2", min: 9, max: 11},
	{name: "4.2", min: 9, max: 11},
	{name: "5.1", min: 10, max: 13},
	{name: "5.2", min: 10, max: 14},
	{name: "6", min: 12, max: 14},
}

// releases are those that everything else is tried on.
var releases = []release{djangos[1], djangos[3], djangos[4]}

// from tells whether the release is this version of Django, or a later one.
func (r release) from(version float64) bool {
	v, err := strconv.ParseFloat(r.name, 64)
	return err == nil && v >= version
}

// python is an interpreter that can make virtual environments.
type python struct {
	path  string
	minor int
}

// pythons lists what is installed, newest first: PATH, and the folders version managers keep.
var pythons = sync.OnceValue(func() []python {
	home, _ := os.UserHomeDir()
	var paths []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		paths = append(paths, glob(filepath.Join(dir, "python3.*"))...)
	}
	for _, dir := range []string{
		".pyenv/versions", ".local/share/uv/python", ".asdf/installs/python", ".local/share/mise/installs/python",
		".rye/py", ".local/share/rtx/installs/python", "miniconda3/envs",
	} {
		paths = append(paths, glob(filepath.Join(home, dir, "*/bin/python3.*"))...)
	}
	paths = append(paths, glob("/opt/python*/bin/python3.*")...)
	var found []python
	for _, path := range paths {
		if strings.Contains(filepath.Base(path), "-") { // python3.12-config and the like
			continue
		}
		// A version manager's shim may exist and refuse; Debian's python3 may lack ensurepip.
		out, err := exec.Command(path, "-c", "import sys, venv, ensurepip, sqlite3, ssl; print(sys.version_info.minor)").Output()
		minor := 0
		if _, scan := fmt.Sscan(string(out), &minor); err != nil || scan != nil {
			continue
		}
		found = append(found, python{path: path, minor: minor})
	}
	slices.SortStableFunc(found, func(a, b python) int { return b.minor - a.minor })
	return found
})

func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern)
	return paths
}

var (
	venvMu sync.Mutex
	venvs  = map[string]*venvOnce{}
)

type venvOnce struct {
	once sync.Once
	dir  string
	err  error
}

// venvPython returns the interpreter of a virtual environment with the release's requirements installed. It is
// kept under .cache/venvs and made again when the requirements or the Python change.
func venvPython(t testing.TB, r release) string {
	t.Helper()
	var base *python
	for _, p := range pythons() {
		if p.minor >= r.min && p.minor <= r.max {
			base = &p
			break
		}
	}
	if base == nil {
		missing(t, "%s needs a Python from 3.%d to 3.%d with venv and ensurepip; installed: %v", r.what(), r.min, r.max, pythons())
	}
	venvMu.Lock()
	v := venvs[r.what()]
	if v == nil {
		v = &venvOnce{}
		venvs[r.what()] = v
	}
	venvMu.Unlock()
	v.once.Do(func() { v.dir, v.err = makeVenv(r, base.path) })
	if v.err != nil {
		t.Fatal(v.err)
	}
	return filepath.Join(v.dir, "bin", "python")
}

func makeVenv(r release, base string) (string, error) {
	file := r.requirements()
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(base+"\n"), text...))
	cache := filepath.Join(repoRoot(), ".cache", "venvs")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir := filepath.Join(cache, r.what()+"-"+hex.EncodeToString(sum[:6]))
	// Two test processes may want it at once.
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	done := filepath.Join(dir, "complete")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{base, "-m", "venv", dir},
		{filepath.Join(dir, "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", file},
	} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", args, err, out)
		}
	}
	return dir, os.WriteFile(done, text, 0o644)
}

// anyVenv is the environment for Python programs that need no particular Django.
func anyVenv(t testing.TB) string {
	t.Helper()
	return venvPython(t, releases[1])
}

// pythonEnv is the environment Python programs run in: our client library comes from the tree.
func pythonEnv(extra ...string) []string {
	return append(append(cleanEnv(),
		"PYTHONPATH="+filepath.Join(repoRoot(), "clients/python/src"),
		"PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"), extra...)
}

// orders is a child process that answers each JSON line with one.
type orders struct {
	t   testing.TB
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
	log *logs

	mu       sync.Mutex // one order at a time
	closeIn  func() error
	finished bool
}

// startOrders starts cmd and waits for its first line.
func startOrders(t testing.TB, cmd *exec.Cmd) *orders {
	t.Helper()
	o := &orders{t: t, cmd: cmd, log: newLogs()}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = o.log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o.in, o.out, o.closeIn = json.NewEncoder(in), json.NewDecoder(out), in.Close
	t.Cleanup(o.stop)
	o.answer(2 * time.Minute)
	return o
}

// do gives an order and returns its answer; an "error" in it fails the test.
func (o *orders) do(order map[string]any) map[string]any {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.in.Encode(order); err != nil {
		o.t.Fatalf("order %v: %v\n%s", order, err, o.log.tail(40))
	}
	answer := o.answer(2 * time.Minute)
	if e, bad := answer["error"]; bad {
		o.t.Fatalf("order %v: %v\n%s", order, e, o.log.tail(40))
	}
	return answer
}

func (o *orders) answer(limit time.Duration) map[string]any {
	o.t.Helper()
	timer := time.AfterFunc(limit, func() { o.cmd.Process.Kill() })
	defer timer.Stop()
	var answer map[string]any
	if err := o.out.Decode(&answer); err != nil {
		o.t.Fatalf("%v gives no answer: %v\n%s", o.cmd.Args, err, o.log.tail(40))
	}
	return answer
}

func (o *orders) stop() {
	if o.finished {
		return
	}
	o.finished = true
	o.closeIn()
	timer := time.AfterFunc(10*time.Second, func() { o.cmd.Process.Kill() })
	defer timer.Stop()
	if err := o.cmd.Wait(); err != nil {
		o.t.Errorf("%v: %v\n%s", o.cmd.Args, err, o.log.tail(40))
	}
}
