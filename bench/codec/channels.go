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

// channelsGroup is the group's name, as long as names in real sites are.
func channelsGroup(dst []byte, n uint32) []byte { return fmt.Appendf(dst, "bench.%d", n) }

// Request upgrades at the members' path or the publisher's.
func (s channels) Request(c Client) []byte {
	if c.Publisher {
		return frame.Request(s.Host, "/publish")
	}
	path := []byte("/member?groups=")
	for i, g := range c.Groups {
		if i > 0 {
			path = append(path, ',')
		}
		path = channelsGroup(path, g)
	}
	return frame.Request(s.Host, string(path))
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
	return append(channelsGroup(dst, group), `"}`...)
}

// Join asks for a group_add.
func (s channels) Join(dst []byte, group uint32) []byte { return s.op(dst, "join", group) }

// Leave asks for a group_discard.
func (s channels) Leave(dst []byte, group uint32) []byte { return s.op(dst, "leave", group) }

// Publish asks for a group_send, from the publisher's consumer or a member's.
func (channels) Publish(dst []byte, group uint32, payload []byte) []byte {
	dst = append(dst, `{"op":"send","group":"`...)
	dst = append(channelsGroup(dst, group), `","data":"`...)
	return append(append(dst, payload...), `"}`...)
}

// Op is text.
func (channels) Op() frame.Op { return frame.Text }

// PostAddr is the server itself.
func (s channels) PostAddr() netip.AddrPort { return s.Spec.Post }

// Post calls the view that does a group_send.
func (s channels) Post(dst []byte, group uint32, payload []byte) []byte {
	dst = channelsGroup(append(dst, "POST /send/"...), group)
	return fmt.Appendf(dst, " HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		s.Host, len(payload), payload)
}
