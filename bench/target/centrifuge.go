//go:build linux

package target

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"github.com/gatecast/gatecast/bench/codec"
)

// centrifugeTarget is the server in bench/rivals/centrifuge.
type centrifugeTarget struct{}

// Name is centrifuge.
func (centrifugeTarget) Name() string { return "centrifuge" }

// About says what it is.
func (centrifugeTarget) About() string {
	return "a small server on the Go library Centrifuge: JSON protocol, memory broker, anonymous clients"
}

// Cannot is what the small server has not.
func (centrifugeTarget) Cannot(o Options) string {
	switch {
	case noUsers(o) != "":
		return noUsers(o)
	case o.Nodes > 1:
		return "its memory broker is one process; a cluster of Centrifuge needs Redis or NATS"
	}
	return ""
}

// Start runs the server that bench/rivals/install built.
func (centrifugeTarget) Start(ctx context.Context, o Options) (Instance, error) {
	binary, err := findRival(o, "centrifuge", "go")
	if err != nil {
		return nil, err
	}
	version, err := exec.CommandContext(ctx, binary, "-version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", binary, told(err))
	}
	p, err := startAnnounced(exec.Command(binary))
	if err != nil {
		return nil, err
	}
	addr, _, err := p.address(ctx)
	if err != nil {
		return nil, err
	}
	return &centrifugeInstance{p.process, addr, strings.TrimSpace(string(version))}, nil
}

type centrifugeInstance struct {
	*process
	addr    netip.AddrPort
	version string
}

// Addrs is where it listens.
func (c *centrifugeInstance) Addrs() []netip.AddrPort { return []netip.AddrPort{c.addr} }

// Spec is Centrifuge's protocol; HTTP is on the same address.
func (c *centrifugeInstance) Spec() codec.Spec {
	return codec.Spec{Codec: "centrifuge", Host: c.addr.String(), Post: c.addr}
}

// Version is the library's.
func (c *centrifugeInstance) Version() string { return c.version }

// Metrics are the library's and those of Go's runtime.
func (c *centrifugeInstance) Metrics() (string, string) {
	return "http://" + c.addr.String() + "/metrics", ""
}
