//go:build linux

package target

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/bench/codec"
)

// Target is a server that can be measured.
type Target interface {
	Name() string
	// About is a line for help: what it is, and what it needs.
	About() string
	// Cannot is why the target cannot run what the options ask for, in words that end "NAME cannot run it: …"; "" if it can.
	Cannot(o Options) string
	// Start starts it and waits until it serves. The caller stops it. An error says what is not installed and how to get it.
	Start(ctx context.Context, o Options) (Instance, error)
}

// Options say how a target is started and what is wanted of it.
type Options struct {
	Loops    int    // event loops or worker processes, for servers that let one choose; 0 = gatecast's own default, one a core of others
	Nodes    int    // of a cluster; at least 1
	Conns    int    // clients there will be
	Groups   int    // there are
	PerConn  int    // groups a client is in
	Login    string // kind of login; "" = the target's usual one
	Users    int    // distinct users; 0 = one a client
	Personal bool   // groups that users have by themselves
	HTTP     bool   // publications come by HTTP
	Moves    bool   // clients join and leave while connected
	Speaks   bool   // clients publish, each to its own groups
	Silent   bool   // nobody publishes
	Slow     string // what becomes of messages for who does not read: a policy of gatecast's; "" = its default

	Handshakes int // a second to be accepted, by servers that can be told; 0 = as many as come

	Binaries map[string]string // by target: path of a program given by flag
}

// workers is how many loops or processes a server gets that has no default of its own.
func (o Options) workers() int { return cmp.Or(o.Loops, runtime.NumCPU()) }

// Instance is a running server.
type Instance interface {
	// Addrs is where clients connect: one address a node. Publishers connect to the first.
	Addrs() []netip.AddrPort
	// PIDs are all its processes: also those of what it needs to run, such as Redis.
	PIDs() []int
	Version() string
	// Spec is how to speak to it.
	Spec() codec.Spec
	// Stop ends the server and waits for it. An error means that it did not end by itself as it should.
	Stop() error
}

// Measured is an Instance that tells more of itself: the address of metrics in Prometheus' text format, and a bearer token for it.
type Measured interface {
	Metrics() (url, token string)
}

// Restarter is an Instance whose nodes can go and come back, on the same addresses.
type Restarter interface {
	// Kill ends a node at once, by SIGKILL.
	Kill(node int) error
	// Drain asks a node to end, by SIGTERM, and waits until it has.
	Drain(node int) error
	// Restart starts a node that has ended again and waits until it serves.
	Restart(ctx context.Context, node int) error
}

// All is every target there is, in the order of help.
func All() []Target {
	return []Target{
		rawTarget{}, rawTarget{batch: true}, gatecastTarget{}, gatecastTarget{raw: true}, sseTarget{},
		natsTarget{}, centrifugeTarget{}, wsNode, socketioNode, daphne, uvicorn, nchanTarget{},
		centrifugo, anyCable,
	}
}

// Find returns the targets of those names.
func Find(names []string) ([]Target, error) {
	var known []string
	byName := make(map[string]Target)
	for _, t := range All() {
		known = append(known, t.Name())
		byName[t.Name()] = t
	}
	var found []Target
	for _, name := range names {
		t := byName[strings.TrimSpace(name)]
		if t == nil {
			return nil, fmt.Errorf("unknown target %q; there are: %s", name, strings.Join(known, ", "))
		}
		if slices.Contains(found, t) {
			return nil, fmt.Errorf("target %s is named twice", t.Name())
		}
		found = append(found, t)
	}
	return found, nil
}
