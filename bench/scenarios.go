//go:build linux

package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatecast/gatecast/bench/agent"
	"github.com/gatecast/gatecast/bench/live"
	"github.com/gatecast/gatecast/bench/result"
	"github.com/gatecast/gatecast/bench/target"
)

// scenario is one kind of load.
type scenario struct {
	name     string
	about    string // one line for help
	run      func(ctx context.Context, s *site) (*result.Run, error)
	takes    []string // flags beside those that all take
	defaults result.Options
	cost     string // the metric that is compared first
	churn    string // what -churn means

	complete func(o *result.Options) // fills options that follow from others; may be nil
	personal bool                    // groups are those that users have by themselves
	wants    func(o *target.Options) // what else a target must be able to do; may be nil
	missing  string                  // why it cannot run yet; "" if it can

	leastNodes int // of the target
}

// site is where one run of a scenario takes place.
type site struct {
	o        result.Options
	in       target.Instance
	personal bool
	host     *agent.Host // whose agents are the receivers; nil = they are in this process
	view     *live.View  // nil = nobody looks
}

// common are the defaults of every scenario.
var common = result.Options{
	Targets: []string{"raw", "gatecast"}, Conns: 1000, Groups: 1, PerConn: 1, Size: 100, Batch: 1, Nodes: 1, Procs: 1,
	Warmup: time.Second, Duration: 5 * time.Second, Settle: 5 * time.Second,
	Repeat: 5, Retries: 5, Patience: 5 * time.Second,
}

// with changes the common defaults.
func with(change func(o *result.Options)) result.Options {
	o := common
	change(&o)
	return o
}

// publishing are the flags of scenarios in which one publishes and many receive.
var publishing = []string{"conns", "rate", "window", "size", "loops", "login", "users", "warmup", "duration", "patience", "max-lag", "p99"}

// spread are the flags of scenarios whose receivers may be in several processes, and which scenarios those are.
var (
	spread     = []string{"procs", "agents", "listen"}
	spreadOver = []string{"fanout", "groups", "notify", "cluster", "idle", "connect"}
	posting    = []string{"fanout", "groups", "notify"} // that can publish by HTTP
)

// scenarios is every scenario there is.
func scenarios() []*scenario {
	all := allScenarios()
	for _, s := range all {
		if slices.Contains(spreadOver, s.name) {
			s.takes = slices.Concat(s.takes, spread)
		}
		if slices.Contains(posting, s.name) {
			s.takes = append(slices.Clone(s.takes), "http")
		}
	}
	return all
}

func allScenarios() []*scenario {
	return []*scenario{
		{
			name: "fanout", about: "one publisher, one group: every message to every connection", run: fanout,
			takes: publishing, cost: "server-ns/delivery",
			defaults: with(func(o *result.Options) { o.Rate = 20 }),
		},
		groups(),
		notify(),
		echo(),
		slow(),
		flood(),
		churn(),
		cluster(),
		{
			name: "idle", about: "connections that do nothing: memory and CPU of each", run: hold,
			takes: []string{"conns", "groups", "per-conn", "shared", "window", "loops", "login", "users", "settle", "duration"}, cost: "rss-B/conn",
			wants:    func(t *target.Options) { t.Silent = true },
			defaults: with(func(o *result.Options) { o.Conns, o.Window = 5000, 64 }),
		},
		{
			name: "connect", about: "a storm of handshakes with login and joins", run: connect,
			takes: []string{"conns", "groups", "per-conn", "shared", "rate", "window", "loops", "login", "users", "known", "settle", "p99"},
			cost:  "server-ns/handshake", wants: func(t *target.Options) { t.Silent = true },
			defaults: with(func(o *result.Options) { o.Conns, o.Window, o.Settle = 5000, 64, forgetting }),
		},
		reconnect(),
		soak(),
		search(),
		recovery(),
	}
}

// costOf is the metric that a result is compared by first.
func (s *scenario) costOf(o result.Options) string {
	if o.Search == "conns" {
		return "max-conns"
	}
	return s.cost
}

// unit is what a rate or a window counts.
func (s *scenario) unit() string {
	if s.name == "connect" || s.name == "idle" {
		return "handshakes"
	}
	return "publications"
}

func (s *scenario) threshold() string {
	if s.name == "search" {
		return "the bound: p99 of the last receiver; must be given"
	}
	return "exit 1 if a target's p99 latency is above; 0 = no threshold"
}

// title names a scenario with what makes it another one; unique in a document.
func (s *scenario) title(o result.Options) string {
	title := fmt.Sprintf("%s, %d connections", s.name, o.Conns)
	if o.How != "" {
		title += ", " + o.How
	}
	if s.name == "search" {
		title = fmt.Sprintf("%s, for %s, from %d connections", s.name, o.Search, o.Conns)
	}
	if o.Nodes > 1 {
		title += fmt.Sprintf(" to %d nodes", o.Nodes)
	}
	if o.Shared > 0 {
		title += fmt.Sprintf(", each in one group of %d and in that of all", o.Shared)
	} else if slices.Contains(s.takes, "groups") && o.Groups > 1 {
		title += fmt.Sprintf(", each in %d of %d groups", o.PerConn, o.Groups)
	}
	switch {
	case !slices.Contains(s.takes, "rate"):
	case o.Window > 0:
		title += fmt.Sprintf(", %d in flight", o.Window)
	default:
		title += fmt.Sprintf(", %g/s", o.Rate)
	}
	if s.name == "churn" {
		title += fmt.Sprintf(", %g joins and leaves/s", o.Churn)
	}
	if o.Slow > 0 {
		title += fmt.Sprintf(", %g %% slow", 100*o.Slow)
	}
	if o.Policy != "" {
		title += ", " + o.Policy
	}
	if o.Flood > 0 {
		title += fmt.Sprintf(", %g handshakes/s of %d allowed", o.Flood, o.Limit)
	}
	if o.Batch > 1 {
		title += fmt.Sprintf(", %d to a write", o.Batch)
	}
	if o.Zipf > 0 {
		title += fmt.Sprintf(", zipf %g", o.Zipf)
	}
	if o.HTTP {
		title += ", published by HTTP"
	}
	if o.Login != "" {
		title += ", login " + o.Login
	}
	if o.Users > 0 {
		title += fmt.Sprintf(", %d users", o.Users)
	}
	if o.Known {
		title += ", known"
	}
	return title
}

func findScenario(name string) (*scenario, error) {
	var names []string
	for _, s := range scenarios() {
		if s.name == name {
			if s.missing != "" {
				return nil, fmt.Errorf("scenario %s cannot run yet: %s", name, s.missing)
			}
			return s, nil
		}
		names = append(names, s.name)
	}
	return nil, &usageError{fmt.Sprintf("unknown scenario %q; there are: %s", name, strings.Join(names, ", "))}
}
