package codec

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatecast/gatecast/bench/frame"
)

// Client is one of the clients of a run.
type Client struct {
	Index     int
	Groups    []uint32 // it is to be a member of; none for the publisher
	Publisher bool     // publishes to any group, and receives nothing
}

// Heard is what a message from the server means to a client: nothing in its zero value.
type Heard struct {
	Joined int    // so many of its groups are confirmed by this message; 1 for a publisher's login
	Left   int    // so many leaves are confirmed
	Reply  []byte // message to send back
	Err    error  // the server refuses
}

// Codec is what a server's clients say. All methods may be called concurrently.
type Codec interface {
	// Request is the handshake request.
	Request(c Client) []byte
	// Hello is the message a client sends once upgraded; nil = none.
	Hello(c Client) []byte
	// Confirms is how many of [Heard.Joined] make a client ready; 0 = the upgrade does.
	Confirms(c Client) int
	// Hear says what a message without a stamp means. It may keep nothing of payload.
	Hear(c Client, payload []byte) Heard
	// Publish appends the message that sends payload, plain ASCII without quotes, to the group.
	Publish(dst []byte, group uint32, payload []byte) []byte
	// Op is the opcode of messages to the server.
	Op() frame.Op
}

// Mover is a Codec whose clients can join and leave groups while they are connected. Heard confirms each.
type Mover interface {
	Join(dst []byte, group uint32) []byte
	Leave(dst []byte, group uint32) []byte
}

// Poster is a Codec that can publish by HTTP too.
type Poster interface {
	// Post appends a whole HTTP/1.1 request, keep-alive, that publishes payload to the group. Any 2xx is success.
	Post(dst []byte, group uint32, payload []byte) []byte
	// PostAddr is where requests go.
	PostAddr() netip.AddrPort
}

// Mixer is a Codec of a server that puts messages and other things, confirmations too, into one frame. Hear is then asked about
// messages with a stamp as well, and passes over what the stamps are in.
type Mixer interface {
	HearsAll() bool
}

// Spec says how to speak to a running server. It is JSON between the processes of a run.
type Spec struct {
	Codec    string         `json:"codec"` // name in the table of this package
	Host     string         `json:"host"`  // for the Host header
	Post     netip.AddrPort `json:"post,omitzero"`
	Secret   []byte         `json:"secret,omitempty"`   // what logins are signed with
	Key      string         `json:"key,omitempty"`      // opens the API that publications are posted to
	Login    string         `json:"login,omitempty"`    // kind of login; "" = the codec's usual one
	Users    int            `json:"users,omitempty"`    // distinct users; 0 = one a connection
	Personal bool           `json:"personal,omitempty"` // groups are those that users have by themselves
	Speaks   bool           `json:"speaks,omitempty"`   // clients publish, each to its own group
	Cookies  []string       `json:"cookies,omitempty"`  // of user i, for logins by cookie
	Path     string         `json:"path,omitempty"`     // of the endpoint, where it is configured
	Nodes    int            `json:"nodes,omitempty"`    // of the cluster, where its clients must know
}

// codecs is every codec, by name.
var codecs = map[string]func(Spec) (Codec, error){}

// Open returns the codec of a spec.
func Open(s Spec) (Codec, error) {
	open := codecs[s.Codec]
	if open == nil {
		var names []string
		for name := range codecs {
			names = append(names, name)
		}
		slices.Sort(names)
		return nil, fmt.Errorf("unknown codec %q; there are: %s", s.Codec, strings.Join(names, ", "))
	}
	return open(s)
}

// errRefused wraps what a server says no with.
func errRefused(server string, payload []byte) error {
	const most = 300
	if len(payload) > most {
		payload = payload[:most]
	}
	return errors.New(server + " says: " + string(payload))
}
