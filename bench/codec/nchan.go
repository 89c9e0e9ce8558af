package codec

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["nchan"] = func(s Spec) (Codec, error) {
		if s.Login != "" && s.Login != LoginAnonymous {
			return nil, fmt.Errorf("nchan has no logins, so none by %q", s.Login)
		}
		return nchan{s}, nil
	}
}

// nchan speaks to the locations of bench/rivals/nchan/nginx.conf. All there is to say is in the path: messages are the payload.
type nchan struct{ Spec }

// NchanGroup is the only group that a publisher's socket of nchan can publish to: the path has it, before there is a message.
const NchanGroup = 0

func nchanGroup(dst []byte, n uint32) []byte { return fmt.Appendf(dst, "bench.%d", n) }

// Request upgrades at the path of the client's groups.
func (s nchan) Request(c Client) []byte {
	if c.Publisher {
		return frame.Request(s.Host, string(nchanGroup([]byte("/publish/"), NchanGroup)))
	}
	path := []byte("/member/")
	for i, g := range c.Groups {
		if i > 0 {
			path = append(path, ',')
		}
		path = nchanGroup(path, g)
	}
	return frame.Request(s.Host, string(path))
}

// Hello is nothing.
func (nchan) Hello(Client) []byte { return nil }

// Confirms is 0: nginx upgrades a socket when it is subscribed.
func (nchan) Confirms(Client) int { return 0 }

// Hear passes over what a publisher is told of each message: how many are queued and who subscribes.
func (nchan) Hear(_ Client, payload []byte) Heard {
	if !bytes.HasPrefix(payload, []byte("queued messages: ")) {
		return Heard{Err: errRefused("nchan", payload)}
	}
	return Heard{}
}

// Publish is the payload itself. The socket's path says the group.
func (nchan) Publish(dst []byte, _ uint32, payload []byte) []byte { return append(dst, payload...) }

// Op is text.
func (nchan) Op() frame.Op { return frame.Text }

// PostAddr is nginx.
func (s nchan) PostAddr() netip.AddrPort { return s.Spec.Post }

// Post publishes to any group.
func (s nchan) Post(dst []byte, group uint32, payload []byte) []byte {
	dst = nchanGroup(append(dst, "POST /send/"...), group)
	return fmt.Appendf(dst, " HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s",
		s.Host, len(payload), payload)
}
