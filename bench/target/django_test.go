//go:build linux

package target

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
)

func TestBase62IsDjangos(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 61: "z", 62: "10", 1700000000: "1r31eq"} { // django.core.signing.b62_encode, 5.2
		if got := base62(n); got != want {
			t.Errorf("base62(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSignedDataIsCompressedWhenThatIsShorter(t *testing.T) {
	key := deriveKey(sessionSalt+"signer", "secret")
	at := time.Unix(1700000000, 0)
	for data, dot := range map[string]bool{`{"a":1}`: false, `{"a":"` + strings.Repeat("x", 100) + `"}`: true} {
		got := signDjango(key, data, at)
		if strings.HasPrefix(got, ".") != dot || strings.Count(got, ":") != 2 || !strings.Contains(got, ":1r31eq:") {
			t.Errorf("signDjango(%q) = %q", data, got)
		}
	}
}

// TestGatecastTakesASession asks the real program whether it accepts what is made here.
func TestGatecastTakesASession(t *testing.T) {
	o := ofGatecast(t, Options{Loops: 1, Nodes: 1, Conns: 3, PerConn: 1, Login: codec.LoginSession})
	binary := o.Binaries["gatecast"]
	in, err := gatecastTarget{}.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := in.Stop(); err != nil {
			t.Error(err)
		}
	}()
	spec := in.Spec()
	if len(spec.Cookies) != 3 {
		t.Fatalf("%d cookies, want one a client", len(spec.Cookies))
	}
	check := func(cookie string) (string, error) {
		cmd := exec.Command(binary, "session", "check", "-config", filepath.Join(in.(*gatecastInstance).dir, "n0.toml"), cookie)
		cmd.Env = withoutSettings(os.Environ())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check(spec.Cookies[1]); err != nil || !strings.Contains(out, "accepted") {
		t.Errorf("session check: %v\n%s", err, out)
	}
	if out, err := check("sessionid=" + strings.Repeat("a", 32)); err == nil {
		t.Errorf("a session that is not there is accepted\n%s", out)
	}
}
