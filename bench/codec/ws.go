package codec

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/gatecast/gatecast/bench/frame"
)

func init() {
	codecs["ws"] = func(s Spec) (Codec, error) { return wsCodec{s}, nil }
}

// wsCodec is what the server in bench/rivals/node/ws.js understands: JSON as one makes it up for a page.
type wsCodec struct{ Spec }

// Request has no credentials.
func (w wsCodec) Request(Client) []byte { return frame.Request(w.Host, "/") }

// Hello joins all groups at once.
func (w wsCodec) Hello(c Client) []byte {
	if len(c.Groups) == 0 {
		return nil
	}
	return appendNames([]byte(`{"op":"join","groups":`), c.Groups, "}")
}

// appendNames appends the groups' names as a JSON array, and what follows it.
func appendNames(dst []byte, groups []uint32, end string) []byte {
	dst = append(dst, '[')
	for i, g := range groups {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendUint(append(dst, `"bench.`...), uint64(g), 10), '"')
	}
	return append(append(dst, ']'), end...)
}

// Confirms is one for each group; for who joins nothing the upgrade is all.
func (wsCodec) Confirms(c Client) int { return len(c.Groups) }

// Hear takes how many groups were joined or left.
func (wsCodec) Hear(_ Client, payload []byte) (h Heard) {
	for _, of := range []struct {
		prefix string
		count  *int
	}{{`{"op":"joined","count":`, &h.Joined}, {`{"op":"left","count":`, &h.Left}} {
		if number, ok := bytes.CutPrefix(payload, []byte(of.prefix)); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSuffix(number, []byte("}"))), 10, 16)
			if err != nil {
				return Heard{Err: errRefused("ws", payload)}
			}
			*of.count = int(n)
			return h
		}
	}
	return Heard{Err: errRefused("ws", payload)}
}

// Join joins one group.
func (wsCodec) Join(dst []byte, group uint32) []byte {
	return appendNames(append(dst, `{"op":"join","groups":`...), []uint32{group}, "}")
}

// Leave leaves one group.
func (wsCodec) Leave(dst []byte, group uint32) []byte {
	return appendNames(append(dst, `{"op":"leave","groups":`...), []uint32{group}, "}")
}

// Publish sends to a group; anybody may.
func (wsCodec) Publish(dst []byte, group uint32, payload []byte) []byte {
	return fmt.Appendf(dst, `{"op":"send","group":"bench.%d","data":"%s"}`, group, payload)
}

// Op is text.
func (wsCodec) Op() frame.Op { return frame.Text }

// PostAddr is the server itself.
func (w wsCodec) PostAddr() netip.AddrPort { return w.Spec.Post }

// Post is the route of both Node servers.
func (w wsCodec) Post(dst []byte, group uint32, payload []byte) []byte {
	return appendNodePost(dst, w.Spec, group, payload)
}

func appendNodePost(dst []byte, s Spec, group uint32, payload []byte) []byte {
	body := fmt.Appendf(nil, `{"group":"bench.%d","data":"%s"}`, group, payload)
	return fmt.Appendf(dst, "POST /publish HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		s.Post, len(body), body)
}
