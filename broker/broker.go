package broker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Errors that callers tell apart with errors.Is.
var (
	ErrUnavailable = errors.New("broker unavailable")                   // no link, or draining: try again later
	ErrTimeout     = errors.New("a node did not answer in time")        // the join was undone: try again
	ErrTooLarge    = errors.New("message larger than the broker takes") // broker.max_payload
	ErrBadGroup    = errors.New("bad group name")
)

// Handler is what the broker needs of the node above it.
type Handler interface {
	// Deliver hands over one live message. It is called on the relay's reader goroutine, in order, possibly before Open
	// returns; m and all its slices are valid only during the call. It must not block.
	Deliver(m *Message)
	// Ask answers another node's AskAll. Concurrent; ctx ends after 2 s.
	Ask(ctx context.Context, verb string, body []byte) ([]byte, error)
	// Serve answers a service's request on <ns>.ctl.{disconnect,revalidate,group_add,group_discard}; body and answer as the
	// HTTP call of that name. Concurrent; ctx ends after 2 s.
	Serve(ctx context.Context, verb string, body []byte) []byte
	// AuthenticateNative verifies the credential of a native NATS user, a token or the password that came with a user name.
	// Concurrent; ctx ends after 1.5 s.
	AuthenticateNative(ctx context.Context, token string, remote string) (NativeUser, error)
	// State tells that the link to the broker changed. Down: Publish and Join fail with ErrUnavailable, messages may be
	// missed. Up again: all interest is re-established everywhere. It must not block; Open returning counts as the first up.
	State(up bool, reason string)
}

// NativeUser is who a native NATS user is, and what it may hear and say: patterns over group names.
type NativeUser struct {
	ID                       string
	Subscribe, Publish, Deny []string
	Expires                  time.Time // zero = never
	SessionHash              string
}

// Answer is one node's answer to AskAll.
type Answer struct {
	Node string
	Body []byte
	Err  error
}

// NodeInfo describes one live node.
type NodeInfo struct {
	Name     string    `json:"name"`
	Self     bool      `json:"self"`
	Ready    bool      `json:"ready"`
	Ingress  bool      `json:"ingress"` // handles services' messages
	Started  time.Time `json:"started"`
	LastSeen time.Time `json:"last_seen"`
}

// Broker is a node's link to all other nodes. All methods may be called concurrently.
type Broker struct {
	// static after Open
	o            Options
	h            Handler
	log          *slog.Logger
	sub          subjects
	instance     string // of this start, told apart from an earlier one of the same name
	started      time.Time
	wildcard     bool           // users' groups are heard by one subscription
	embedded     *server.Server // nil with broker.url
	account      *server.Account
	serverOpts   *server.Options
	storeLock    *os.File
	nodeToken    string // logs this node in to its own server
	nodeKey      [32]byte
	serviceKeys  [][32]byte
	routes       routes
	resolveEvery time.Duration
	relay        *link // lanes, sync, hello, heartbeats: all that depends on order
	control      *link // ingress, questions, services' requests

	count   counters
	reading relayReader   // owned by the relay's reader
	taking  controlReader // owned by the control link's reader
	table   table

	mu           sync.Mutex // before link.mu; never held while calling the handler
	serving      bool       // met all others: publish, join and take ingress
	draining     bool
	closed       bool
	why          string   // why it does not serve
	refused      string   // why it never will
	waitingFor   string   // nodes that have not answered hello
	meeting      *meeting // nil but while it goes on
	lastMeeting  *meeting
	groups       map[string]*interest
	memberships  int
	pendingJoins int
	lingering    []idler     // by since
	queue        []*interest // adds of the next barrier
	barriers     map[uint64]*barrier
	barrierID    uint64
	coalesce     *time.Timer
	peers        map[string]*peer
	greeting     bool
	lastBeat     time.Time
	ownBeat      time.Time // when this node last heard itself
	ingress      ingressState
	routeSums    map[string]uint64
	routeCount   int

	doorMu      sync.Mutex // leaf
	visitors    map[uint64]*visitor
	natives     int
	revocations uint64
	reloading   sync.RWMutex // written while routes are reloaded

	stateMu sync.Mutex // before mu; serializes Handler.State
	told    bool       // what State said last
	opened  atomic.Bool
	openErr chan error // capacity 1: nil at the first serve, or why there is none

	questions questions
	slots     chan struct{} // one for each question and request being answered
	poked     chan struct{} // capacity 1: tick now

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	workMu sync.Mutex // guards ended
	ended  bool
	work   sync.WaitGroup
	close  sync.Once
}

// Open starts the embedded server or connects to o.URL, meets the other nodes, and returns when this node may serve. h may be
// called before it returns. The caller must Close the Broker.
func Open(ctx context.Context, o Options, h Handler, log *slog.Logger) (*Broker, error) {
	return open(ctx, o, h, log, nil)
}

// open lets tests change what is not in Options.
func open(ctx context.Context, o Options, h Handler, log *slog.Logger, adjust func(*Broker)) (*Broker, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := newBroker(o, h, log)
	if adjust != nil {
		adjust(b)
	}
	if err := b.start(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func newBroker(o Options, h Handler, log *slog.Logger) *Broker {
	if o.Name == "" {
		o.Name = makeName()
	}
	b := &Broker{
		o: o, h: h, instance: random(8), started: time.Now(), wildcard: o.UserInterest == "wildcard", nodeToken: random(32),
		groups: map[string]*interest{}, barriers: map[uint64]*barrier{}, peers: map[string]*peer{}, routeSums: map[string]uint64{},
		visitors: map[uint64]*visitor{}, openErr: make(chan error, 1), slots: make(chan struct{}, maxConcurrent),
		poked: make(chan struct{}, 1), resolveEvery: resolveEvery, why: "starting",
	}
	b.log = log.With("node", o.Name)
	b.sub = newSubjects(o.Namespace, o.Name, b.instance)
	b.nodeKey = sha256.Sum256([]byte(b.nodeToken))
	for _, s := range o.Services {
		b.serviceKeys = append(b.serviceKeys, sha256.Sum256([]byte(s.Token)))
	}
	b.routes = routes{o: &b.o, log: b.log, lookup: lookupAddrs}
	b.questions.open = map[uint64]chan Answer{}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.coalesce = time.AfterFunc(time.Hour, b.onCoalesced)
	b.coalesce.Stop()
	b.relay, b.control = newLink("relay", b.log), newLink("control", b.log)
	b.relay.msg, b.relay.up, b.relay.down = b.onRelay, b.onRelayUp, b.onRelayDown
	b.control.msg, b.control.up, b.control.down = b.onControl, b.onControlUp, func(error) {}
	return b
}

func (b *Broker) start(ctx context.Context) error {
	if b.o.URL == "" {
		if err := b.startServer(); err != nil {
			return err
		}
		b.relay.dial, b.control.dial = b.dialPipe("relay"), b.dialPipe("control")
	} else {
		p, err := newPool(&b.o)
		if err != nil {
			return err
		}
		b.relay.dial, b.control.dial = b.dialPool("relay", p), b.dialPool("control", p)
		b.relay.alive, b.control.alive = true, true
	}
	dialCtx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for _, l := range []*link{b.control, b.relay} {
		if err := l.start(dialCtx); err != nil {
			if b.o.URL != "" {
				return fmt.Errorf("broker.url: %w", err)
			}
			return fmt.Errorf("embedded NATS: %w", err)
		}
	}
	b.spawn(b.tick) // ends with Close
	if b.embedded != nil && len(b.o.Cluster.Routes) > 0 {
		b.spawn(b.keepRoutes) // ends with Close
	}
	select {
	case err := <-b.openErr:
		return err
	case <-ctx.Done():
		b.mu.Lock()
		waiting := b.waitingFor
		b.mu.Unlock()
		return fmt.Errorf("broker: no answer from %s: %w", waiting, ctx.Err())
	}
}

// onRelayUp tells a new connection what this node hears, then meets the others.
func (b *Broker) onRelayUp(serverInfo) {
	b.relay.append(func(buf []byte) []byte {
		buf = appendSub(buf, b.sub.relayInbox+">", "", sidInbox)
		buf = appendSub(buf, b.sub.sync+nodeToken(b.o.Name), "", sidSync)
		buf = appendSub(buf, b.sub.hello, "", sidHello)
		buf = appendSub(buf, b.sub.beat, "", sidBeat)
		buf = appendSub(buf, b.sub.bye, "", sidBye)
		if b.wildcard {
			buf = appendSub(buf, b.sub.users, "", sidUsers)
		}
		return buf
	})
	b.resubscribe()
	b.beginMeeting()
}

func (b *Broker) onRelayDown(err error) {
	b.endMeeting()
	b.mu.Lock()
	b.serving = false
	b.why = "no link to NATS"
	if err != nil {
		b.why += ": " + err.Error()
	}
	clear(b.peers) // met again by the hello of the next connection
	done := b.failAll(ErrUnavailable)
	b.mu.Unlock()
	done.call()
	b.decideIngress()
	b.tell()
}

// serve lets this node publish, join and take ingress.
func (b *Broker) serve(ctx context.Context) {
	b.mu.Lock()
	if ctx.Err() != nil || b.refused != "" || b.closed || b.draining {
		b.mu.Unlock()
		return
	}
	b.meeting = nil
	b.serving, b.why, b.waitingFor = true, "", ""
	b.relay.setServing(true)
	b.beat(time.Now())
	b.mu.Unlock()
	b.decideIngress()
	if b.opened.CompareAndSwap(false, true) {
		b.stateMu.Lock()
		b.told = true
		b.stateMu.Unlock()
		b.openErr <- nil
	}
	b.tell()
}

// refuse ends this node's service for good: it is not of this cluster.
func (b *Broker) refuse(why string) {
	b.mu.Lock()
	if b.refused != "" {
		b.mu.Unlock()
		return
	}
	b.refused, b.why, b.serving = why, why, false
	b.relay.setServing(false)
	done := b.failAll(ErrUnavailable)
	b.mu.Unlock()
	b.log.Error("this node may not serve", "reason", why)
	done.call()
	b.fatal(errors.New(why))
	b.tell()
}

// fatal ends Open.
func (b *Broker) fatal(err error) {
	if !b.opened.Load() {
		select {
		case b.openErr <- err:
		default:
		}
	}
}

func (b *Broker) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused != "" {
		return errors.New(b.refused)
	}
	return nil
}

// tell calls Handler.State if it has something new to say.
func (b *Broker) tell() {
	b.stateMu.Lock()
	defer b.stateMu.Unlock()
	b.mu.Lock()
	up, why, quiet := b.serving, b.why, b.closed || !b.opened.Load()
	b.mu.Unlock()
	if quiet || up == b.told {
		return
	}
	b.told = up
	if up {
		why = "connected"
	}
	b.h.State(up, why)
}

const tickEvery = 100 * time.Millisecond

// tick does what time asks for.
func (b *Broker) tick() {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	var routesAt, sweepAt time.Time
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		case <-b.poked:
		}
		now := time.Now()
		b.watchPeers(now)
		b.expireBarriers(now)
		b.unsubscribe(now)
		b.decideIngress()
		if b.embedded == nil {
			continue
		}
		if b.o.Cluster.Listen != "" && now.Sub(routesAt) >= watchRoutes {
			routesAt = now
			b.onRoutes()
		}
		if now.Sub(sweepAt) >= 2*time.Second {
			sweepAt = now
			b.sweep()
		}
	}
}

// poke makes tick run at once.
func (b *Broker) poke() {
	select {
	case b.poked <- struct{}{}:
	default:
	}
}

// spawn runs f on a goroutine that Close waits for; after Close it does not, and returns false.
func (b *Broker) spawn(f func()) bool {
	b.workMu.Lock()
	defer b.workMu.Unlock()
	if b.ended {
		return false
	}
	b.work.Go(f)
	return true
}

// Name returns this node's name.
func (b *Broker) Name() string { return b.o.Name }

// Ready returns nil, or why this node cannot serve.
func (b *Broker) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return errors.New("broker closed")
	case b.refused != "":
		return errors.New(b.refused)
	case b.draining:
		return errors.New("broker draining")
	case !b.serving && b.waitingFor != "":
		return fmt.Errorf("waiting for an answer from %s", b.waitingFor)
	case !b.serving:
		return fmt.Errorf("broker: %s", b.why)
	case !b.control.isUp():
		return errors.New("broker: no control link to NATS")
	}
	return nil
}

// ClientURL returns where NATS clients connect.
func (b *Broker) ClientURL() string {
	if b.embedded == nil {
		return b.o.URL
	}
	return b.embedded.ClientURL()
}

// ClusterAddr returns host:port where other nodes' routes connect, "" without a cluster.
func (b *Broker) ClusterAddr() string {
	if b.embedded == nil {
		return ""
	}
	if a := b.embedded.ClusterAddr(); a != nil {
		return a.String()
	}
	return ""
}

// Drain takes no more messages, finishes those in hand, tells the other nodes, and sends NATS clients elsewhere. Publish and Join
// fail with ErrUnavailable from then on; what other nodes publish is still delivered. It returns when ctx ends at the latest.
func (b *Broker) Drain(ctx context.Context) error {
	b.mu.Lock()
	if b.draining || b.closed {
		b.mu.Unlock()
		return nil
	}
	b.draining = true
	b.mu.Unlock()
	b.decideIngress() // unsubscribes
	err := b.control.flush(ctx)
	b.mu.Lock()
	b.serving = false
	b.why = "draining"
	b.relay.setServing(false)
	done := b.failAll(ErrUnavailable)
	b.relay.publish(b.sub.bye, b.card(false).encode())
	b.mu.Unlock()
	done.call()
	err = errors.Join(err, b.relay.flush(ctx))
	if b.embedded == nil {
		return err
	}
	left := make(chan struct{})
	b.spawn(func() { // ends within lameDuck, or with the server's shutdown; Close waits
		defer close(left)
		b.embedded.LameDuckShutdown()
	})
	select {
	case <-left:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return err
}

// Close ends everything: it says goodbye, closes the links, and shuts the embedded server down. It may be called again.
func (b *Broker) Close() error {
	b.close.Do(func() {
		b.mu.Lock()
		b.closed = true
		b.serving = false
		b.relay.setServing(false)
		b.coalesce.Stop()
		done := b.failAll(ErrUnavailable)
		saying := b.relay.publish(b.sub.bye, b.card(false).encode())
		b.mu.Unlock()
		done.call()
		if saying {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			b.relay.flush(ctx)
			cancel()
		}
		b.cancel()
		b.workMu.Lock()
		b.ended = true
		b.workMu.Unlock()
		b.relay.stop()
		b.control.stop()
		b.endMeeting()
		if b.embedded != nil {
			b.embedded.Shutdown()
			b.embedded.WaitForShutdown()
		}
		b.work.Wait()
		if b.storeLock != nil {
			b.storeLock.Close() // unlocks
		}
	})
	return nil
}

// makeName makes a name of the host's and a random part, for nodes that come and go.
func makeName() string {
	host, _ := os.Hostname()
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, host)
	host = strings.Trim(host[:min(len(host), 48)], "-")
	if host == "" {
		host = "node"
	}
	return host + "-" + random(4)
}

// random returns n random bytes in hex.
func random(n int) string {
	buf := make([]byte, n)
	rand.Read(buf)
	return hex.EncodeToString(buf)
}
