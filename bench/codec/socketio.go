package codec

import (
	"fmt"
	"net/netip"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["socketio"] = func(s Spec) (Codec, error) { return socketio{s}, nil }
}

// socketio is Socket.IO's protocol 5 over Engine.IO's protocol 4, by WebSocket from the start, with the events of the server in
// bench/rivals/node/socketio.js. A frame is one packet: Engine.IO's type, Socket.IO's type, an acknowledgement's id, JSON.
//
//	server 0{…}          open           client 40               connect
//	server 40{…}         connected      client 420["join",[…]]  event that wants acknowledgement 0
//	server 430[2]        acknowledged: joined 2 groups
//	server 2             ping           client 3                pong
type socketio struct{ Spec }

// The ids of acknowledgements: they need not be unique, as they come in order.
const (
	socketioHello = "420" // joins of the beginning
	socketioJoin  = "421"
	socketioLeave = "422"
)

// Request asks for the WebSocket transport.
func (s socketio) Request(Client) []byte {
	return frame.Request(s.Host, "/socket.io/?EIO=4&transport=websocket")
}

// Hello connects to the namespace /.
func (socketio) Hello(Client) []byte { return []byte("40") }

// Confirms is 1: all joins in one event, or being connected.
func (socketio) Confirms(Client) int { return 1 }

// Hear answers pings and joins once connected.
func (socketio) Hear(c Client, payload []byte) Heard {
	const kind = 2
	switch head := string(payload[:min(kind, len(payload))]); head {
	case "0{", "6": // open, noop
		return Heard{}
	case "2":
		return Heard{Reply: []byte("3")}
	case "40":
		if len(c.Groups) == 0 {
			return Heard{Joined: 1}
		}
		return Heard{Reply: appendNames([]byte(socketioHello+`["join",`), c.Groups, "]")}
	case "43":
		switch string(payload[:min(kind+1, len(payload))]) {
		case "430", "431":
			return Heard{Joined: 1}
		case "432":
			return Heard{Left: 1}
		}
	}
	return Heard{Err: errRefused("socketio", payload)}
}

// Join joins a room.
func (socketio) Join(dst []byte, group uint32) []byte {
	return appendNames(append(dst, socketioJoin+`["join",`...), []uint32{group}, "]")
}

// Leave leaves a room.
func (socketio) Leave(dst []byte, group uint32) []byte {
	return appendNames(append(dst, socketioLeave+`["leave",`...), []uint32{group}, "]")
}

// Publish emits an event without an acknowledgement.
func (socketio) Publish(dst []byte, group uint32, payload []byte) []byte {
	return fmt.Appendf(dst, `42["send","bench.%d","%s"]`, group, payload)
}

// Op is text.
func (socketio) Op() frame.Op { return frame.Text }

// PostAddr is the server itself.
func (s socketio) PostAddr() netip.AddrPort { return s.Spec.Post }

// Post is the route of both Node servers.
func (s socketio) Post(dst []byte, group uint32, payload []byte) []byte {
	return appendNodePost(dst, s.Spec, group, payload)
}
