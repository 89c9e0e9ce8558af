package broker

import (
	"bytes"
	"unicode/utf8"
)

// Message headers. Their values are percent-encoded where a byte is not visible ASCII, so that no byte of a user reaches a header
// line as it is; what cannot be an encoding stands for itself, so that plain values need none.
const (
	headerLine    = "NATS/1.0\r\n"
	headerFormat  = "Gc-Format"
	headerID      = "Gc-Id"
	headerFrom    = "Gc-From"
	headerConn    = "Gc-Conn"
	headerExclude = "Gc-Exclude"
	headerNode    = "Gc-Node"       // the instance that published on a lane; only nodes write and read it
	headerSeq     = "Nats-Sequence" // set by JetStream when it republishes
)

// maxHeaderValue bounds one decoded value; a Gc-Exclude of 100 conn ids fits. Encoded it takes up to three times as much.
const maxHeaderValue = 4096

const upperHex = "0123456789ABCDEF"

// maxHeaders bounds the size of m's header block.
func maxHeaders(m *Message) int {
	const lines = 128 // what is not a value
	return lines + 3*(len(m.ID)+len(m.From)+len(m.Conn)+len(m.Exclude))
}

// fitHeaders says whether every reader takes the header values of m.
func fitHeaders(m *Message) bool {
	return fitsHeader(m.ID) && fitsHeader(m.From) && fitsHeader(m.Conn) && fitsHeader(m.Exclude) && int(m.Format) < len(formatNames)
}

func fitsHeader(value []byte) bool { return len(value) <= maxHeaderValue && utf8.Valid(value) }

// appendHeaders writes the block of m, published by node, with the empty line that ends it.
func appendHeaders(dst []byte, m *Message, node string) []byte {
	dst = append(dst, headerLine+headerNode+": "...)
	dst = append(dst, node...)
	dst = append(dst, crlf...)
	if m.Format != FormatJSON {
		dst = append(dst, headerFormat+": "...)
		dst = append(dst, m.Format.String()...)
		dst = append(dst, crlf...)
	}
	dst = appendHeader(dst, headerID, m.ID)
	dst = appendHeader(dst, headerFrom, m.From)
	dst = appendHeader(dst, headerConn, m.Conn)
	dst = appendHeader(dst, headerExclude, m.Exclude)
	return append(dst, crlf...)
}

func appendHeader(dst []byte, key string, value []byte) []byte {
	if len(value) == 0 {
		return dst
	}
	dst = append(dst, key...)
	dst = append(dst, ": "...)
	for _, c := range value {
		if visible(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return append(dst, crlf...)
}

func visible(c byte) bool { return c > ' ' && c < 0x7f && c != '%' }

// appendValue decodes a header's value.
func appendValue(dst, value []byte) []byte {
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			hi, lo := unhex(value[i+1]), unhex(value[i+2])
			if hi < 16 && lo < 16 {
				dst = append(dst, hi<<4|lo)
				i += 2
				continue
			}
		}
		dst = append(dst, value[i])
	}
	return dst
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

// headerReader decodes header blocks into a Message, its values into a scratch buffer that the next read overwrites.
type headerReader struct {
	scratch []byte
	node    []byte // Gc-Node of the last block, as it stands there
}

// read fills m from block. It returns what is wrong in words for the publisher, or "".
func (h *headerReader) read(block []byte, m *Message) (bad string) {
	h.scratch, h.node = h.scratch[:0], nil
	rest, ok := bytes.CutPrefix(block, []byte("NATS/1.0"))
	if !ok {
		return "the header block is not NATS/1.0"
	}
	// the rest of the first line is a status, which only servers send
	i := bytes.IndexByte(rest, '\n')
	if i < 0 {
		return "the header block has no end"
	}
	rest = rest[i+1:]
	for len(rest) > 0 {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return "the header block has no end"
		}
		line := bytes.TrimSuffix(rest[:i], crlf[:1])
		rest = rest[i+1:]
		if len(line) == 0 {
			return ""
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 {
			return "a header has no colon"
		}
		key, value := line[:colon], bytes.TrimSpace(line[colon+1:])
		if bad := h.field(key, value, m); bad != "" {
			return bad
		}
	}
	return ""
}

func (h *headerReader) field(key, value []byte, m *Message) (bad string) {
	var to *[]byte
	switch string(key) {
	case headerFormat:
		f, ok := ParseFormat(string(value))
		if !ok {
			return "Gc-Format must be json, text, binary or msgpack"
		}
		m.Format = f
		return ""
	case headerSeq:
		m.Seq, _ = number(value)
		return ""
	case headerNode:
		h.node = value
		return ""
	case headerID:
		to = &m.ID
	case headerFrom:
		to = &m.From
	case headerConn:
		to = &m.Conn
	case headerExclude:
		to = &m.Exclude
	default:
		return ""
	}
	if len(value) > 3*maxHeaderValue {
		return "a Gc- header is longer than 4096 bytes"
	}
	start := len(h.scratch)
	if cap(h.scratch)-start < len(value) { // values before keep the old array
		h.scratch = make([]byte, 0, 2*cap(h.scratch)+len(value)+512)
		start = 0
	}
	h.scratch = appendValue(h.scratch, value)
	v := h.scratch[start:len(h.scratch):len(h.scratch)]
	if len(v) > maxHeaderValue {
		return "a Gc- header is longer than 4096 bytes"
	}
	if !utf8.Valid(v) {
		return "a Gc- header is not UTF-8"
	}
	*to = v
	return ""
}

// noResponders says whether block is the server's status 503 for a request that nobody heard.
func noResponders(block []byte) bool { return bytes.HasPrefix(block, []byte("NATS/1.0 503")) }
