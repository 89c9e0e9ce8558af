//go:build linux

package target

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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

// gatecastTarget is Gatecast with embedded NATS, one node or a cluster, published to by a user's socket or by HTTP.
type gatecastTarget struct {
	raw bool // its clients use a raw route
}

// startTimeout is how long a node may take to be ready.
const startTimeout = 30 * time.Second

// config is what a node runs with: defaults but for what would limit a load on purpose.
const config = `[server]
listen = %q
loops  = %d
[server.limits]
messages_per_second = 0
bytes_per_second    = 0
groups_per_conn     = %d
handshakes_per_second = %d
[drain]
window = "0s"
[broker]
name   = %q
listen = "127.0.0.1:0"
%s[authn]
chain     = [%s]
carriers  = [%s]
anonymous = %t
[authn.jwt]
secret = %q
[admin]
listen = %q
[[admin.keys]]
name = "bench"
key  = %q
role = "publish"
[log]
level = "warn"
%s`

// Further parts of the config.
const (
	clusterConfig = `[broker.cluster]
listen = %q
routes = [%s]
token  = %q
`
	djangoConfig = `[authn.django]
database    = %q
session_key = %q
hash_key    = %q
user_prefix = "u"
[[grants]]
to        = "authenticated"
subscribe = ["bench.>"]
publish   = ["bench.>"]
`
	slowConfig = `[[groups]]
pattern = "bench.>"
slow    = %q
`
	anonymousConfig = `[[grants]]
to        = "anonymous"
subscribe = ["bench.>"]
publish   = ["bench.>"]
`
	// What a client sends goes to the user's own group: that is how a client of a raw route can know that it has joined.
	routeConfig = `[[routes]]
path    = "/bench/{group}"
groups  = ["bench.{group}"]
publish = "user.{id}"
deliver = "data"
`
)

// Name is gatecast or gatecast-raw.
func (t gatecastTarget) Name() string {
	if t.raw {
		return "gatecast-raw"
	}
	return "gatecast"
}

// About says which Gatecast.
func (t gatecastTarget) About() string {
	if t.raw {
		return "Gatecast with clients on a raw route: no protocol, the message alone; published to by the native protocol"
	}
	return "Gatecast, native protocol, logins by JWT, by Django's session (-login session) or none (-login anonymous); -gatecast gives the binary"
}

// Cannot is what a login or a raw route has not.
func (t gatecastTarget) Cannot(o Options) string {
	switch {
	case o.Login != "" && o.Login != codec.LoginJWT && o.Login != codec.LoginAnonymous && o.Login != codec.LoginSession:
		return fmt.Sprintf("its logins are %s, %s and %s, not %q", codec.LoginJWT, codec.LoginSession, codec.LoginAnonymous, o.Login)
	case o.Login == codec.LoginSession && (t.raw || o.Personal):
		return "with logins by session its clients are in groups that they join by the native protocol"
	case o.Login == codec.LoginAnonymous && (o.Personal || o.Users > 0):
		return "anonymous clients are no users"
	case !t.raw:
		return ""
	case o.Login == codec.LoginAnonymous:
		return "its clients know by their user's own group that they have joined"
	case o.PerConn > 1:
		return "a raw route gives a connection the groups in its path, here one"
	case o.Personal:
		return "a raw route joins the group in its path"
	case o.Moves:
		return "clients of a raw route stay in its groups"
	case o.Speaks:
		return "what its clients send goes to their user's own group"
	}
	return ""
}

// Start writes a config a node into a directory of its own and runs the binary on each.
func (t gatecastTarget) Start(ctx context.Context, o Options) (_ Instance, err error) {
	binary, err := findGatecast(o.Binaries["gatecast"])
	if err != nil {
		return nil, err
	}
	version, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", binary, err)
	}
	const each = 3 // listeners a node whose ports must be known before
	nodeCount := max(o.Nodes, 1)
	addrs, err := freeAddrs(each * nodeCount)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gatecast-bench-")
	if err != nil {
		return nil, err
	}
	g := &gatecastInstance{
		nodes: new(nodes), binary: binary, opts: o, raw: t.raw, dir: dir, secret: []byte(rand.Text() + rand.Text()), key: rand.Text(),
		version: strings.TrimSpace(string(version)),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.abandon(), os.RemoveAll(dir))
		}
	}()
	if o.Login == codec.LoginSession {
		users := o.Users
		if users == 0 {
			users = o.Conns
		}
		if g.site, err = makeDjangoSite(ctx, filepath.Join(dir, "django.sqlite3"), users); err != nil {
			return nil, err
		}
	}
	for n := range nodeCount {
		g.addrs, g.admin = append(g.addrs, addrs[each*n]), append(g.admin, addrs[each*n+1])
	}
	var routes []string
	for n := range nodeCount {
		routes = append(routes, fmt.Sprintf("%q", "nats://"+addrs[each*n+2].String()))
	}
	token := rand.Text()
	for n := range nodeCount {
		cluster := ""
		if nodeCount > 1 {
			cluster = fmt.Sprintf(clusterConfig, addrs[each*n+2], strings.Join(routes, ", "), token)
		}
		if err := g.startNode(n, cluster); err != nil {
			return nil, err
		}
	}
	for n := range nodeCount {
		if err := g.waitReady(ctx, n); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// startNode starts node n.
func (g *gatecastInstance) startNode(n int, cluster string) error {
	more, chain, carriers := "", `"jwt"`, `"header"`
	if g.site != nil { // the publisher logs in by JWT still
		more = fmt.Sprintf(djangoConfig, "sqlite://"+g.site.database, g.site.sessionKey, g.site.hashKey)
		chain, carriers = `"jwt", "django"`, `"header", "cookie"`
	}
	if g.opts.Login == codec.LoginAnonymous {
		more += anonymousConfig
	}
	if g.opts.Slow != "" {
		more += fmt.Sprintf(slowConfig, g.opts.Slow)
	}
	if g.raw {
		more += routeConfig
	}
	name := fmt.Sprintf("n%d", n)
	path := g.configPath(n)
	text := fmt.Appendf(nil, config, g.addrs[n], g.opts.Loops, max(g.opts.PerConn+1, groupsPerConn), g.opts.Handshakes, name, cluster, chain, carriers,
		g.opts.Login == codec.LoginAnonymous, g.secret, g.admin[n], g.key, more)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return err
	}
	p, err := g.launch(n)
	if err != nil {
		return err
	}
	g.processes = append(g.processes, p)
	return nil
}

func (g *gatecastInstance) configPath(n int) string {
	return filepath.Join(g.dir, fmt.Sprintf("n%d.toml", n))
}

// launch runs node n, whose config is there.
func (g *gatecastInstance) launch(n int) (*process, error) {
	cmd := exec.Command(g.binary, "serve", "-config", g.configPath(n))
	cmd.Dir, cmd.Env = g.dir, withoutSettings(os.Environ())
	return start(cmd)
}

// Kill implements [Restarter].
func (g *gatecastInstance) Kill(node int) error { return g.processes[node].kill() }

// Drain implements [Restarter].
func (g *gatecastInstance) Drain(node int) error { return g.processes[node].Stop() }

// Restart implements [Restarter].
func (g *gatecastInstance) Restart(ctx context.Context, node int) error {
	p, err := g.launch(node)
	if err != nil {
		return err
	}
	g.processes[node] = p
	return g.waitReady(ctx, node)
}

// groupsPerConn is the server's default of the limit of that name.
const groupsPerConn = 100

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
	*nodes
	binary  string
	opts    Options
	raw     bool
	addrs   []netip.AddrPort // WebSocket, of each node
	admin   []netip.AddrPort // HTTP API, of each node
	dir     string
	secret  []byte      // of JWTs
	key     string      // of the HTTP API
	site    *djangoSite // nil = clients do not log in by session
	version string
}

// waitReady waits until node n serves and sees all the others.
func (g *gatecastInstance) waitReady(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("gatecast was not ready within %v", startTimeout))
	defer cancel()
	p := g.processes[n]
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if g.isReady(ctx, n) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return p.ended()
		case <-ctx.Done():
			return fmt.Errorf("%w\n%s", context.Cause(ctx), p.said)
		}
	}
}

func (g *gatecastInstance) isReady(ctx context.Context, n int) bool {
	if _, err := get(ctx, g.admin[n], "/readyz"); err != nil {
		return false
	}
	if len(g.addrs) == 1 {
		return true
	}
	metrics, err := get(ctx, g.admin[n], "/metrics")
	return err == nil && strings.Contains(metrics, fmt.Sprintf("\ngatecast_broker_peers %d\n", len(g.addrs)-1))
}

// get returns what stands at a path, if the answer is 200.
func get(ctx context.Context, addr netip.AddrPort, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr.String()+path, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return string(body), err
}

// Addrs are the WebSocket listeners.
func (g *gatecastInstance) Addrs() []netip.AddrPort { return g.addrs }

// Spec is the native protocol, or that of the raw route; publications by HTTP go to the first node.
func (g *gatecastInstance) Spec() codec.Spec {
	s := codec.Spec{
		Codec: "gatecast", Host: g.addrs[0].String(), Post: g.admin[0], Key: g.key, Secret: g.secret,
		Login: g.opts.Login, Users: g.opts.Users, Personal: g.opts.Personal,
	}
	if g.raw {
		s.Codec = "gatecast-raw"
	}
	if g.site != nil {
		s.Cookies = g.site.cookies
	}
	return s
}

// Version is what the binary says of itself.
func (g *gatecastInstance) Version() string { return g.version }

// Metrics are the first node's.
func (g *gatecastInstance) Metrics() (string, string) {
	return "http://" + g.admin[0].String() + "/metrics", ""
}

// Stop ends the nodes and removes their directory.
func (g *gatecastInstance) Stop() error { return errors.Join(g.nodes.Stop(), os.RemoveAll(g.dir)) }
