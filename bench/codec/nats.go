package codec

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["nats"] = func(s Spec) (Codec, error) { return nats{s}, nil }
}

// NATSSync is the subject that the first node of a NATS cluster answers: a client of another node asks there whether its
// subscriptions have arrived. Routes keep order, so an answer comes after them.
const NATSSync = "bench.sync"

// nats is NATS' client protocol in binary frames. A frame holds one or more whole protocol messages: nats-server v2.15 puts all
// that waits for a client into one frame, and queues head and payload of a message under one lock (websocket.go,
// wsCollapsePtoNB). It cuts frames at 4,096 bytes only for clients whose User-Agent begins with "Mozilla/", which ours do not
// send.
type nats struct{ Spec }

// Request has no credentials: the server lets anybody in.
func (n nats) Request(Client) []byte { return frame.Request(n.Host, "/") }

func natsGroup(dst []byte, group uint32) []byte {
	return strconv.AppendUint(append(dst, "bench.g."...), uint64(group), 10)
}

// natsInbox begins the subject of a client's own answers.
const natsInbox = "bench.inbox."

// Hello logs in, subscribes, and asks for a sign that all is done: PONG, or in a cluster the first node's answer.
func (n nats) Hello(c Client) []byte {
	hello := []byte(`CONNECT {"verbose":false,"pedantic":false,"echo":true,"protocol":1,"lang":"bench","version":"1"}` + "\r\n")
	for _, g := range c.Groups {
		hello = n.subscribe(hello, g)
	}
	if n.Nodes > 1 {
		return fmt.Appendf(hello, "SUB %s%d inbox\r\nPUB %s %s%d 0\r\n\r\n", natsInbox, c.Index, NATSSync, natsInbox, c.Index)
	}
	return append(hello, "PING\r\n"...)
}

// subscribe appends a SUB whose subscription is named by the group's number.
func (nats) subscribe(dst []byte, group uint32) []byte {
	dst = append(natsGroup(append(dst, "SUB "...), group), ' ')
	return append(strconv.AppendUint(dst, uint64(group), 10), "\r\n"...)
}

// Confirms is 1: one sign for all.
func (nats) Confirms(Client) int { return 1 }

// HearsAll is true: a PONG may stand in one frame with messages.
func (nats) HearsAll() bool { return true }

// natsLeft is what a leave is answered with; see [nats.Leave].
const natsLeft = "-ERR 'Invalid Subject'\r\n"

// Hear walks over the protocol messages of a frame.
func (n nats) Hear(_ Client, payload []byte) (h Heard) {
	for b := payload; len(b) > 0; {
		line, rest, whole := bytes.Cut(b, []byte("\r\n"))
		if !whole {
			return Heard{Err: errRefused("nats", b)}
		}
		switch op, args, _ := bytes.Cut(line, []byte(" ")); string(op) {
		case "MSG", "HMSG":
			i := bytes.LastIndexByte(args, ' ')
			size, err := strconv.Atoi(string(args[i+1:]))
			if i < 0 || err != nil || size < 0 || size > len(rest)-len("\r\n") {
				return Heard{Err: errRefused("nats", b)}
			}
			if bytes.HasPrefix(args, []byte(natsInbox)) {
				h.Joined++
			}
			rest = rest[size+len("\r\n"):]
		case "PONG":
			h.Joined++
		case "PING":
			h.Reply = append(h.Reply, "PONG\r\n"...)
		case "INFO", "+OK":
		default:
			if !bytes.HasPrefix(b, []byte(natsLeft)) {
				return Heard{Err: errRefused("nats", b)}
			}
			h.Left++
		}
		b = rest
	}
	return h
}

// Join subscribes and asks for a PONG.
func (n nats) Join(dst []byte, group uint32) []byte {
	return append(n.subscribe(dst, group), "PING\r\n"...)
}

// Leave unsubscribes. NATS confirms nothing by itself, and a PONG would look like a join's: the sign asked for is the error that
// a malformed subject gets at once, which has no other consequence (client.go, processSub).
func (nats) Leave(dst []byte, group uint32) []byte {
	return append(strconv.AppendUint(append(dst, "UNSUB "...), uint64(group), 10), "\r\nSUB . none\r\n"...)
}

// Publish is a PUB.
func (nats) Publish(dst []byte, group uint32, payload []byte) []byte {
	dst = append(natsGroup(append(dst, "PUB "...), group), ' ')
	dst = append(strconv.AppendInt(dst, int64(len(payload)), 10), "\r\n"...)
	return append(append(dst, payload...), "\r\n"...)
}

// Op is binary.
func (nats) Op() frame.Op { return frame.Binary }
