package ws

// Op is a frame's opcode, RFC 6455 §5.2.
type Op byte

const (
	OpContinuation Op = 0x0
	OpText         Op = 0x1
	OpBinary       Op = 0x2
	OpClose        Op = 0x8
	OpPing         Op = 0x9
	OpPong         Op = 0xa
)

// HeaderSize returns the size of an unmasked frame header for a payload of n bytes.
func HeaderSize(n int) int { panic("stub") }

// AppendHeader appends the header of an unmasked final frame whose payload of n bytes the caller appends next.
func AppendHeader(dst []byte, op Op, n int) []byte { panic("stub") }

// AppendFrame appends a whole unmasked final frame.
func AppendFrame(dst []byte, op Op, payload []byte) []byte { panic("stub") }

// BeginFrame appends room for a header; the caller appends the payload, then calls EndFrame with the length dst had before BeginFrame.
func BeginFrame(dst []byte) []byte { panic("stub") }

// EndFrame turns what was appended since BeginFrame into an unmasked final frame.
func EndFrame(dst []byte, start int, op Op) []byte { panic("stub") }

// AppendCloseFrame appends a close frame. Code 0 or 1005 sends an empty payload; a reason is cut to 123 bytes at a rune boundary.
func AppendCloseFrame(dst []byte, code int, reason string) []byte { panic("stub") }

// AppendClosePayload appends the payload of a close frame.
func AppendClosePayload(dst []byte, code int, reason string) []byte { panic("stub") }

// AppendMaskedFrame appends a final frame as a client sends it. payload is not changed.
func AppendMaskedFrame(dst []byte, op Op, payload []byte, mask [4]byte) []byte { panic("stub") }

// ParseClose splits a checked close payload; an empty one is code 1005.
func ParseClose(payload []byte) (code int, reason []byte) { panic("stub") }

// CheckCloseCode reports whether a peer may send code in a close frame.
func CheckCloseCode(code int) bool { panic("stub") }
