//go:build linux

package target

import (
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/gatecast/gatecast/bench/codec"
)

// nodeTarget is a server of bench/rivals/node.
type nodeTarget struct {
	name  string
	about string
}

// The servers of bench/rivals/node.
var (
	wsNode       = nodeTarget{"ws", "a server on npm's ws as one writes it from its README: one Node process, a set of sockets a group"}
	socketioNode = nodeTarget{"socketio", "Socket.IO by WebSocket only: one Node process, a room a group"}
)

// Name is ws or socketio.
func (t nodeTarget) Name() string { return t.name }

// About says what it is.
func (t nodeTarget) About() string { return t.about }

// Cannot is what needs more than a process without users.
func (t nodeTarget) Cannot(o Options) string {
	switch {
	case noLogin(o) != "":
		return noLogin(o)
	case o.Personal:
		return noPersonal
	case o.Nodes > 1:
		return "it is one process; more need an adapter between them"
	}
	return ""
}

// Start runs the script that bench/rivals/install has put beside its packages.
func (t nodeTarget) Start(ctx context.Context, o Options) (Instance, error) {
	script, err := findRival(o, filepath.Join("node", t.name+".js"), "node")
	if err != nil {
		return nil, err
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, errors.New("no node in PATH; install Node.js 18 or later (apt-get install nodejs npm), then make bench-rivals")
	}
	cmd := exec.Command(node, script)
	cmd.Dir = filepath.Dir(script)
	p, err := startAnnounced(cmd)
	if err != nil {
		return nil, err
	}
	words, err := p.words(ctx)
	if err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddrPort(words[0])
	if err != nil {
		return nil, errors.Join(err, ignoreEnded(p.process))
	}
	return &nodeInstance{p.process, t.name, addr, strings.Join(words[1:], " ")}, nil
}

type nodeInstance struct {
	*process
	codec   string
	addr    netip.AddrPort
	version string
}

// Addrs is where it listens.
func (n *nodeInstance) Addrs() []netip.AddrPort { return []netip.AddrPort{n.addr} }

// Spec is the script's protocol; HTTP is on the same address.
func (n *nodeInstance) Spec() codec.Spec {
	return codec.Spec{Codec: n.codec, Host: n.addr.String(), Post: n.addr}
}

// Version is the package's and Node's.
func (n *nodeInstance) Version() string { return n.version }
