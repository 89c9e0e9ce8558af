package codec

import (
	"fmt"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["gatecast-raw"] = func(s Spec) (Codec, error) {
		if s.Login != "" && s.Login != LoginJWT {
			return nil, fmt.Errorf("clients of a raw route log in by %s, not by %q", LoginJWT, s.Login)
		}
		s.Login = LoginJWT
		return gatecastRaw{gatecast{s}}, nil
	}
}

// gatecastRaw is the absence of a protocol on a raw route: the path says the group, messages are the data alone. Who publishes
// uses the native protocol.
type gatecastRaw struct{ gatecast }

// Request connects at the path of the client's group. A client without one is in a group of its own that nobody sends to.
func (g gatecastRaw) Request(c Client) []byte {
	if c.Publisher {
		return g.gatecast.Request(c)
	}
	group := "none"
	if len(c.Groups) > 0 {
		group = fmt.Sprint(c.Groups[0])
	}
	return frame.Request(g.Host, "/bench/"+group, g.login(c))
}

// greeting comes back to who sent it. What arrives before a raw conn has joined its groups waits, so then it has.
const greeting = "hello"

// Hello sends the greeting.
func (g gatecastRaw) Hello(c Client) []byte {
	if c.Publisher {
		return g.gatecast.Hello(c)
	}
	return []byte(greeting)
}

// Hear waits for the greeting.
func (g gatecastRaw) Hear(c Client, payload []byte) Heard {
	switch {
	case c.Publisher:
		return g.gatecast.Hear(c, payload)
	case string(payload) == greeting:
		return Heard{Joined: 1}
	}
	return Heard{Err: errRefused("gatecast", payload)}
}
