package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Op is a frame's opcode, RFC 6455 §5.2.
type Op byte

// The opcodes.
const (
	Continuation Op = 0x0
	Text         Op = 0x1
	Binary       Op = 0x2
	Close        Op = 0x8
	Ping         Op = 0x9
	Pong         Op = 0xA
)

// MaxMessage bounds a message from the server, fragments together, in bytes. NATS puts all that waits for a client into one, up to
// 64 MiB.
const MaxMessage = 65 << 20

// What a server may not send.
var (
	ErrReserved = errors.New("frame with reserved bits or opcode")
	ErrMasked   = errors.New("masked frame from a server")
	ErrControl  = errors.New("control frame that is long or fragmented")
	ErrOrder    = errors.New("continuation without a start, or a start inside a message")
	ErrTooLarge = fmt.Errorf("message over %d bytes", MaxMessage)
)

// Scanner cuts what a server sends into messages. The zero value is ready; it holds memory only while a frame or a fragmented
// message is incomplete. One goroutine uses it.
type Scanner struct {
	held    []byte // begin of a frame that is not whole
	message []byte // fragments so far
	op      Op     // of the fragmented message; 0 = none
}

// Scan takes the next bytes and calls each for every whole message and control frame in them. The payload is valid until each
// returns. After an error the scanner is of no use.
func (s *Scanner) Scan(b []byte, each func(op Op, payload []byte)) error {
	if len(s.held) > 0 {
		s.held = append(s.held, b...)
		b = s.held
	}
	for {
		n, err := s.frame(b, each)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		b = b[n:]
	}
	if len(b) == 0 {
		s.held = nil
	} else {
		s.held = append(s.held[:0], b...)
	}
	return nil
}

// frame handles the first frame of b and returns its length, 0 if it is not whole.
func (s *Scanner) frame(b []byte, each func(op Op, payload []byte)) (int, error) {
	if len(b) < 2 {
		return 0, nil
	}
	op, fin, size, header := Op(b[0]&0x0f), b[0]&0x80 != 0, uint64(b[1]&0x7f), 2
	switch {
	case b[0]&0x70 != 0 || op > Binary && op < Close || op > Pong:
		return 0, ErrReserved
	case b[1]&0x80 != 0:
		return 0, ErrMasked
	case op >= Close && (size > 125 || !fin):
		return 0, ErrControl
	case op == Continuation && s.op == 0, (op == Text || op == Binary) && s.op != 0:
		return 0, ErrOrder
	}
	switch size {
	case 126:
		if len(b) < 4 {
			return 0, nil
		}
		size, header = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return 0, nil
		}
		size, header = binary.BigEndian.Uint64(b[2:]), 10
	}
	if size > MaxMessage || op < Close && uint64(len(s.message))+size > MaxMessage {
		return 0, ErrTooLarge
	}
	end := header + int(size)
	if len(b) < end {
		return 0, nil
	}
	s.take(op, fin, b[header:end], each)
	return end, nil
}

func (s *Scanner) take(op Op, fin bool, payload []byte, each func(op Op, payload []byte)) {
	switch {
	case op >= Close || fin && op != Continuation:
		each(op, payload)
	case !fin:
		s.message = append(s.message, payload...)
		if op != Continuation {
			s.op = op
		}
	default:
		s.message = append(s.message, payload...)
		each(s.op, s.message)
		s.message, s.op = nil, 0
	}
}

// Append adds a whole client frame with the payload to dst, masked by mask.
func Append(dst []byte, op Op, payload []byte, mask [4]byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	dst = append(dst, mask[:]...)
	from := len(dst)
	dst = append(dst, payload...)
	for i := range payload {
		dst[from+i] ^= mask[i&3]
	}
	return dst
}

// AppendServer adds a whole server frame, not masked, to dst.
func AppendServer(dst []byte, op Op, payload []byte) []byte {
	dst = append(dst, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
	return append(dst, payload...)
}
