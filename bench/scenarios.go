//go:build linux

package bench

import (
	"context"
	"fmt"
	"strings"

	"github.com/gatecast/gatecast/bench/target"
)

// scenario is one kind of load.
type scenario struct {
	name   string
	about  string // one line for help
	run    func(ctx context.Context, o Options, in target.Instance) (*Run, error)
	conns  int     // default
	rate   float64 // default
	window int     // default; used when rate is 0
	cost   string  // the metric that is compared first
}

// scenarios is every scenario there is.
func scenarios() []*scenario {
	return []*scenario{
		{"fanout", "one publisher, one group: every message to every connection", fanout, 1000, 20, 0, "server-ns/delivery"},
		{"idle", "connections that do nothing: memory and CPU of each", hold, 5000, 0, 64, "rss-B/conn"},
		{"connect", "a storm of handshakes with login and group_add", connect, 5000, 0, 64, "server-ns/handshake"},
	}
}

func findScenario(name string) (*scenario, error) {
	var names []string
	for _, s := range scenarios() {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return nil, &usageError{fmt.Sprintf("unknown scenario %q; there are: %s", name, strings.Join(names, ", "))}
}
