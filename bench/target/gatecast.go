//go:build linux

package target

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
)

// gatecastTarget is one node of Gatecast with embedded NATS: native protocol, JWT logins, published to by a user's socket.
type gatecastTarget struct{}

// startTimeout is how long a node may take to be ready.
const startTimeout = 30 * time.Second

// config is what the node runs with: defaults but for what would limit a load on purpose.
const config = `[server]
listen = %q
loops  = %d
[server.limits]
messages_per_second = 0
bytes_per_second    = 0
[drain]
window = "0s"
[broker]
listen = "127.0.0.1:0"
[authn]
chain    = ["jwt"]
carriers = ["header"]
[authn.jwt]
secret = %q
[admin]
listen = %q
[log]
level = "warn"
`

// Name is gatecast.
func (gatecastTarget) Name() string { return "gatecast" }

// About says which Gatecast.
func (gatecastTarget) About() string {
	return "one node, native protocol, a JWT login a user; -gatecast gives the binary"
}

// Cannot is empty: it can do everything.
func (gatecastTarget) Cannot(Options) string { return "" }

// Start writes a config into a directory of its own and runs the binary on it.
func (gatecastTarget) Start(ctx context.Context, o Options) (_ Instance, err error) {
	binary, err := findGatecast(o.Binaries["gatecast"])
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gatecast-bench-")
	if err != nil {
		return nil, err
	}
	g := &gatecastInstance{opts: o, addr: addrs[0], dir: dir, secret: []byte(rand.Text() + rand.Text())}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, fmt.Appendf(nil, config, addrs[0], o.Loops, g.secret, addrs[1]), 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, binary, "version").Output(); err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", binary, err)
	} else {
		g.version = strings.TrimSpace(string(out))
	}
	cmd := exec.Command(binary, "serve", "-config", path)
	cmd.Dir, cmd.Env = dir, withoutSettings(os.Environ())
	if g.process, err = start(cmd); err != nil {
		return nil, err
	}
	if err := g.waitReady(ctx, addrs[1]); err != nil {
		return nil, errors.Join(err, ignoreEnded(g.process))
	}
	return g, nil
}

// findGatecast returns the path of the binary to measure.
func findGatecast(given string) (string, error) {
	if given != "" {
		path, err := exec.LookPath(given)
		if err != nil {
			return "", err
		}
		return filepath.Abs(path) // it runs in a directory of its own
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "gatecast")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath("gatecast")
	if err != nil {
		return "", errors.New("no gatecast beside this program or in PATH; build it with make build, or give -gatecast PATH")
	}
	return path, nil
}

// withoutSettings drops our own settings from an environment, which would override the config.
func withoutSettings(env []string) (kept []string) {
	for _, kv := range env {
		if !strings.HasPrefix(kv, "GATECAST_") {
			kept = append(kept, kv)
		}
	}
	return kept
}

// freeAddrs returns loopback addresses nobody listens on now.
func freeAddrs(n int) (addrs []netip.AddrPort, err error) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close() // all are held until the last is found, so that they differ
		addrs = append(addrs, ln.Addr().(*net.TCPAddr).AddrPort())
	}
	return addrs, nil
}

// ignoreEnded stops a process whose end has been told already.
func ignoreEnded(p *process) error {
	if p.ended() != nil {
		return nil
	}
	return p.Stop()
}

type gatecastInstance struct {
	*process
	opts    Options
	addr    netip.AddrPort
	dir     string
	secret  []byte
	version string
}

func (g *gatecastInstance) waitReady(ctx context.Context, admin netip.AddrPort) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("gatecast was not ready within %v", startTimeout))
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin.String()+"/readyz", nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				tick.Stop()
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-g.done:
			tick.Stop()
			return g.ended()
		case <-ctx.Done():
			tick.Stop()
			return fmt.Errorf("%w\n%s", context.Cause(ctx), g.said)
		}
	}
}

// Addrs is the WebSocket listener.
func (g *gatecastInstance) Addrs() []netip.AddrPort { return []netip.AddrPort{g.addr} }

// Spec is the native protocol.
func (g *gatecastInstance) Spec() codec.Spec {
	return codec.Spec{Codec: "gatecast", Host: g.addr.String(), Secret: g.secret, Login: g.opts.Login, Users: g.opts.Users, Personal: g.opts.Personal}
}

// Version is what the binary says of itself.
func (g *gatecastInstance) Version() string { return g.version }

// Stop ends the node and removes its directory.
func (g *gatecastInstance) Stop() error { return errors.Join(g.process.Stop(), os.RemoveAll(g.dir)) }
