//go:build linux

package target

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/swarm"
)

// Target is a server that can be measured.
type Target interface {
	Name() string
	// Start starts it and waits until it serves. The caller stops it.
	Start(ctx context.Context, o Options) (Instance, error)
}

// Options say how a target is started.
type Options struct {
	Loops    int    // event loops, for servers that let one choose
	Gatecast string // path of the gatecast binary; "" = beside this program, then in PATH
}

// Instance is a running server.
type Instance interface {
	Addr() netip.AddrPort
	PIDs() []int
	Version() string
	Members() swarm.Protocol // each a member of group 0
	Publisher() load.Protocol
	// Stop ends the server and waits for it. An error means that it did not end by itself as it should.
	Stop() error
}

// All is every target there is.
func All() []Target {
	return []Target{rawTarget{}, rawTarget{batch: true}, gatecastTarget{}}
}

// Find returns the targets of a comma-separated list.
func Find(list string) ([]Target, error) {
	var names []string
	byName := make(map[string]Target)
	for _, t := range All() {
		names = append(names, t.Name())
		byName[t.Name()] = t
	}
	var found []Target
	for name := range strings.SplitSeq(list, ",") {
		t := byName[strings.TrimSpace(name)]
		if t == nil {
			return nil, fmt.Errorf("unknown target %q; there are: %s", name, strings.Join(names, ", "))
		}
		if slices.Contains(found, t) {
			return nil, fmt.Errorf("target %s is named twice", t.Name())
		}
		found = append(found, t)
	}
	return found, nil
}
