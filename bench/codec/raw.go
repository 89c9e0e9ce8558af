package codec

import (
	"fmt"
	"strings"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() { codecs["raw"] = func(s Spec) (Codec, error) { return Raw{s.Host, s.Speaks}, nil } }

// Raw is the absence of a protocol: what is published is what is delivered. A member names its groups in the path; a message
// begins with its group's number, in the stamp.
type Raw struct {
	Host string
	Echo bool // members get back what they publish, and are in no groups
}

// Request upgrades at the groups' path, or at the publisher's.
func (r Raw) Request(c Client) []byte {
	if c.Publisher {
		return frame.Request(r.Host, "/publish")
	}
	if r.Echo {
		return frame.Request(r.Host, "/echo")
	}
	var names strings.Builder
	for i, g := range c.Groups {
		if i > 0 {
			names.WriteByte(',')
		}
		fmt.Fprintf(&names, "%d", g)
	}
	return frame.Request(r.Host, "/group/"+names.String())
}

// Hello is nothing.
func (Raw) Hello(Client) []byte { return nil }

// Confirms is 0: the upgrade is all.
func (Raw) Confirms(Client) int { return 0 }

// Hear ignores what has no stamp.
func (Raw) Hear(Client, []byte) Heard { return Heard{} }

// Publish is the payload itself; its stamp says the group.
func (Raw) Publish(dst []byte, _ uint32, payload []byte) []byte { return append(dst, payload...) }

// Op is text.
func (Raw) Op() frame.Op { return frame.Text }
