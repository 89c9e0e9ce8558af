package codec

import (
	"bytes"
	"net/netip"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["centrifuge"] = func(s Spec) (Codec, error) { return centrifuge{s}, nil }
}

// centrifuge is the bidirectional JSON protocol of Centrifuge and Centrifugo. Commands and replies are lines; a frame holds one
// or more. A reply has its command's id, which need not be unique: a client's replies come in order.
type centrifuge struct{ Spec }

// Request has no credentials.
func (c centrifuge) Request(Client) []byte { return frame.Request(c.Host, "/connection/websocket") }

// Hello connects and subscribes in one frame, as the official client does.
func (c centrifuge) Hello(client Client) []byte {
	hello := []byte(`{"id":1,"connect":{"name":"bench"}}`)
	for _, g := range client.Groups {
		hello = c.Join(append(hello, '\n'), g)
	}
	return hello
}

// Confirms is a reply for each group, or for the connect of who joins nothing.
func (centrifuge) Confirms(c Client) int { return max(1, len(c.Groups)) }

// HearsAll is true: replies and pings stand in one frame with messages.
func (centrifuge) HearsAll() bool { return true }

// Hear reads the lines of a frame.
func (c centrifuge) Hear(client Client, payload []byte) (h Heard) {
	for line := range bytes.SplitSeq(payload, []byte("\n")) {
		switch {
		case bytes.HasPrefix(line, []byte(`{"push":{"channel":`)):
		case len(line) == 0:
		case string(line) == "{}": // a ping
			h.Reply = append(h.Reply[:0], "{}"...)
		case bytes.HasPrefix(line, []byte(`{"id":`)):
			_, reply, _ := bytes.Cut(line, []byte(","))
			what, _, _ := bytes.Cut(reply, []byte(":"))
			switch string(what) {
			case `"connect"`:
				if len(client.Groups) == 0 {
					h.Joined++
				}
			case `"subscribe"`:
				h.Joined++
			case `"unsubscribe"`:
				h.Left++
			case `"publish"`:
			default:
				return Heard{Err: errRefused("centrifuge", line)}
			}
		default:
			return Heard{Err: errRefused("centrifuge", line)}
		}
	}
	return h
}

// Join subscribes.
func (centrifuge) Join(dst []byte, group uint32) []byte {
	return append(appendGroup(append(dst, `{"id":2,"subscribe":{"channel":"`...), group), `"}}`...)
}

// Leave unsubscribes.
func (centrifuge) Leave(dst []byte, group uint32) []byte {
	return append(appendGroup(append(dst, `{"id":3,"unsubscribe":{"channel":"`...), group), `"}}`...)
}

// Publish does not wait for the reply that comes.
func (centrifuge) Publish(dst []byte, group uint32, payload []byte) []byte {
	dst = append(appendGroup(append(dst, `{"id":4,"publish":{"channel":"`...), group), `","data":"`...)
	return append(append(dst, payload...), `"}}`...)
}

// Op is text.
func (centrifuge) Op() frame.Op { return frame.Text }

// PostAddr is where the HTTP API is.
func (c centrifuge) PostAddr() netip.AddrPort { return c.Spec.Post }

// Post is Centrifugo's API. It is asked to say errors by HTTP's status, which it does not by itself.
func (c centrifuge) Post(dst []byte, group uint32, payload []byte) []byte {
	body := append(appendGroup([]byte(`{"channel":"`), group), `","data":"`...)
	body = append(append(body, payload...), `"}`...)
	more := "X-API-Key: " + c.Key + "\r\nX-Centrifugo-Error-Mode: transport\r\n"
	return appendPost(dst, c.Spec.Post, "/api/publish", jsonText, more, body)
}
