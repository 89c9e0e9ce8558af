//go:build linux

package bench

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/bench/agent"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/plan"
	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/result"
)

// settings are what a command line asks for.
type settings struct {
	result.Options
	out      string            // directory for result.json and the rest; "" = none
	budgets  []result.Budget   // of a suite's part
	binaries map[string]string // of targets, by flag
	listen   netip.AddrPort    // where agents from elsewhere join
	host     *agent.Host       // whose agents are the receivers; nil = they are in this process
}

// usageError is a wrong command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// programs are the flags that give the path of something to measure, in [target.Options.Binaries].
var programs = []struct{ name, about string }{
	{"gatecast", "gatecast `binary` to measure (default: the one beside this program, or in PATH)"},
	{"centrifugo", "Centrifugo's `binary`, for the target of that name"},
	{"anycable", "AnyCable-Go's `binary`, for the target of that name"},
	{"rivals", "`directory` of the rivals that make bench-rivals installs (default: rivals beside this program)"},
}

// loopsAbout says what -loops is.
const loopsAbout = "event loops or workers, of targets that let one choose; 0 = gatecast's own default (server.loops = 0), one a core of others"

// flags declares the flags of a scenario: those that mean something to it.
func (s *scenario) flags(o *settings, stderr io.Writer) *flag.FlagSet {
	*o = settings{Options: s.defaults, binaries: make(map[string]string)}
	f := flag.NewFlagSet("gatecast bench "+s.name, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "Usage: gatecast bench %s [flags]\n\n%s.\n\n", s.name, s.about)
		f.PrintDefaults()
	}
	declare := map[string]func(name string){
		"conns":    func(n string) { f.IntVar(&o.Conns, n, o.Conns, "connections") },
		"groups":   func(n string) { f.IntVar(&o.Groups, n, o.Groups, "groups") },
		"per-conn": func(n string) { f.IntVar(&o.PerConn, n, o.PerConn, "groups each connection is in") },
		"shared": func(n string) {
			f.IntVar(&o.Shared, n, o.Shared, "connections in one group, instead of -groups and -per-conn: each is in one of those and in the one of all")
		},
		"zipf": func(n string) {
			f.Float64Var(&o.Zipf, n, o.Zipf, "exponent of the groups' popularity with the publisher; 0 = each in its turn")
		},
		"rate": func(n string) { f.Float64Var(&o.Rate, n, o.Rate, "open loop: "+s.unit()+" due a second") },
		"window": func(n string) {
			f.IntVar(&o.Window, n, o.Window, "closed loop: "+s.unit()+" in flight, instead of -rate")
		},
		"size": func(n string) {
			f.IntVar(&o.Size, n, o.Size, fmt.Sprintf("payload `bytes`, at least %d", ledger.StampSize))
		},
		"batch": func(n string) { f.IntVar(&o.Batch, n, o.Batch, "messages in one write") },
		"http":  func(n string) { f.BoolVar(&o.HTTP, n, o.HTTP, "publish by HTTP instead of over a socket") },
		"churn": func(n string) { f.Float64Var(&o.Churn, n, o.Churn, s.churn) },
		"slow":  func(n string) { f.Float64Var(&o.Slow, n, o.Slow, "share of the receivers that stop reading, 0 to 1") },
		"policy": func(n string) {
			f.StringVar(&o.Policy, n, o.Policy, "what gatecast does with messages for who does not read: "+strings.Join(slowPolicies, ", ")+" (default: its own)")
		},
		"flood": func(n string) {
			f.Float64Var(&o.Flood, n, o.Flood, "handshakes due a second in the second third of the time")
		},
		"limit": func(n string) {
			f.IntVar(&o.Limit, n, o.Limit, "handshakes a second that the target is told to accept, if it can be told; receivers log in at half of it")
		},
		"search": func(n string) {
			f.StringVar(&o.Search, n, o.Search, "what is searched for: rate or conns; it begins at -rate or -conns")
		},
		"most": func(n string) {
			f.Float64Var(&o.Most, n, o.Most, "load at which the search ends; 0 = none, or what descriptors allow")
		},
		"how":   func(n string) { f.StringVar(&o.How, n, o.How, "how a node goes: kill or drain") },
		"nodes": func(n string) { f.IntVar(&o.Nodes, n, o.Nodes, "nodes of the target's cluster") },
		"procs": func(n string) {
			f.IntVar(&o.Procs, n, o.Procs, "processes of receivers; above 1 for more than about 19,000")
		},
		"agents": func(n string) {
			f.IntVar(&o.Agents, n, o.Agents, "processes of receivers on other machines to wait for, beside -procs; they are started with the command that is printed")
		},
		"listen": func(n string) {
			f.TextVar(&o.listen, n, netip.MustParseAddrPort("0.0.0.0:0"), "`address` and port where -agents join")
		},
		"loops": func(n string) {
			f.IntVar(&o.Loops, n, o.Loops, loopsAbout)
		},
		"login": func(n string) {
			f.StringVar(&o.Login, n, o.Login, "kind of login: jwt, session, anonymous (default: the target's usual)")
		},
		"users": func(n string) { f.IntVar(&o.Users, n, o.Users, "distinct users; 0 = one a connection") },
		"known": func(n string) {
			f.BoolVar(&o.Known, n, o.Known, "all log in once before, and go: what is measured are the logins of users that the target knows")
		},
		"warmup": func(n string) { f.DurationVar(&o.Warmup, n, o.Warmup, "time before measuring begins") },
		"duration": func(n string) {
			f.DurationVar(&o.Duration, n, o.Duration, "time measured")
		},
		"settle": func(n string) { f.DurationVar(&o.Settle, n, o.Settle, "rest before measuring begins") },
		"patience": func(n string) {
			f.DurationVar(&o.Patience, n, o.Patience, "silence after which missing messages count as lost; only time in which the receivers look for messages counts")
		},
		"max-lag": func(n string) {
			f.DurationVar(&o.MaxLag, n, o.MaxLag, "p99 of the generator's lag above which the run is invalid; 0 = its p95 may be 1ms, or a tenth of the response's p95 if that is more")
		},
		"p99": func(n string) { f.DurationVar(&o.P99, n, o.P99, s.threshold()) },
	}
	for _, name := range s.takes {
		declare[name](name)
	}
	f.Var((*names)(&o.Targets), "target", "comma-separated `targets`, measured in turns; ratios are to the first")
	f.IntVar(&o.Repeat, "repeat", o.Repeat, "times each target is measured")
	f.IntVar(&o.Retries, "retries", o.Retries, "times a run is made again when the harness was at fault, not the target")
	o.declarePrograms(f)
	return f
}

// declarePrograms declares -out and the flags of [programs].
func (o *settings) declarePrograms(f *flag.FlagSet) {
	f.StringVar(&o.out, "out", "", "`directory` for report.html, result.json, bench.txt, table.txt and .hlog files")
	for _, p := range programs {
		f.Func(p.name, p.about, func(path string) error { o.binaries[p.name] = path; return nil })
	}
}

// names is a comma-separated flag.
type names []string

func (n *names) String() string { return strings.Join(*n, ",") }

// Set implements flag.Value.
func (n *names) Set(list string) error {
	*n = nil
	for name := range strings.SplitSeq(list, ",") {
		*n = append(*n, strings.TrimSpace(name))
	}
	return nil
}

// parse reads the flags of a scenario.
func parse(s *scenario, args []string, stderr io.Writer) (settings, error) {
	var o settings
	f := s.flags(&o, stderr)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, &usageError{err.Error()}
	}
	if f.NArg() > 0 {
		return o, &usageError{fmt.Sprintf("unexpected argument %q; flags begin with -", f.Arg(0))}
	}
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["rate"] && given["window"] {
		return o, &usageError{"-rate is the open loop, -window the closed one; give one of them"}
	}
	if given["shared"] && (given["groups"] || given["per-conn"]) {
		return o, &usageError{"-shared says what groups there are; leave -groups and -per-conn out"}
	}
	if given["window"] {
		o.Rate = 0
	}
	if given["rate"] {
		o.Window = 0
	}
	return o, s.check(&o.Options)
}

// check completes the options and says what is wrong with them.
func (s *scenario) check(o *result.Options) error {
	if s.complete != nil {
		s.complete(o)
	}
	if o.Shared > 0 {
		p := plan.Plan{Conns: o.Conns}.Share(o.Shared)
		o.Groups, o.PerConn = p.Groups, p.PerConn
	}
	takes := func(flag string) bool { return slices.Contains(s.takes, flag) }
	switch {
	case o.Conns < 1:
		return &usageError{"-conns must be at least 1"}
	case o.Repeat < 1:
		return &usageError{"-repeat must be at least 1"}
	case o.Retries < 0 || o.Nodes < 1 || o.Loops < 0 || o.Users < 0 || o.Batch < 1:
		return &usageError{"-nodes and -batch must be at least 1, -retries, -loops and -users at least 0"}
	case takes("how") && o.How != howKill && o.How != howDrain:
		return &usageError{fmt.Sprintf("-how %q: it is %s or %s", o.How, howKill, howDrain)}
	case o.Nodes < s.leastNodes:
		return &usageError{fmt.Sprintf("-nodes must be at least %d for %s", s.leastNodes, s.name)}
	case o.Procs < 0 || o.Agents < 0 || o.Procs+o.Agents < 1:
		return &usageError{"-procs must be at least 1, or 0 with -agents"}
	case o.Procs+o.Agents > o.Conns:
		return &usageError{fmt.Sprintf("%d connections are too few for %d processes", o.Conns, o.Procs+o.Agents)}
	case o.Rate < 0 || o.Window < 0 || (takes("rate") || takes("window")) && o.Rate == 0 && o.Window == 0:
		return &usageError{"-rate or -window must be above 0"}
	case o.Rate > 0 && takes("rate") && takes("duration") && o.Rate*o.Duration.Seconds() < 1:
		return &usageError{fmt.Sprintf("-rate %g for a -duration of %v is not one publication", o.Rate, o.Duration)}
	case o.Size < ledger.StampSize:
		return &usageError{fmt.Sprintf("-size must be at least %d: every payload carries a stamp", ledger.StampSize)}
	case o.Duration <= 0 || o.Warmup < 0 || o.Settle < 0 || o.Patience <= 0 || o.MaxLag < 0 || o.P99 < 0:
		return &usageError{"-duration and -patience must be above 0, other times not below it"}
	case o.Shared < 0:
		return &usageError{"-shared must be at least 1, or 0 for -groups and -per-conn"}
	case o.Slow < 0 || o.Slow >= 1:
		return &usageError{"-slow is a share of the receivers: 0.1 is a tenth"}
	case o.Policy != "" && !slices.Contains(slowPolicies, o.Policy):
		return &usageError{fmt.Sprintf("-policy %q: it is one of %s", o.Policy, strings.Join(slowPolicies, ", "))}
	case takes("flood") && (o.Flood*(o.Duration/3).Seconds() < 1 || o.Limit < 1):
		return &usageError{"-flood must make for a handshake in a third of -duration, and -limit be at least 1"}
	case o.Churn < 0 || s.name == "churn" && o.Churn == 0:
		return &usageError{"-churn must be above 0, or 0 for a soak without"}
	}
	if s.name == "search" {
		if err := checkSearch(o); err != nil {
			return err
		}
	}
	if err := (&site{o: *o, personal: s.personal}).plan().Check(); err != nil {
		return &usageError{err.Error()}
	}
	return proc.RaiseFiles((o.Conns + o.Procs + o.Agents - 1) / (o.Procs + o.Agents))
}
