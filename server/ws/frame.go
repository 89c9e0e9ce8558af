package ws

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Op is a frame's opcode, RFC 6455 §5.2.
type Op byte

// The opcodes of RFC 6455; all others are reserved and refused.
const (
	OpContinuation Op = 0x0
	OpText         Op = 0x1
	OpBinary       Op = 0x2
	OpClose        Op = 0x8
	OpPing         Op = 0x9
	OpPong         Op = 0xa
)

func (op Op) String() string {
	switch op {
	case OpContinuation:
		return "continuation"
	case OpText:
		return "text"
	case OpBinary:
		return "binary"
	case OpClose:
		return "close"
	case OpPing:
		return "ping"
	case OpPong:
		return "pong"
	}
	return "opcode " + strconv.Itoa(int(op))
}

func (op Op) control() bool { return op&0x8 != 0 }

const (
	bitFin     = 0x80
	bitsRSV    = 0x70
	bitRSV1    = 0x40 // the message is compressed, RFC 7692 §6
	bitMask    = 0x80
	len16      = 126     // length field: 2 more bytes follow
	len64      = 127     // length field: 8 more bytes follow
	maxLen16   = 1 << 16 // first length that needs 8 bytes
	maxControl = 125     // payload of a control frame, RFC 6455 §5.5
	maxReason  = maxControl - 2
)

// HeaderSize returns the size of an unmasked frame header for a payload of n bytes.
func HeaderSize(n int) int {
	switch {
	case n < len16:
		return 2
	case n < maxLen16:
		return 4
	default:
		return 10
	}
}

// AppendHeader appends the header of an unmasked final frame whose payload of n bytes the caller appends next.
func AppendHeader(dst []byte, op Op, n int) []byte { return appendHeader(dst, op, n, 0) }

func appendHeader(dst []byte, op Op, n int, mask byte) []byte {
	dst = append(dst, bitFin|byte(op))
	switch {
	case n < len16:
		return append(dst, mask|byte(n))
	case n < maxLen16:
		return binary.BigEndian.AppendUint16(append(dst, mask|len16), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, mask|len64), uint64(n))
	}
}

// AppendFrame appends a whole unmasked final frame.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// beginRoom fits the most common frames (126 bytes to 64 KiB) without moving their payload.
const beginRoom = 4

// BeginFrame appends room for a header; the caller appends the payload, then calls EndFrame with the length dst had before BeginFrame.
// It serves encoders that know the payload's length only when they are done.
func BeginFrame(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

// EndFrame turns what was appended since BeginFrame into an unmasked final frame.
func EndFrame(dst []byte, start int, op Op) []byte {
	n := len(dst) - start - beginRoom
	size := HeaderSize(n)
	if size > beginRoom {
		var room [10 - beginRoom]byte
		dst = append(dst, room[:]...)
	}
	if size != beginRoom {
		copy(dst[start+size:], dst[start+beginRoom:start+beginRoom+n])
	}
	AppendHeader(dst[:start], op, n)
	return dst[:start+size+n]
}

// AppendCloseFrame appends a close frame. Code 0 or 1005 sends an empty payload; a reason is cut to 123 bytes at a rune boundary.
func AppendCloseFrame(dst []byte, code int, reason string) []byte {
	start := len(dst)
	dst = append(dst, bitFin|byte(OpClose), 0)
	dst = AppendClosePayload(dst, code, reason)
	dst[start+1] = byte(len(dst) - start - 2)
	return dst
}

// AppendClosePayload appends the payload of a close frame, with the rules of [AppendCloseFrame].
func AppendClosePayload(dst []byte, code int, reason string) []byte {
	if code == 0 || code == 1005 {
		return dst
	}
	if !utf8.ValidString(reason) {
		reason = strings.ToValidUTF8(reason, "\uFFFD")
	}
	if len(reason) > maxReason {
		end := maxReason
		for !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// AppendMaskedFrame appends a final frame as a client sends it. payload is not changed.
func AppendMaskedFrame(dst []byte, op Op, payload []byte, mask [4]byte) []byte {
	dst = appendHeader(dst, op, len(payload), bitMask)
	dst = append(dst, mask[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[start:], mask, 0)
	return dst
}

// ParseClose splits a close payload that the parser has checked; an empty one is code 1005 (no code received).
func ParseClose(payload []byte) (code int, reason []byte) {
	if len(payload) < 2 {
		return 1005, nil
	}
	return int(binary.BigEndian.Uint16(payload)), payload[2:]
}

// CheckCloseCode reports whether a peer may send code in a close frame: RFC 6455 §7.4, and 1012 to 1014 which IANA registered later.
// 1004, 1005, 1006 and 1015 never appear on the wire.
func CheckCloseCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	default:
		return code >= 3000 && code <= 4999
	}
}
