package codec

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["channels"] = func(s Spec) (Codec, error) {
		if s.Login != "" && s.Login != LoginAnonymous {
			return nil, fmt.Errorf("channels has no logins, so none by %q", s.Login)
		}
		return channels{s}, nil
	}
}

// channels is what the Django project in bench/rivals/channels understands: a member names its groups in the query string and is
// told when it is in them. Django Channels itself has no protocol for clients.
type channels struct{ Spec }

// channelsSays is what the project says of itself: count of its groups are joined or left.
type channelsSays struct {
	Op    string `json:"op"`
	Count int    `json:"count"`
}

// Request upgrades at the members' path or the publisher's.
func (s channels) Request(c Client) []byte {
	if c.Publisher {
		return frame.Request(s.Host, "/publish")
	}
	return frame.Request(s.Host, string(appendGroups([]byte("/member?groups="), c.Groups)))
}

// Hello is nothing: the groups are in the request.
func (channels) Hello(Client) []byte { return nil }

// Confirms is one for each group. A publisher is told too that it is connected.
func (channels) Confirms(c Client) int {
	if c.Publisher {
		return 1
	}
	return len(c.Groups)
}

// Hear takes the project's answers.
func (channels) Hear(_ Client, payload []byte) Heard {
	var said channelsSays
	if err := json.Unmarshal(payload, &said); err != nil || said.Count < 1 || said.Count > math.MaxUint16 {
		return Heard{Err: errRefused("channels", payload)}
	}
	switch said.Op {
	case "joined":
		return Heard{Joined: said.Count}
	case "left":
		return Heard{Left: said.Count}
	}
	return Heard{Err: errRefused("channels", payload)}
}

// op appends a message that has no data.
func (channels) op(dst []byte, name string, group uint32) []byte {
	dst = append(dst, `{"op":"`+name+`","group":"`...)
	return append(appendGroup(dst, group), `"}`...)
}

// Join asks for a group_add.
func (s channels) Join(dst []byte, group uint32) []byte { return s.op(dst, "join", group) }

// Leave asks for a group_discard.
func (s channels) Leave(dst []byte, group uint32) []byte { return s.op(dst, "leave", group) }

// Publish asks for a group_send, from the publisher's consumer or a member's.
func (channels) Publish(dst []byte, group uint32, payload []byte) []byte {
	dst = append(dst, `{"op":"send","group":"`...)
	dst = append(appendGroup(dst, group), `","data":"`...)
	return append(append(dst, payload...), `"}`...)
}

// Op is text.
func (channels) Op() frame.Op { return frame.Text }

// PostAddr is the server itself.
func (s channels) PostAddr() netip.AddrPort { return s.Spec.Post }

// Post calls the view that does a group_send.
func (s channels) Post(dst []byte, group uint32, payload []byte) []byte {
	return appendPost(dst, s.Spec.Post, string(appendGroup([]byte("/send/"), group)), plainText, "", payload)
}
