package broker

import (
	"context"
	"errors"
	"log/slog"
	"time"
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

// Stats is a snapshot of counters (since Open) and gauges.
type Stats struct {
	Up                bool
	Published         uint64 // messages written to the live lane
	PublishedBytes    uint64
	Delivered         uint64 // messages handed to Handler.Deliver
	DeliveredBytes    uint64
	Undeliverable     uint64 // came on a lane but made no sense, or for a group already left
	IngressOK         uint64
	IngressRefused    map[string]uint64 // by error code
	RefusedReplies    uint64            // messages ignored because their reply subject was none of the sender's inbox
	Interest          int               // subscriptions held
	Memberships       int               // joins counted
	PendingJoins      int
	Barriers          uint64 // done
	BarrierTimeouts   uint64
	BarrierSeconds    float64 // sum over Barriers
	BarrierMaxSeconds float64
	Peers             int
	PeersLost         uint64
	Hellos            uint64
	Reconnects        uint64
	NativeConns       int
	NativeAccepted    uint64
	NativeRefused     uint64
	ServiceAccepted   uint64
	WriteBufferBytes  int
	Routes            int
}

// Broker is a node's link to all other nodes. All methods may be called concurrently.
type Broker struct {
	o   Options
	h   Handler
	log *slog.Logger
}

// Open starts the embedded server or connects to o.URL, meets the other nodes, and returns when this node may serve.
// The caller must Close the Broker.
func Open(ctx context.Context, o Options, h Handler, log *slog.Logger) (*Broker, error) {
	return nil, errors.New("broker: not built yet")
}

// Publish sends m on its group's live lane. It copies what it needs, allocates nothing and never blocks.
func (b *Broker) Publish(m *Message) error { return ErrUnavailable }

// Join counts one more interest of this node in group. ready is called exactly once, perhaps before Join returns, from any
// goroutine and without locks held: nil when every message published anywhere from now on arrives here, else the count was undone.
func (b *Broker) Join(group string, ready func(error)) { ready(ErrUnavailable) }

// Leave takes back one successful Join.
func (b *Broker) Leave(group string) {}

// AskAll asks every live node, this one included, and returns after 2 s at the latest.
func (b *Broker) AskAll(ctx context.Context, verb string, body []byte) ([]Answer, error) {
	return nil, ErrUnavailable
}

// Nodes lists the live nodes, this one first.
func (b *Broker) Nodes() []NodeInfo { return nil }

// Name returns this node's name.
func (b *Broker) Name() string { return b.o.Name }

// Ready returns nil, or why this node cannot serve.
func (b *Broker) Ready() error { return ErrUnavailable }

// Stats returns a snapshot.
func (b *Broker) Stats() Stats { return Stats{} }

// ClientURL returns where NATS clients connect.
func (b *Broker) ClientURL() string { return "" }

// DisconnectNative closes the native users' connections that match and returns their number.
func (b *Broker) DisconnectNative(match func(user NativeUser) bool) int { return 0 }

// Drain takes no more messages, finishes those in hand, tells the other nodes, and sends NATS clients elsewhere.
func (b *Broker) Drain(ctx context.Context) error { return nil }

// Close ends everything. It may be called again.
func (b *Broker) Close() error { return nil }
