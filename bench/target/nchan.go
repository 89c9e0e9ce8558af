//go:build linux

package target

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/rivals"
)

// nchanTarget is nginx with Debian's module of nchan.
type nchanTarget struct{}

// Name is nchan.
func (nchanTarget) Name() string { return "nchan" }

// About says what it is.
func (nchanTarget) About() string {
	return "nginx with Debian's nchan module (-loops = its workers), messages not kept"
}

// nchanMost is how many channels nchan multiplexes on one socket.
const nchanMost = 255

// Cannot is what has no place in nginx' locations.
func (nchanTarget) Cannot(o Options) string {
	switch {
	case noUsers(o) != "":
		return noUsers(o)
	case o.Nodes > 1:
		return "it is one nginx; nchan makes a cluster only of a Redis, which is another server"
	case o.Moves:
		return "its members stay in the groups that they came for"
	case o.Speaks && o.PerConn > 1:
		return "what a member publishes goes to all of its groups"
	case o.Groups > 1 && !o.Speaks && !o.HTTP:
		return "its publisher's socket is for one group; publish by HTTP"
	case o.PerConn > nchanMost:
		return fmt.Sprintf("a socket can be in %d of its groups", nchanMost)
	}
	return ""
}

// nchanModules are where the module may be: as Debian has it, and beside nginx' own prefix.
var nchanModules = []string{"/usr/lib/nginx/modules/ngx_nchan_module.so", "/usr/share/nginx/modules/ngx_nchan_module.so"}

// findNchan returns the module's path.
func findNchan() (string, error) {
	for _, path := range nchanModules {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no nchan at %s; make bench-rivals installs it, or apt-get install libnginx-mod-nchan", nchanModules[0])
}

// nchanFiles is how many descriptors a worker may have, if the limit allows: for 10,000 connections and more.
const nchanFiles = 16384

// nchanSpare is what a worker has open beside its clients.
const nchanSpare = 256

// workerFiles is how many connections a worker may have. The kernel may give all clients to one.
func workerFiles(conns int) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Max < uint64(conns+nchanSpare) {
		return 0, fmt.Errorf("nginx needs %d open files for %d connections and the limit is %d; raise it (ulimit -Hn)",
			conns+nchanSpare, conns, limit.Max)
	}
	return int(min(limit.Max, uint64(max(nchanFiles, conns+nchanSpare)))), nil
}

// Start runs nginx with a configuration and a directory of its own.
func (nchanTarget) Start(ctx context.Context, o Options) (_ Instance, err error) {
	nginx, err := findDebian("nginx", "nginx-light")
	if err != nil {
		return nil, err
	}
	module, err := findNchan()
	if err != nil {
		return nil, err
	}
	files, err := workerFiles(o.Conns)
	if err != nil {
		return nil, err
	}
	version, err := nchanVersion(ctx, nginx)
	if err != nil {
		return nil, err
	}
	r, err := newRival(1, version)
	if err != nil {
		return nil, err
	}
	n := &nchanInstance{r}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.abandon())
		}
	}()
	path := filepath.Join(n.dir, "nginx.conf")
	if err := writeNginxConf(path, map[string]any{
		"Module": module, "Dir": n.dir, "Root": os.Geteuid() == 0, "Workers": o.workers(), "Files": files, "Addr": n.addrs[0],
	}); err != nil {
		return nil, err
	}
	// -e: its log from before it has read the configuration would go to a directory of root's.
	f, err := startFamily(exec.Command(nginx, "-p", n.dir, "-e", "stderr", "-c", path))
	if err != nil {
		return nil, err
	}
	n.stages = [][]family{{f}}
	if err := n.awaits(ctx, f, func(ctx context.Context) error {
		if n.ready(); len(n.pids) <= o.workers() {
			return fmt.Errorf("%d of %d workers run", len(n.pids)-1, o.workers())
		}
		return answers(ctx, n.addrs[0])
	}); err != nil {
		return nil, err
	}
	return n, nil
}

// writeNginxConf fills in the template.
func writeNginxConf(path string, values map[string]any) error {
	t, err := template.New("nginx.conf").Option("missingkey=error").Parse(rivals.Nchan)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := t.Execute(&b, values); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

// nchanVersion is nginx' own, and the package's: the module does not say.
func nchanVersion(ctx context.Context, nginx string) (string, error) {
	said, err := exec.CommandContext(ctx, nginx, "-v").CombinedOutput() // "nginx version: nginx/1.22.1", on standard error
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w: %s", nginx, err, said)
	}
	_, version, _ := strings.Cut(strings.TrimSpace(string(said)), "version: ")
	module := "nchan"
	if of, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan").Output(); err == nil {
		module += " " + string(of)
	}
	return version + ", " + module, nil
}

type nchanInstance struct{ rival }

// Spec is no protocol.
func (n *nchanInstance) Spec() codec.Spec {
	return codec.Spec{Codec: "nchan", Host: n.addrs[0].String(), Post: n.addrs[0]}
}
