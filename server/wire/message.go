package wire

import (
	"encoding/base64"
	"errors"
	"strconv"
)

// Formats of a message's data, in the order of broker.Format.
const (
	FormatJSON byte = iota
	FormatText
	FormatBinary
	FormatMsgpack
)

// Message is one message of a group.
type Message struct {
	Group  []byte // name
	Data   []byte // in Format
	From   []byte // user id of the sender; empty = a backend, left out
	Format byte
	Seq    uint64 // durable groups; 0 is left out
}

var errFormat = errors.New("message of unknown format")

// AppendMessage appends a message frame: JSON verbatim (the broker has checked it; empty is null), text as a string, binary as base64 with
// "format":"binary", msgpack converted with [AppendMsgpack]. On error (invalid msgpack, unknown format) dst is returned as it was and the message
// cannot be delivered.
func AppendMessage(dst []byte, m *Message) ([]byte, error) {
	out := appendString(append(dst, `{"op":"message","group":`...), m.Group)
	out = append(out, `,"data":`...)
	switch m.Format {
	case FormatJSON:
		if len(m.Data) == 0 {
			out = append(out, "null"...)
		}
		out = append(out, m.Data...)
	case FormatText:
		out = appendString(out, m.Data)
	case FormatBinary:
		out = append(appendBase64(out, m.Data), `,"format":"binary"`...)
	case FormatMsgpack:
		var err error
		if out, err = AppendMsgpack(out, m.Data); err != nil {
			return dst, err
		}
	default:
		return dst, errFormat
	}
	if m.Seq != 0 {
		out = strconv.AppendUint(append(out, `,"seq":`...), m.Seq, 10)
	}
	if len(m.From) != 0 {
		out = appendString(append(out, `,"from":`...), m.From)
	}
	return append(out, '}'), nil
}

// appendBase64 appends a JSON string with padded standard base64.
func appendBase64(dst, data []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}
