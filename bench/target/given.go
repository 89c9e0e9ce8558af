//go:build linux

package target

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gatecast/gatecast/bench/codec"
)

// givenTarget is a server whose binary nobody installs for us: a flag gives it.
type givenTarget struct {
	name   string
	about  string
	lacks  func(Options) string               // why it cannot run, besides what holds for all of them; may be nil
	args   func(addr netip.AddrPort) []string // of the command that serves
	env    func(key string) []string          // settings; key opens the HTTP API
	alive  string                             // a path that is answered by 200 once it serves
	number []string                           // arguments that print the version
}

// centrifugo is what Centrifuge is the library of. Limits are raised as they are for centrifuge.
var centrifugo = &givenTarget{
	name:  "centrifugo",
	about: "Centrifugo, memory engine, anonymous clients; -centrifugo gives the binary",
	args: func(addr netip.AddrPort) []string {
		return []string{
			"--config", "none.json", // there is none: settings are in the environment
			"--http_server.address", addr.Addr().String(), "--http_server.port", strconv.Itoa(int(addr.Port())),
			"--prometheus.enabled", "--health.enabled", "--log.level", "error",
		}
	},
	env: func(key string) []string {
		return []string{
			"CENTRIFUGO_CLIENT_ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN=true",
			"CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_SUBSCRIBE_FOR_CLIENT=true",
			"CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_SUBSCRIBE_FOR_ANONYMOUS=true",
			"CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_PUBLISH_FOR_CLIENT=true",
			"CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_PUBLISH_FOR_ANONYMOUS=true",
			"CENTRIFUGO_CLIENT_QUEUE_MAX_SIZE=67108864",
			"CENTRIFUGO_CLIENT_CHANNEL_LIMIT=65536",
			"CENTRIFUGO_HTTP_API_KEY=" + key,
			"CENTRIFUGO_USAGE_STATS_DISABLED=true",
		}
	},
	alive:  "/health",
	number: []string{"version"},
}

// anyCable is AnyCable-Go without Rails: public streams, one node.
var anyCable = &givenTarget{
	name:  "anycable",
	about: "AnyCable-Go alone with public streams, published to by HTTP (-http); -anycable gives the binary",
	lacks: func(o Options) string {
		switch {
		case o.Speaks:
			return "its clients hear nothing of what they whisper themselves"
		case o.Moves:
			return "Action Cable confirms no unsubscribe"
		case !o.HTTP && !o.Silent:
			return "a backend publishes to it by HTTP, not over a socket: add -http"
		}
		return ""
	},
	args: func(addr netip.AddrPort) []string {
		port := strconv.Itoa(int(addr.Port()))
		return []string{
			"--ignore-config-path", "--presets", "none", "--host", addr.Addr().String(), "--port", port, "--public", "--norpc",
			"--broadcast_adapter", "http", "--http_broadcast_port", port, "--metrics_http", "/metrics", "--log_level", "error",
			"--ws_max_pending_size", "67108864", "--shutdown_timeout", "5",
		}
	},
	env:    func(string) []string { return []string{"ANYCABLE_DISABLE_TELEMETRY=true"} },
	alive:  "/health",
	number: []string{"--version"},
}

// Name is the product's.
func (t *givenTarget) Name() string { return t.name }

// About says what it is.
func (t *givenTarget) About() string { return t.about }

// Cannot is what one process without users has not, or that there is no binary.
func (t *givenTarget) Cannot(o Options) string {
	switch {
	case o.Binaries[t.name] == "":
		return fmt.Sprintf("nothing installs it: give its binary with -%s PATH", t.name)
	case noLogin(o) != "":
		return noLogin(o)
	case o.Personal:
		return noPersonal
	case o.Nodes > 1:
		return "it is run as one node; a cluster needs Redis or NATS between the nodes"
	case t.lacks != nil:
		return t.lacks(o)
	}
	return ""
}

// Start runs the binary with settings of ours alone.
func (t *givenTarget) Start(ctx context.Context, o Options) (_ Instance, err error) {
	given := o.Binaries[t.name]
	if given == "" {
		return nil, errors.New(t.Cannot(o))
	}
	binary, err := exec.LookPath(given)
	if err != nil {
		return nil, fmt.Errorf("no binary of %s: %w", t.name, err)
	}
	if binary, err = filepath.Abs(binary); err != nil { // it runs in a directory of its own
		return nil, err
	}
	version, err := exec.CommandContext(ctx, binary, t.number...).Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", binary, told(err))
	}
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gatecast-bench-")
	if err != nil {
		return nil, err
	}
	number, _, _ := strings.Cut(strings.TrimSpace(string(version)), "\n")
	g := &givenInstance{rival{dir: dir, addrs: addrs, version: number}, t.name, rand.Text()}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.abandon())
		}
	}()
	cmd := exec.Command(binary, t.args(addrs[0])...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, t.env(g.key)...)
	f, err := startFamily(cmd)
	if err != nil {
		return nil, err
	}
	g.stages = [][]family{{f}}
	err = g.awaits(ctx, f, func(ctx context.Context) error {
		_, err := get(ctx, addrs[0], t.alive)
		return err
	})
	if err != nil {
		return nil, err
	}
	g.ready()
	return g, nil
}

type givenInstance struct {
	rival
	name string
	key  string
}

// Spec is Centrifuge's protocol or Action Cable's; HTTP is on the same address.
func (g *givenInstance) Spec() codec.Spec {
	s := codec.Spec{Codec: g.name, Host: g.addrs[0].String(), Post: g.addrs[0], Key: g.key}
	if g.name == centrifugo.name {
		s.Codec = "centrifuge"
	}
	return s
}

// Metrics are the product's own.
func (g *givenInstance) Metrics() (string, string) {
	return "http://" + g.addrs[0].String() + "/metrics", ""
}
