//go:build linux

package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatecast/gatecast/bench/live"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// lenient are flags for a short run on a machine that is busy with other tests; a scenario takes those it knows.
func (s *scenario) lenient() (flags []string) {
	flags = []string{"-repeat", "2"}
	for _, f := range [][2]string{
		{"warmup", "100ms"}, {"duration", "400ms"}, {"settle", "50ms"}, {"max-lag", "1m"}, {"patience", "1m"}, {"conns", "60"},
		{"most", "40"}, {"p99", "30s"}, {"churn", "20"},
	} {
		if slices.Contains(s.takes, f[0]) {
			flags = append(flags, "-"+f[0], f[1])
		}
	}
	if s.defaults.Rate > 200 {
		flags = append(flags, "-rate", "200")
	}
	if s.defaults.Groups > 1 {
		flags = append(flags, "-groups", "20")
	}
	return flags
}

// cannot is why a target cannot run the scenario as it is by default; "" if it can.
func (s *scenario) cannot(t *testing.T, name string) string {
	t.Helper()
	targets, err := target.Find([]string{name})
	if err != nil {
		t.Fatal(err)
	}
	if s.missing != "" {
		return s.missing
	}
	return targets[0].Cannot(s.targetOptions(settings{Options: s.defaults}))
}

func lenient(t *testing.T, words ...string) []string {
	t.Helper()
	s, err := findScenario(words[0])
	if err != nil {
		t.Fatal(err)
	}
	return append(append([]string{words[0]}, s.lenient()...), words[1:]...)
}

func command(t *testing.T, words ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Main(words, &out, &errs)
	return code, out.String(), errs.String()
}

func TestEveryScenarioMeasuresRaw(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios() {
		if s.cannot(t, "raw") != "" { // as help says
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			dir := t.TempDir()
			words := append([]string{s.name, "-target", "raw,raw-batch", "-loops", "2", "-out", dir}, s.lenient()...)
			code, stdout, stderr := command(t, words...)
			if code != exitOK {
				t.Fatalf("exit code %d, want 0\n%s%s", code, stdout, stderr)
			}
			b, err := os.ReadFile(filepath.Join(dir, "result.json"))
			if err != nil {
				t.Fatal(err)
			}
			var d result.Document
			if err := json.Unmarshal(b, &d); err != nil {
				t.Fatal(err)
			}
			if d.Schema != result.Schema || !d.Valid || d.Partial || len(d.Results) != 1 || len(d.Results[0].Runs) != 4 {
				t.Fatalf("document: %s", b)
			}
			r := d.Results[0]
			for i, want := range []string{"raw", "raw-batch", "raw", "raw-batch"} {
				if r.Runs[i].Target != want {
					t.Errorf("run %d is of %s, want %s: targets take turns", i, r.Runs[i].Target, want)
				}
				if v, ok := r.Runs[i].Value(s.cost); !ok || v <= 0 && s.name != "idle" {
					t.Errorf("run %d: %s = %v", i, s.cost, v)
				}
			}
			lines, err := os.ReadFile(filepath.Join(dir, "bench.txt"))
			if want := "BenchmarkGatecastBench/" + s.name + "/"; err != nil || strings.Count(string(lines), want) != 4 {
				t.Errorf("bench.txt has no 4 lines of %q: %v", want, err)
			}
		})
	}
}

func TestWindowedFanoutOverSeveralLoops(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"raw", "raw-batch"} {
		words := lenient(t, "fanout", "-target", name, "-loops", "3", "-conns", "50", "-window", "16")
		if code, stdout, stderr := command(t, words...); code != exitOK || !strings.Contains(stdout, "none lost") {
			t.Errorf("%s: exit code %d, want 0\n%s%s", name, code, stdout, stderr)
		}
	}
}

func TestThresholdMissedIsExitCode1(t *testing.T) {
	words := lenient(t, "connect", "-target", "raw", "-conns", "20", "-p99", "1ns")
	if code, stdout, _ := command(t, words...); code != exitMissed || !strings.Contains(stdout, "raw: p99 of the response is") {
		t.Errorf("exit code %d, want 1\n%s", code, stdout)
	}
}

func TestGeneratorThatFallsBehindIsInvalid(t *testing.T) {
	words := lenient(t, "fanout", "-target", "raw", "-conns", "20", "-max-lag", "1ns", "-repeat", "1", "-retries", "1")
	code, stdout, _ := command(t, words...)
	if strings.Count(stdout, "made again: raw, repeat 1") != 1 {
		t.Errorf("the run was not made again once\n%s", stdout)
	}
	if code != exitInvalid || !strings.Contains(stdout, "the generator fell behind") || strings.Contains(stdout, "median") {
		t.Errorf("exit code %d, want 2 and no ranking\n%s", code, stdout)
	}
}

func TestMistakesAreToldClearly(t *testing.T) {
	nothing := filepath.Join(t.TempDir(), "gatecast")
	silent := filepath.Join(t.TempDir(), "gatecast")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\n[ \"$1\" = version ] || { echo no licence >&2; exit 3; }\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ line, want string }{
		{"", "which scenario?"},
		{"fanuot", `unknown scenario "fanuot"; there are: fanout, groups, notify`},
		{"clusters", `unknown scenario "clusters"; there are: fanout`},
		{"recovery", "gatecast has no durable groups yet"},
		{"search", "a search needs -p99"},
		{"search -p99 1s -search loops", "it is rate or conns"},
		{"search -p99 1s -most 1", "-most must not be below"},
		{"reconnect -how leave", "it is kill or drain"},
		{"cluster -nodes 1", "-nodes must be at least 2 for cluster"},
		{"fanout -target raw,nhcan", `unknown target "nhcan"; there are: raw, raw-batch`},
		{"fanout -target raw,raw", "target raw is named twice"},
		{"fanout -conns 0", "-conns must be at least 1"},
		{"fanout -conns 100000000", "the limit is"},
		{"fanout -loops -1", "-loops and -users at least 0"},
		{"suite short -loops -1", "-loops at least 0"},
		{"fanout -size 10", "-size must be at least 64"},
		{"fanout -rate 0", "-rate or -window must be above 0"},
		{"fanout -rate 5 -window 5", "give one of them"},
		{"fanout -rate 0.1 -duration 5s", "is not one publication"},
		{"churn -churn 0", "-churn must be above 0"},
		{"reconnect -patience 1s", "flag provided but not defined"},
		{"connect -shared 10 -per-conn 2", "leave -groups and -per-conn out"},
		{"idle -shared -1", "-shared must be at least 1"},
		{"fanout -known", "flag provided but not defined"},
		{"fanout 1000", `unexpected argument "1000"`},
		{"fanout -nope", "flag provided but not defined"},
		{"fanout -target gatecast -gatecast " + nothing, "no such file"},
		{"fanout -target gatecast -gatecast " + silent, "no licence"},
	} {
		code, _, stderr := command(t, strings.Fields(tt.line)...)
		if code != exitError || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: exit code %d, says %q, want 3 and %q", tt.line, code, stderr, tt.want)
		}
	}
}

func TestInterruptKeepsWhatWasMeasured(t *testing.T) {
	t.Parallel()
	s, err := findScenario("fanout")
	if err != nil {
		t.Fatal(err)
	}
	o, err := parse(s, lenient(t, "fanout", "-target", "raw", "-conns", "10")[1:], io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := target.Find([]string{"raw"})
	if err != nil {
		t.Fatal(err)
	}
	spy := &spied{Target: targets[0]}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	r, err := measure(ctx, s, o, []target.Target{spy}, live.New(writerFunc(func(b []byte) (int, error) {
		cancel(errInterrupted) // after the first run
		return len(b), nil
	}), false))
	if !errors.Is(err, errInterrupted) || len(r.Runs) != 1 || !r.Partial {
		t.Fatalf("%d runs, partial %v, %v; want the first run kept", len(r.Runs), r.Partial, err)
	}
	var out bytes.Buffer
	if code, err := conclude(&result.Document{Results: []*result.Result{r}}, "", err, &out); code != exitError || err == nil || !strings.Contains(out.String(), "PARTIAL: ended after 1") {
		t.Errorf("exit code %d, %v, says\n%s", code, err, out.String())
	}
	for _, in := range spy.started {
		if conn, err := net.Dial("tcp", in.Addrs()[0].String()); err == nil {
			conn.Close()
			t.Errorf("%s still listens", in.Addrs()[0])
		}
		if err := exec.Command("kill", "-0", strconv.Itoa(in.PIDs()[0])).Run(); err == nil {
			t.Errorf("process %d still runs", in.PIDs()[0])
		}
	}
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// spied remembers the instances it started.
type spied struct {
	target.Target
	started []target.Instance
}

func (s *spied) Start(ctx context.Context, o target.Options) (target.Instance, error) {
	in, err := s.Target.Start(ctx, o)
	if err == nil {
		s.started = append(s.started, in)
	}
	return in, err
}

// TestGatecast builds the server and runs every scenario on it.
func TestGatecast(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the server")
	}
	binary := filepath.Join(t.TempDir(), "gatecast")
	if out, err := exec.Command("go", "build", "-o", binary, "../server/cmd/gatecast").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for _, s := range scenarios() {
		if s.cannot(t, "gatecast") != "" {
			continue
		}
		words := append([]string{s.name, "-target", "gatecast", "-gatecast", binary}, s.lenient()...)
		if code, stdout, stderr := command(t, words...); code != exitOK {
			t.Errorf("%s: exit code %d, want 0\n%s%s", s.name, code, stdout, stderr)
		}
	}
	for _, line := range []string{
		"fanout -http", "notify -http", "connect -login session -users 3", "connect -login session -known -shared 7", "idle -shared 7",
		"reconnect -how drain -nodes 2", "cluster -nodes 2 -procs 2",
	} {
		words := lenient(t, append(strings.Fields(line), "-repeat", "1", "-target", "gatecast", "-gatecast", binary)...)
		if code, stdout, stderr := command(t, words...); code != exitOK {
			t.Errorf("%s: exit code %d, want 0\n%s%s", line, code, stdout, stderr)
		}
	}
}
