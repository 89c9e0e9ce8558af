package wire

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"sync"
	"time"
)

// Refusals of msgpack data.
var (
	errMsgpackShort   = errors.New("msgpack data ends inside a value")
	errMsgpackRest    = errors.New("msgpack data has bytes behind its value")
	errMsgpackInvalid = errors.New("msgpack data has a byte that begins no value")
	errMsgpackDeep    = errors.New("msgpack data is nested deeper than 512 levels")
	errMsgpackKey     = errors.New("msgpack data has an array or a map as key of a map")
	errMsgpackTime    = errors.New("msgpack data has a timestamp that is out of range")
)

// AppendMsgpack appends one msgpack value as JSON: binary and extension data as base64, timestamps as RFC 3339, NaN and infinities as null, keys that are
// no strings as strings of their JSON. The output has at most 8 times the input's bytes. On error dst is returned as it was.
func AppendMsgpack(dst, data []byte) ([]byte, error) {
	m := msgpack{in: data}
	out, err := m.value(dst, 0)
	if err == nil && len(m.in) > 0 {
		err = errMsgpackRest
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// scratch holds buffers for ValidMsgpack; those above keepScratch are dropped.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// ValidMsgpack reports whether [AppendMsgpack] takes data.
func ValidMsgpack(data []byte) bool {
	buf := scratch.Get().(*[]byte)
	out, err := AppendMsgpack((*buf)[:0], data)
	if cap(out) <= keepScratch {
		*buf = out
	}
	scratch.Put(buf)
	return err == nil
}

// msgpack is what is left to convert.
type msgpack struct{ in []byte }

// take cuts n bytes off the input.
func (m *msgpack) take(n uint64) ([]byte, error) {
	if n > uint64(len(m.in)) {
		return nil, errMsgpackShort
	}
	b := m.in[:n]
	m.in = m.in[n:]
	return b, nil
}

// uint takes a big-endian integer of n bytes.
func (m *msgpack) uint(n uint64) (uint64, error) {
	b, err := m.take(n)
	if err != nil {
		return 0, err
	}
	var v [8]byte
	copy(v[8-n:], b)
	return binary.BigEndian.Uint64(v[:]), nil
}

// value converts the next value. The spec is msgpack's spec.md of 2017-08-09.
func (m *msgpack) value(dst []byte, depth int) ([]byte, error) {
	head, err := m.take(1)
	if err != nil {
		return dst, err
	}
	switch c := head[0]; {
	case c <= 0x7f:
		return appendInt(dst, int64(c)), nil
	case c <= 0x8f:
		return m.object(dst, uint64(c&0xf), depth)
	case c <= 0x9f:
		return m.array(dst, uint64(c&0xf), depth)
	case c <= 0xbf:
		return m.str(dst, uint64(c&0x1f))
	case c >= 0xe0:
		return appendInt(dst, int64(int8(c))), nil
	case c == 0xc0:
		return append(dst, "null"...), nil
	case c == 0xc2:
		return append(dst, "false"...), nil
	case c == 0xc3:
		return append(dst, "true"...), nil
	case c == 0xc1:
		return dst, errMsgpackInvalid
	case c >= 0xd4 && c <= 0xd8: // fixext 1, 2, 4, 8, 16
		return m.ext(dst, 1<<(c-0xd4))
	default:
		n, err := m.uint(sizes[c-0xc4])
		if err != nil {
			return dst, err
		}
		return m.sized(dst, c, n, depth)
	}
}

// sizes is how many bytes of length or number follow the heads 0xc4 to 0xdf; fixext has none.
var sizes = [...]uint64{
	1, 2, 4, // bin
	1, 2, 4, // ext
	4, 8, // float
	1, 2, 4, 8, // uint
	1, 2, 4, 8, // int
	0, 0, 0, 0, 0, // fixext
	1, 2, 4, // str
	2, 4, // array
	2, 4, // map
}

// sized converts what has a length or a number n behind its head c.
func (m *msgpack) sized(dst []byte, c byte, n uint64, depth int) ([]byte, error) {
	switch c {
	case 0xc4, 0xc5, 0xc6:
		b, err := m.take(n)
		if err != nil {
			return dst, err
		}
		return appendBase64(dst, b), nil
	case 0xc7, 0xc8, 0xc9:
		return m.ext(dst, n)
	case 0xca:
		return appendFloat(dst, float64(math.Float32frombits(uint32(n))), 32), nil
	case 0xcb:
		return appendFloat(dst, math.Float64frombits(n), 64), nil
	case 0xcc, 0xcd, 0xce, 0xcf:
		return strconv.AppendUint(dst, n, 10), nil
	case 0xd0:
		return appendInt(dst, int64(int8(n))), nil
	case 0xd1:
		return appendInt(dst, int64(int16(n))), nil
	case 0xd2:
		return appendInt(dst, int64(int32(n))), nil
	case 0xd3:
		return appendInt(dst, int64(n)), nil
	case 0xd9, 0xda, 0xdb:
		return m.str(dst, n)
	case 0xdc, 0xdd:
		return m.array(dst, n, depth)
	default:
		return m.object(dst, n, depth)
	}
}

func (m *msgpack) str(dst []byte, n uint64) ([]byte, error) {
	b, err := m.take(n)
	if err != nil {
		return dst, err
	}
	return appendString(dst, b), nil
}

// array converts n values. A declared length costs nothing: each value takes at least one byte of input.
func (m *msgpack) array(dst []byte, n uint64, depth int) ([]byte, error) {
	if depth == maxDepth {
		return dst, errMsgpackDeep
	}
	dst = append(dst, '[')
	var err error
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = m.value(dst, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func (m *msgpack) object(dst []byte, n uint64, depth int) ([]byte, error) {
	if depth == maxDepth {
		return dst, errMsgpackDeep
	}
	dst = append(dst, '{')
	var err error
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = m.key(dst); err != nil {
			return dst, err
		}
		dst = append(dst, ':')
		if dst, err = m.value(dst, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// key converts a key: what is no string in JSON is quoted.
func (m *msgpack) key(dst []byte) ([]byte, error) {
	if len(m.in) == 0 {
		return dst, errMsgpackShort
	}
	if c := m.in[0]; c >= 0x80 && c <= 0x9f || c >= 0xdc && c <= 0xdf {
		return dst, errMsgpackKey
	}
	start := len(dst)
	dst, err := m.value(append(dst, '"'), maxDepth)
	if err != nil {
		return dst, err
	}
	if dst[start+1] == '"' { // it has quotes of its own
		return append(dst[:start], dst[start+1:]...), nil
	}
	return append(dst, '"'), nil
}

// ext converts an extension of n bytes: type -1 is a timestamp.
func (m *msgpack) ext(dst []byte, n uint64) ([]byte, error) {
	kind, err := m.take(1)
	if err != nil {
		return dst, err
	}
	b, err := m.take(n)
	if err != nil {
		return dst, err
	}
	if int8(kind[0]) != -1 {
		return appendBase64(dst, b), nil
	}
	var t time.Time
	switch len(b) {
	case 4:
		t = time.Unix(int64(binary.BigEndian.Uint32(b)), 0)
	case 8:
		v := binary.BigEndian.Uint64(b)
		t = time.Unix(int64(v&(1<<34-1)), int64(v>>34))
		if v>>34 > 999_999_999 {
			return dst, errMsgpackTime
		}
	case 12:
		nano, sec := binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:]))
		const years = 400_000_000_000 // seconds, more than RFC 3339 can say
		if nano > 999_999_999 || sec > years || sec < -years {
			return dst, errMsgpackTime
		}
		t = time.Unix(sec, int64(nano))
	default:
		return dst, errMsgpackTime
	}
	if t = t.UTC(); t.Year() < 0 || t.Year() > 9999 {
		return dst, errMsgpackTime
	}
	dst = t.AppendFormat(append(dst, '"'), time.RFC3339Nano)
	return append(dst, '"'), nil
}

// appendFloat appends a number as encoding/json does: plain digits between 1e-6 and 1e21, otherwise the shortest exponent.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' { // e-09 is e-9
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
