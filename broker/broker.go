package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
	ErrBadHeader   = errors.New("a message's id, from, conn or exclude is longer than 4096 bytes or not UTF-8")
)

// Handler is what the broker needs of the node above it.
type Handler interface {
	// Deliver hands over one live message: what other nodes published for a group that was joined, on the relay's reader goroutine, and
	// all that this node publishes, joined or not, on the goroutine that calls Publish. Each publisher's messages come in order.
	// Concurrent, possibly before Open returns; m and all its slices are valid only during the call. It must not block.
	Deliver(m *Message)
	// Ask answers another node's AskAll. Concurrent; ctx ends after 2 s.
	Ask(ctx context.Context, verb string, body []byte) ([]byte, error)
	// Serve answers a service's request on <ns>.ctl.{disconnect,revalidate,group_add,group_discard}; body and answer as the
	// HTTP call of that name. Concurrent; ctx ends after 2 s.
	Serve(ctx context.Context, verb string, body []byte) []byte
	// AuthenticateNative verifies the credential of a native NATS user, a token or the password that came with a user name. overtaken is
	// what it answered before, if NativeOvertaken said so of that; else nil. Concurrent; ctx ends after 1.5 s, for all answers about one client.
	AuthenticateNative(ctx context.Context, token, remote string, overtaken *NativeUser) (NativeUser, error)
	// NativeOvertaken tells whether something was revoked or changed since AuthenticateNative began to make up u. It is asked once u is among
	// NativeUsers, where DisconnectNative finds it from then on. Concurrent; it must not block.
	NativeOvertaken(u NativeUser) bool
	// State tells that the link to the broker changed. Down: Publish and Join fail with ErrUnavailable, messages may be
	// missed. Up again: all interest is re-established everywhere. It must not block; Open returning counts as the first up.
	State(up bool, reason string)
	// Missed tells that another node had given this one up, for silence or a lost route, and has met it again: what that node asked of all
	// meanwhile (AskAll) did not come here. It must not block.
	Missed()
}

// NativeUser is who a native NATS user is, and what it may hear and say: patterns over group names.
type NativeUser struct {
	ID                       string
	Subscribe, Publish, Deny []string
	Expires                  time.Time // zero = never
	SessionHash              string
	Login                    any // the handler's own; the broker keeps it for NativeUsers
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
	deaf         bool // drained so far that it takes no more ingress
	closed       bool
	left         bool     // said bye
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
	givenUp      map[string]*lostPeer // by name
	greeting     bool
	lastBeat     time.Time
	ownBeat      time.Time // when this node last heard itself
	ingress      ingressState
	answering    bool // services' requests
	routeSums    map[string]uint64
	routeCount   int

	doorMu    sync.Mutex // leaf
	visitors  map[uint64]*visitor
	strangers atomic.Int32    // visitors that are not this node's links; changed under doorMu
	checking  map[uint64]bool // clients whose first check is under way
	natives   int
	shut      bool         // nobody else comes in
	reloading sync.RWMutex // written while routes are reloaded

	stateMu sync.Mutex // before mu; serializes Handler.State
	told    bool       // what State said last
	opened  atomic.Bool
	openErr chan error // capacity 1: nil at the first serve, or why there is none

	questions questions
	asked     chan struct{} // one for each question being answered
	requested chan struct{} // one for each service's request being answered: it may ask this node in turn
	poked     chan struct{} // capacity 1: tick now

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	workMu sync.Mutex // guards ended
	ended  bool
	work   sync.WaitGroup
	close  sync.Once
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
