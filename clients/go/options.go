package gatecast

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Subprotocol is the native protocol this client speaks.
const Subprotocol = "gatecast.v1"

// Carrier is the way the token travels to the server. The server must have it among its authn.carriers.
type Carrier string

const (
	CarrierHeader      Carrier = "header"      // Authorization: Bearer TOKEN
	CarrierSubprotocol Carrier = "subprotocol" // as browsers do it: bearer64.TOKEN beside gatecast.v1
	CarrierQuery       Carrier = "query"       // ?token=TOKEN; ends up in the logs of proxies
	CarrierMessage     Carrier = "message"     // the first message; never in a header or URL
)

// Options say how a [Conn] logs in and whom it tells what. The zero value connects without a credential.
//
// Callbacks run one at a time on the Conn's own goroutine, in the order things happened. One that blocks delays the others, and
// messages are dropped once Queue of them wait (see [Conn.Dropped]). They may call every method of the Conn.
type Options struct {
	// Token is the credential, empty for none. A session cookie goes into Header instead.
	Token string

	// TokenFunc, if set, is asked for the token before every connect instead. It is what lets a Conn survive the expiry of its
	// token: after close code 4401 it reconnects if TokenFunc has another token than the refused one.
	TokenFunc func(ctx context.Context) (string, error)

	// Carrier is the way the token travels. Default CarrierHeader.
	Carrier Carrier

	// Header is sent with every handshake, for cookies and the like.
	Header http.Header

	// Groups are joined at connect; Dial fails if one is refused. Their messages go to OnMessage or Receive.
	Groups []string

	// OnMessage hears messages of groups that have no handler of their own. If it is nil they wait for [Conn.Receive].
	OnMessage func(Message)

	// OnEvent hears what else the server says about groups.
	OnEvent func(Event)

	// OnState hears every change of state.
	OnState func(StateChange)

	// Queue is how many messages may wait for callbacks, and how many for Receive. Default 1024.
	Queue int

	// ConnectTimeout bounds one attempt to connect and log in. Default 10 s.
	ConnectTimeout time.Duration

	// RetryMin and RetryMax bound the time before a reconnect when the server did not say: it is random below RetryMin, which
	// doubles with every failure up to RetryMax. Defaults 500 ms and 30 s.
	RetryMin, RetryMax time.Duration

	// MaxMessage is the largest message accepted, in bytes. Default 16 MiB.
	MaxMessage int

	// NetDial replaces net.Dialer, for proxies and tests.
	NetDial func(ctx context.Context, network, addr string) (net.Conn, error)

	// TLS is used for wss:// addresses. Default: the system's roots.
	TLS *tls.Config

	grace time.Duration // beyond the server's ping period before it counts as dead; tests shorten it
}

// pongGrace is what the protocol gives either side to answer a ping.
const pongGrace = 10 * time.Second

func (o Options) withDefaults() (Options, error) {
	o.Carrier = cmp.Or(o.Carrier, CarrierHeader)
	o.Queue = cmp.Or(o.Queue, 1024)
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, 10*time.Second)
	o.RetryMin = cmp.Or(o.RetryMin, 500*time.Millisecond)
	o.RetryMax = max(cmp.Or(o.RetryMax, 30*time.Second), o.RetryMin)
	o.MaxMessage = cmp.Or(o.MaxMessage, 16<<20)
	o.grace = cmp.Or(o.grace, pongGrace)
	switch o.Carrier {
	case CarrierHeader, CarrierSubprotocol, CarrierQuery, CarrierMessage:
	default:
		return o, fmt.Errorf("gatecast: unknown carrier %q", o.Carrier)
	}
	if o.Queue < 0 || o.ConnectTimeout < 0 || o.RetryMin < 0 || o.MaxMessage < 0 {
		return o, fmt.Errorf("gatecast: Queue, ConnectTimeout, RetryMin and MaxMessage cannot be negative")
	}
	return o, nil
}

// Message is what somebody sent to a group.
type Message struct {
	Group  string
	Data   json.RawMessage // as it was sent, byte for byte; the callee owns it
	From   string          // user id of the sender; "" if a service sent it
	Format string          // "binary": Data is a JSON string of base64; else ""
	Seq    uint64          // position in a durable group, else 0
}

// Event is what the server, not a message, says about a group.
type Event struct {
	Op    string // EventGroupAdded, …
	Group string
	User  string // of EventJoin and EventLeave
	Err   error  // of EventRefused and EventError: an *Error
}

const (
	EventGroupAdded     = "group_added"     // a backend put this conn into Group
	EventGroupDiscarded = "group_discarded" // a backend took it out; it is not added again
	EventJoin           = "join"            // User came into Group
	EventLeave          = "leave"           // User left Group
	EventReset          = "reset"           // the position in Group is lost: load its state from the application
	EventRefused        = "refused"         // after a reconnect, Group was not added again
	EventError          = "error"           // the server refused something that asked for no reply
)

// Welcome is what the server says of a login.
type Welcome struct {
	Conn    string    // id of this connection, a new one after every reconnect
	User    string    // user id; "" = anonymous
	Groups  []string  // groups the server put it into
	Node    string    // the server's node
	Expires time.Time // of the login; zero = never
}
