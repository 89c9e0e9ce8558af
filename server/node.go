package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatecast/gatecast/authn"
	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/subject"
	"github.com/gatecast/gatecast/server/loop"
	"github.com/gatecast/gatecast/server/ws"
)

// Config is what a node is made of.
type Config struct {
	Server  Options
	Drain   DrainOptions
	Groups  []GroupRule
	Routes  []Route
	Authn   authn.Options
	Broker  broker.Options
	Chain   *authn.Chain
	Tickets TicketLedger // nil: the node knows of no tickets, and those of others cannot be used
	Static  Static       // nil serves no pages
	Log     *slog.Logger
	Version string

	wall func() time.Time // nil = time.Now; tests set the clock
}

// Broker is what a node needs of package broker.
type Broker interface {
	Publisher
	Interest
	Cluster
	NativeDoor
	// Settle waits until all that was published before, on any node, has come to Deliver.
	Settle(ctx context.Context) error
	// Drain finishes what is in hand and takes no more.
	Drain(ctx context.Context) error
	// Close ends everything.
	Close() error
}

// Publisher sends messages to groups.
type Publisher interface {
	Publish(m *broker.Message) error
}

// Interest says which groups have members on this node.
type Interest interface {
	Join(group string, ready func(error))
	Leave(group string)
}

// Cluster is the other nodes.
type Cluster interface {
	AskAll(ctx context.Context, verb string, body []byte) ([]broker.Answer, error)
	Nodes() []broker.NodeInfo
	Name() string
	Ready() error
	ClientURL() string
	Stats() broker.Stats
}

// TicketLedger knows which one-time tickets this node has seen used. It is asked by all nodes.
type TicketLedger interface {
	Answer(question []byte) ([]byte, error)
}

// verbTicket is how nodes ask each other's TicketLedger.
const verbTicket = "ticket"

// NativeDoor is the users who came in by NATS.
type NativeDoor interface {
	NativeUsers() []broker.NativeUser
	DisconnectNative(match func(broker.NativeUser) bool) int
}

// Node is one process of the cluster: sockets on one side, the broker on the other. Its methods may be called
// concurrently.
type Node struct {
	// Static after Open.
	opts           nodeOptions
	log            *slog.Logger
	chain          *authn.Chain
	tickets        TicketLedger // may be nil
	broker         Broker
	brokerReady    chan struct{} // closed when broker is set
	engine         *loop.Engine
	owners         []*owner
	listener       net.Listener
	routes         []*route
	rules          []groupRule
	proxies        proxies
	hasData        bool // some route delivers data alone
	rejectHTTP     bool
	messageCarrier bool
	static         Static
	started        time.Time
	wall           func() time.Time // the wall clock, which may be set; only for times that others have given by it
	version        string

	origins     atomic.Pointer[authn.OriginPolicy]
	bounds      atomic.Pointer[bounds]
	certificate certificate // of server.tls
	where       whereabouts
	conns       atomic.Int64
	addresses   counted[netip.Addr]
	users       userConns
	handshakes  rate
	logins      workers
	attempts    attempts
	revoked     revocations
	rulesAge    atomic.Uint64 // how often the rules were replaced
	swept       chan struct{} // a sweep has ended; never closed
	resweep     chan struct{} // a sweep is wanted now; never closed
	doubts      doubts
	missed      chan struct{} // what was revoked may have been missed; never closed
	pruned      atomic.Int64  // bytes of cached logins that were given up since the last trim
	counters    counters

	drainOnce sync.Once
	draining  chan struct{} // closed when the node begins to leave
	refusing  atomic.Bool   // no more conns
	stopped   chan struct{} // closed when the loops are gone
	link      atomic.Pointer[string]
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	tasks     sync.WaitGroup // the sweep and what loops have looked up
}

// nodeOptions is Options with what other sections add.
type nodeOptions struct {
	Options
	drain       DrainOptions
	authTimeout time.Duration
	revalidate  time.Duration
}

// bounds is [server.limits] as it holds now, with what other packages need of it.
type bounds struct {
	Limits
	parse  ws.Config
	header ws.Limits
}

// SetLimits replaces the limits. What is already above a new one stays until it grows again.
func (n *Node) SetLimits(l Limits) {
	b := &bounds{Limits: l, parse: ws.Config{MaxMessage: l.MessageBytes, MaxFragments: l.Fragments, MaxPartials: int64(l.PartialBytes)}, header: ws.Limits{HeaderBytes: l.HeaderBytes}}
	if l.HeaderBytes == 0 { // "no limit" in the words of package ws
		b.header.HeaderBytes = math.MaxInt32
	}
	if l.Fragments == 0 {
		b.parse.MaxFragments = -1
	}
	n.bounds.Store(b)
}

// groupRule is a compiled [[groups]] entry.
type groupRule struct {
	pattern *subject.Set
	echo    bool
	slow    slowPolicy
}

// rate bounds how often something happens on the node.
type rate struct {
	mu sync.Mutex
	g  gcra
}

func (r *rate) take(n *Node) bool {
	limit := n.bounds.Load().HandshakesPerSecond
	if limit == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.g.take(time.Since(n.started), 1, limit)
}

// Open starts a node: its broker, its loops and its listener. It returns when the node has met its peers and
// listens; Run begins to accept. The caller must Close it.
func Open(ctx context.Context, c Config) (*Node, error) {
	return open(ctx, c, func(n *Node) (Broker, error) { return broker.Open(ctx, c.Broker, n, n.log) })
}

// open is Open with the broker that link returns.
func open(ctx context.Context, c Config, link func(*Node) (Broker, error)) (*Node, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		opts:  nodeOptions{Options: c.Server, drain: c.Drain, authTimeout: c.Authn.Timeout, revalidate: c.Authn.Revalidate},
		log:   c.Log,
		chain: c.Chain, tickets: c.Tickets, static: c.Static, version: c.Version, started: time.Now(), wall: c.wall,
		where:      newWhereabouts(),
		attempts:   attempts{perSecond: c.Authn.FailedPerSecond, began: time.Now()},
		rejectHTTP: c.Authn.Reject == authn.RejectHTTP,
		swept:      make(chan struct{}, 1),
		resweep:    make(chan struct{}, 1),
		doubts:     doubts{begun: make(chan struct{}, 1)},
		missed:     make(chan struct{}, 1),
		draining:   make(chan struct{}), stopped: make(chan struct{}), brokerReady: make(chan struct{}),
	}
	if n.wall == nil {
		n.wall = time.Now
	}
	for _, carrier := range c.Authn.Carriers {
		n.messageCarrier = n.messageCarrier || carrier == string(authn.CarrierMessage)
	}
	n.SetLimits(c.Server.Limits)
	if err := n.compile(c); err != nil {
		return nil, err
	}
	if err := n.SetOrigins(c.Server.Origins); err != nil {
		return nil, err
	}
	if err := n.listen(); err != nil {
		return nil, err
	}
	engine, err := loop.New(n.loopOptions(), func(l *loop.Loop) loop.Handler {
		o := newOwner(n, l)
		n.owners = append(n.owners, o)
		return &watchedOwner{owner: o}
	}, c.Log)
	if err != nil {
		return nil, errors.Join(err, n.listener.Close())
	}
	n.engine = engine
	b, err := link(n)
	if err != nil {
		return nil, errors.Join(err, n.listener.Close(), engine.Close(ctx))
	}
	n.broker = b
	close(n.brokerReady)
	workers := n.opts.AuthWorkers
	if workers == 0 {
		workers = 8 * runtime.GOMAXPROCS(0)
	}
	n.logins.start(n, workers)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.tasks.Go(func() { n.sweep(n.ctx, n.opts.revalidate) }) // ends with cancel, in Close
	n.tasks.Go(func() { n.trim(n.ctx) })                     // so does this
	return n, nil
}

// together is how many conns a loop takes before the next, if their number is left to us: a group of few is on one loop then, which costs
// least, and at the default limits so many cannot say more than one loop carries. See ADR 0029.
const together = 128

func (n *Node) loopOptions() loop.Options {
	o := loop.Options{Mode: n.opts.Mode, Loops: n.opts.Loops, WriteBuffer: n.opts.WriteBuffer, UserTimeout: n.opts.UserTimeout}
	if o.Loops == 0 {
		o.Loops, o.Together = min(runtime.GOMAXPROCS(0), maxLoops), together
	}
	return o
}

// compile makes the routes, group rules and proxies of the config.
func (n *Node) compile(c Config) error {
	for _, r := range c.Routes {
		compiled, err := compileRoute(r)
		if err != nil {
			return fmt.Errorf("routes: %w", err)
		}
		n.routes = append(n.routes, compiled)
		n.hasData = n.hasData || compiled.data
	}
	for _, r := range c.Groups {
		set, err := subject.NewSet([]string{r.Pattern})
		if err != nil {
			return fmt.Errorf("groups: pattern %q: %w", r.Pattern, err)
		}
		n.rules = append(n.rules, groupRule{pattern: set, echo: r.Echo == nil || *r.Echo, slow: slowPolicies[r.Slow]})
	}
	var err error
	n.proxies, err = parseProxies(c.Server.TrustedProxies)
	return err
}

// listen opens the socket listener.
func (n *Node) listen() error {
	ln, err := net.Listen("tcp", n.opts.Listen)
	if err != nil {
		return fmt.Errorf("server.listen: %w; is another process on this port?", err)
	}
	if n.opts.TLS.Cert != "" {
		if err := n.certificate.load(n.opts.TLS); err != nil {
			return errors.Join(err, ln.Close())
		}
		ln = &tlsListener{Listener: ln, config: n.certificate.current(), headed: n.headed}
	}
	n.listener = ln
	return nil
}

// Addr is where sockets connect.
func (n *Node) Addr() net.Addr { return n.listener.Addr() }

// Run accepts conns until the node is drained or closed.
func (n *Node) Run() error {
	err := n.engine.Serve(n.listener)
	if n.refusing.Load() {
		return nil
	}
	return err
}

// Close ends the node at once, without a word to its conns: see Drain for the polite way.
func (n *Node) Close(ctx context.Context) error {
	n.refusing.Store(true)
	n.engine.StopAccepting()
	n.cancel()
	n.logins.stop()
	err := n.engine.Close(ctx)
	close(n.stopped)
	n.tasks.Wait()
	return errors.Join(err, n.broker.Close())
}

// State implements [broker.Handler].
func (n *Node) State(up bool, reason string) {
	if up {
		n.link.Store(nil)
		n.log.Info("broker is back")
		n.Missed()
		return
	}
	n.link.Store(&reason)
	n.log.Warn("broker is gone: sends fail, sockets stay", "reason", reason)
}

// Missed implements [broker.Handler]: what other nodes asked for while they had given this one up, revocations among it, did not come here. So it is when the
// link to the broker was gone.
func (n *Node) Missed() {
	n.chain.ForgetAll()
	select {
	case n.missed <- struct{}{}:
	default:
	}
}

// accepting tells whether new conns are taken.
func (n *Node) accepting() bool { return !n.refusing.Load() }

// Ready returns nil, or why the node should get no traffic.
func (n *Node) Ready() error {
	select {
	case <-n.draining:
		return errors.New("draining")
	default:
	}
	if err := n.broker.Ready(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if err := n.chain.Ready(ctx); err != nil {
		return fmt.Errorf("authn: %w", err)
	}
	return nil
}

// readyTimeout bounds how long /readyz waits for the verifiers' databases.
const readyTimeout = 2 * time.Second

// SetOrigins replaces server.origins for later handshakes.
func (n *Node) SetOrigins(origins []string) error {
	p, err := authn.NewOriginPolicy(origins)
	if err != nil {
		return fmt.Errorf("server.origins: %w", err)
	}
	for _, w := range p.Warnings() {
		n.log.Warn("server.origins: " + w)
	}
	n.origins.Store(p)
	return nil
}

// SetRules replaces the grants for all conns, those that are open too.
func (n *Node) SetRules(rules *authn.Rules) {
	revalidate := n.chain.SetRules(rules)
	n.rulesAge.Add(1) // logins on their way are compiled again
	n.regrantAll()
	if revalidate {
		select {
		case n.resweep <- struct{}{}:
		default:
		}
	}
}

// rule is the first [[groups]] entry whose pattern matches; its zero value echoes.
func (n *Node) rule(group []byte) groupRule {
	for _, r := range n.rules {
		if r.pattern.Match(group) {
			return r
		}
	}
	return groupRule{echo: true}
}
