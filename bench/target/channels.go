//go:build linux

package target

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/rivals"
)

// channelsTarget is Django Channels on an ASGI server, with channels_redis between its processes.
type channelsTarget struct {
	server string // daphne or uvicorn
	about  string
	// workers is how many processes serve one port.
	workers func(Options) int
	// args are the server's, to serve on an address.
	args func(addr netip.AddrPort, workers int) []string
}

// application is the Django project's.
const application = "gatechannels.asgi:application"

// backlog is how many connections may wait to be accepted. Twisted's 50 overflow in a storm, and each that overflows waits a second.
const backlog = 2048

// daphne serves with one process: its only way to more on one port is a supervisor that hands it a socket.
var daphne = &channelsTarget{
	server:  "daphne",
	about:   "Django Channels on daphne (one process) with channels_redis, its capacity raised from 100 to 1,000,000",
	workers: func(Options) int { return 1 },
	args: func(addr netip.AddrPort, _ int) []string {
		return []string{
			"-v", "0", // no access log
			"--websocket_connect_timeout", "60", // its 5 s end handshakes of a storm
			"-e", fmt.Sprintf("tcp:%d:interface=%s:backlog=%d", addr.Port(), addr.Addr(), backlog),
			application,
		}
	},
}

// uvicorn's workers share the socket.
var uvicorn = &channelsTarget{
	server:  "uvicorn",
	about:   "Django Channels on uvicorn (-loops = workers) with channels_redis, capacity raised from 100 to 1,000,000",
	workers: Options.workers,
	args: func(addr netip.AddrPort, workers int) []string {
		return []string{
			"--host", addr.Addr().String(), "--port", strconv.Itoa(int(addr.Port())), "--backlog", strconv.Itoa(backlog),
			"--workers", strconv.Itoa(workers), "--loop", "uvloop", "--http", "httptools",
			"--log-level", "warning", "--no-access-log",
			"--lifespan", "off", // Channels has none
			"--timeout-keep-alive", "3600", // who publishes by HTTP may pause
			"--timeout-graceful-shutdown", "3",
			application,
		}
	},
}

// Name is the server's.
func (t *channelsTarget) Name() string { return t.server }

// About says what runs.
func (t *channelsTarget) About() string { return t.about }

// channelsMost is how many groups fit into the request line of a member: 16 KB in daphne.
const channelsMost = 1000

// Cannot is what the Django project has not.
func (*channelsTarget) Cannot(o Options) string {
	switch {
	case noLogin(o) != "":
		return noLogin(o)
	case o.PerConn > channelsMost:
		return fmt.Sprintf("its members name their groups in the path, where %d fit", channelsMost)
	}
	return ""
}

// Start starts Redis and then a server a node, all with the project in a directory of its own.
func (t *channelsTarget) Start(ctx context.Context, o Options) (_ Instance, err error) {
	redis, err := findDebian("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	python, err := rivalPython(o)
	if err != nil {
		return nil, err
	}
	version, err := channelsVersion(ctx, python, t.server, redis)
	if err != nil {
		return nil, err
	}
	r, err := newRival(max(o.Nodes, 1), version)
	if err != nil {
		return nil, err
	}
	c := &channelsInstance{r}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.abandon())
		}
	}()
	project, err := fs.Sub(rivals.Channels, "channels")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(c.dir, project); err != nil {
		return nil, err
	}
	socket, err := c.startRedis(ctx, redis)
	if err != nil {
		return nil, err
	}
	return c, c.startServers(ctx, t, o, python, socket)
}

// rivalPython returns the interpreter that has Channels.
func rivalPython(o Options) (string, error) {
	dir, err := rivalsDir(o)
	if err != nil {
		return "", err
	}
	python := filepath.Join(dir, "python", "bin", "python")
	if _, err := exec.LookPath(python); err != nil {
		return "", fmt.Errorf("no Python of the rivals at %s; make bench-rivals installs it, or bench/rivals/install python", python)
	}
	return python, nil
}

// channelsVersion asks for the versions of all that matters to speed.
func channelsVersion(ctx context.Context, python, server, redis string) (string, error) {
	out, err := exec.CommandContext(ctx, python, "-c", `
import sys, platform
from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in sys.argv[1:]), "Python " + platform.python_version(), sep=", ")`,
		server, "channels", "channels_redis", "Django").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for versions: %w; bench/rivals/install python makes it anew", python, told(err))
	}
	said, err := exec.CommandContext(ctx, redis, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", redis, told(err))
	}
	_, number, _ := strings.Cut(string(said), "v=")
	number, _, _ = strings.Cut(number, " ")
	return strings.TrimSpace(string(out)) + ", Redis " + number, nil
}

// told adds what a command wrote to standard error before it failed.
func told(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	return err
}

type channelsInstance struct{ rival }

// startRedis starts a Redis that nobody else sees, and that writes nothing to disk.
func (c *channelsInstance) startRedis(ctx context.Context, binary string) (socket string, err error) {
	socket = filepath.Join(c.dir, "redis.sock")
	cmd := exec.Command(binary, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no",
		"--dir", c.dir, "--daemonize", "no", "--loglevel", "warning", "--logfile", "")
	f, err := startFamily(cmd)
	if err != nil {
		return "", err
	}
	c.stages = append(c.stages, []family{f})
	return socket, c.awaits(ctx, f, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// startServers starts a server a node and waits until all their workers serve.
func (c *channelsInstance) startServers(ctx context.Context, t *channelsTarget, o Options, python, socket string) error {
	workers := t.workers(o)
	var stage []family
	var said []*lines
	c.stages = append(c.stages, nil)
	for _, addr := range c.addrs {
		cmd := exec.Command(python, append([]string{"-m", t.server}, t.args(addr, workers)...)...)
		cmd.Dir = c.dir
		// No other settings of Python, Django or the server than ours.
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
			"DJANGO_SETTINGS_MODULE=gatechannels.settings", "REDIS_SOCKET=" + socket,
		}
		out := &lines{word: "serving "}
		cmd.Stdout = out
		f, err := startFamily(cmd)
		if err != nil {
			return err
		}
		stage, said = append(stage, f), append(said, out)
		c.stages[len(c.stages)-1] = stage
	}
	for i, f := range stage {
		err := c.awaits(ctx, f, func(ctx context.Context) error {
			if n := int(said[i].n.Load()); n < workers {
				return fmt.Errorf("%d of %d workers serve", n, workers)
			}
			return answers(ctx, c.addrs[i])
		})
		if err != nil {
			return err
		}
	}
	c.ready()
	return nil
}

// Spec is what the project understands. Publications by HTTP go to the first node, as by socket.
func (c *channelsInstance) Spec() codec.Spec {
	return codec.Spec{Codec: "channels", Host: c.addrs[0].String(), Post: c.addrs[0]}
}
