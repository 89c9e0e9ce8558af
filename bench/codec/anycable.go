package codec

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["anycable"] = func(s Spec) (Codec, error) { return anycable{s}, nil }
}

// anycable is Action Cable's JSON protocol with AnyCable's channel of public streams, $pubsub. A frame holds one command, and
// leaving is confirmed by nothing, so its clients cannot move.
type anycable struct{ Spec }

// Request asks for Action Cable's subprotocol.
func (a anycable) Request(Client) []byte {
	return frame.Request(a.Host, "/cable", "Sec-WebSocket-Protocol: actioncable-v1-json")
}

// Hello is nothing: a client waits for the welcome.
func (anycable) Hello(Client) []byte { return nil }

// Confirms is one for each group, or for the welcome of who joins nothing.
func (anycable) Confirms(c Client) int { return max(1, len(c.Groups)) }

// anycableStream begins a group's name inside an identifier, which is JSON in a JSON string.
const anycableStream = `\"stream_name\":\"bench.`

func anycableSubscribe(group uint32) []byte {
	return fmt.Appendf(nil, `{"command":"subscribe","identifier":"{\"channel\":\"$pubsub\",%s%d\"}"}`, anycableStream, group)
}

// Hear subscribes to one group after the other.
func (anycable) Hear(c Client, payload []byte) Heard {
	switch {
	case bytes.HasPrefix(payload, []byte(`{"type":"ping"`)):
		return Heard{}
	case bytes.HasPrefix(payload, []byte(`{"type":"welcome"`)):
		if len(c.Groups) == 0 {
			return Heard{Joined: 1}
		}
		return Heard{Reply: anycableSubscribe(c.Groups[0])}
	case bytes.Contains(payload, []byte(`"type":"confirm_subscription"`)):
		_, rest, _ := bytes.Cut(payload, []byte(anycableStream))
		name, _, _ := bytes.Cut(rest, []byte(`\"`))
		group, err := strconv.ParseUint(string(name), 10, 32)
		i := slices.Index(c.Groups, uint32(group))
		if err != nil || i < 0 {
			break
		}
		h := Heard{Joined: 1}
		if i+1 < len(c.Groups) {
			h.Reply = anycableSubscribe(c.Groups[i+1])
		}
		return h
	}
	return Heard{Err: errRefused("anycable", payload)}
}

// Publish whispers, which only members of a group can, and which the sender does not hear.
func (anycable) Publish(dst []byte, group uint32, payload []byte) []byte {
	return fmt.Appendf(dst, `{"command":"whisper","identifier":"{\"channel\":\"$pubsub\",%s%d\"}","data":"%s"}`,
		anycableStream, group, payload)
}

// Op is text.
func (anycable) Op() frame.Op { return frame.Text }

// PostAddr is where broadcasts go.
func (a anycable) PostAddr() netip.AddrPort { return a.Spec.Post }

// Post is a broadcast; its data is JSON in a string.
func (a anycable) Post(dst []byte, group uint32, payload []byte) []byte {
	body := fmt.Appendf(nil, `{"stream":"bench.%d","data":"\"%s\""}`, group, payload)
	return fmt.Appendf(dst, "POST /_broadcast HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"Content-Length: %d\r\n\r\n%s", a.Spec.Post, len(body), body)
}
