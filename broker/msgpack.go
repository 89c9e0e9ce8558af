package broker

import "encoding/binary"

// maxMsgpackDepth bounds nesting; every decoder we know takes at least as much.
const maxMsgpackDepth = 128

// validMsgpack reports whether b is exactly one well-formed MessagePack value (https://github.com/msgpack/msgpack/blob/master/spec.md).
// It allocates nothing and takes time in proportion to len(b): every element is at least one byte.
func validMsgpack(b []byte) bool {
	var left [maxMsgpackDepth]uint64 // values still to come, by depth
	depth := 0
	left[0] = 1
	for {
		for left[depth] == 0 {
			if depth == 0 {
				return len(b) == 0
			}
			depth--
		}
		left[depth]--
		size, children, ok := msgpackHead(b)
		if !ok || size > uint64(len(b)) {
			return false
		}
		b = b[size:]
		if children == 0 {
			continue
		}
		if children > uint64(len(b)) || depth+1 == maxMsgpackDepth {
			return false
		}
		depth++
		left[depth] = children
	}
}

// msgpackHead returns the bytes of one value without its children, and how many children follow.
func msgpackHead(b []byte) (size, children uint64, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	c := b[0]
	switch {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3:
		return 1, 0, true
	case c <= 0x8f:
		return 1, 2 * uint64(c&0x0f), true
	case c <= 0x9f:
		return 1, uint64(c & 0x0f), true
	case c <= 0xbf:
		return 1 + uint64(c&0x1f), 0, true
	case c == 0xc1:
		return 0, 0, false
	}
	switch c {
	case 0xc4, 0xd9: // bin 8, str 8
		n, ok := msgpackLen(b, 1)
		return 2 + n, 0, ok
	case 0xc5, 0xda:
		n, ok := msgpackLen(b, 2)
		return 3 + n, 0, ok
	case 0xc6, 0xdb:
		n, ok := msgpackLen(b, 4)
		return 5 + n, 0, ok
	case 0xc7: // ext 8: length, type, data
		n, ok := msgpackLen(b, 1)
		return 3 + n, 0, ok
	case 0xc8:
		n, ok := msgpackLen(b, 2)
		return 4 + n, 0, ok
	case 0xc9:
		n, ok := msgpackLen(b, 4)
		return 6 + n, 0, ok
	case 0xca, 0xce, 0xd2: // float 32, uint 32, int 32
		return 5, 0, true
	case 0xcb, 0xcf, 0xd3:
		return 9, 0, true
	case 0xcc, 0xd0:
		return 2, 0, true
	case 0xcd, 0xd1:
		return 3, 0, true
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext 1, 2, 4, 8, 16
		return 2 + 1<<(c-0xd4), 0, true
	case 0xdc:
		n, ok := msgpackLen(b, 2)
		return 3, n, ok
	case 0xdd:
		n, ok := msgpackLen(b, 4)
		return 5, n, ok
	case 0xde:
		n, ok := msgpackLen(b, 2)
		return 3, 2 * n, ok
	case 0xdf:
		n, ok := msgpackLen(b, 4)
		return 5, 2 * n, ok
	}
	return 0, 0, false
}

func msgpackLen(b []byte, bytes int) (uint64, bool) {
	if len(b) < 1+bytes {
		return 0, false
	}
	switch bytes {
	case 1:
		return uint64(b[1]), true
	case 2:
		return uint64(binary.BigEndian.Uint16(b[1:])), true
	}
	return uint64(binary.BigEndian.Uint32(b[1:])), true
}
