package ws

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Config is what a parser enforces; one value serves all conns.
type Config struct {
	// MaxMessage is the largest message in bytes, all fragments together. 0 means no limit.
	MaxMessage int
	// MaxFragments is the largest number of frames in one message, empty ones included. 0 means [DefaultMaxFragments], negative no limit.
	MaxFragments int
	// MaxPartials is how many bytes the messages that have arrived in part may hold, those of all conns of the process together.
	// 0 means no limit.
	MaxPartials int64
	// Client expects unmasked frames, as a client receives them.
	Client bool
}

// DefaultMaxFragments is the limit of a zero MaxFragments.
const DefaultMaxFragments = 1024

func (c *Config) maxFragments() uint32 {
	switch {
	case c.MaxFragments == 0:
		return DefaultMaxFragments
	case c.MaxFragments < 0 || c.MaxFragments >= math.MaxUint32:
		return math.MaxUint32
	default:
		return uint32(c.MaxFragments)
	}
}

// CloseError is a peer's breach of the protocol, or [ErrNoRoom]. The conn is closed with Code, and Text as the reason.
type CloseError struct {
	Code   int    // 1002, 1007 or 1009; 1013 without a breach
	Reason string // stable snake_case word for logs and metrics
	Text   string // for the person who reads the close frame; less than 123 bytes
}

func (e *CloseError) Error() string { return e.Text }

// Every breach the parser knows. They are shared: a peer that breaks rules costs no allocation.
var (
	errRSV           = &CloseError{1002, "rsv_bits", "RSV bits set without an extension"}                          // RFC 6455 §5.2
	errOpcode        = &CloseError{1002, "reserved_opcode", "reserved opcode"}                                     // §5.2
	errUnmasked      = &CloseError{1002, "unmasked_frame", "frame from a client is not masked"}                    // §5.1
	errMasked        = &CloseError{1002, "masked_frame", "frame from a server is masked"}                          // §5.1
	errControlFin    = &CloseError{1002, "fragmented_control", "control frame is fragmented"}                      // §5.5
	errControlLength = &CloseError{1002, "control_too_long", "control frame is longer than 125 bytes"}             // §5.5
	errContinuation  = &CloseError{1002, "unexpected_continuation", "continuation frame without a message"}        // §5.4
	errInterleaved   = &CloseError{1002, "expected_continuation", "new message inside a fragmented one"}           // §5.4
	errLengthMSB     = &CloseError{1002, "length_msb", "frame length has its top bit set"}                         // §5.2
	errLengthMinimal = &CloseError{1002, "non_minimal_length", "frame length is not in its shortest form"}         // §5.2
	errCloseLength   = &CloseError{1002, "bad_close_payload", "close frame has half a code"}                       // §5.5.1
	errCloseCode     = &CloseError{1002, "bad_close_code", "close code is not allowed on the wire"}                // §7.4
	errDeflate       = &CloseError{1007, "bad_deflate", "compressed message is no deflate stream"}                 // RFC 7692 §7.2.2
	errCloseUTF8     = &CloseError{1007, "invalid_utf8_close", "close reason is not UTF-8"}                        // §8.1
	errUTF8          = &CloseError{1007, "invalid_utf8", "text message is not UTF-8"}                              // §8.1
	errMessageTooBig = &CloseError{1009, "message_too_big", "message is larger than this server accepts"}          // §7.4.1
	errTooManyFrames = &CloseError{1009, "too_many_fragments", "message has more frames than this server accepts"} // §10.4
)

// ErrNoRoom says that the peer did nothing wrong: MaxPartials is used up, by others perhaps. It may come back later.
var ErrNoRoom = &CloseError{1013, "partial_bytes", "too many messages are incomplete on this server; reconnect and send again"}

// CloseErrors lists every breach [Parser.Next] can report, for metrics that exist before the first one.
func CloseErrors() []*CloseError {
	return []*CloseError{errRSV, errOpcode, errUnmasked, errMasked, errControlFin, errControlLength, errContinuation, errInterleaved,
		errLengthMSB, errLengthMinimal, errCloseLength, errCloseCode, errCloseUTF8, errDeflate, errUTF8, errMessageTooBig, errTooManyFrames, ErrNoRoom}
}

// Event is one thing a peer said. Payload is valid until the next call of Next or [ReleasePartial].
type Event struct {
	Op      Op     // OpText, OpBinary: a whole message; OpPing, OpPong, OpClose
	Payload []byte // text is valid UTF-8; a close payload is checked, see [ParseClose]
	// Compressed says that Payload goes through [Inflate], which checks text, before it means anything.
	Compressed bool
}

const maxHeader = 14 // 2 + 8 bytes of length + 4 of mask

// Parser is the state of one conn's inbound stream. The zero value is ready. It holds no pointers, so a table of conns need not be scanned.
//
//	         header complete             payload complete
//	header ───────────────────► payload ──────────────────► header
//	  │        (control or data frame)      │ close frame
//	  └──────────── breach ─────────────────┴──────────────► dead: swallows everything
type Parser struct {
	left  uint64          // payload bytes of the current frame still to come
	frags uint32          // frames of the incomplete message so far
	mask  [4]byte         // rotated so that mask[0] meets the next payload byte
	hdr   [maxHeader]byte // header bytes that came without the rest
	hdrN  uint8
	op    Op    // of the current frame, with fin in flags
	msgOp Op    // of the incomplete message; 0 = none
	tail  uint8 // bytes at the end of incomplete text that begin a rune, 0 to 3
	flags uint8
}

const (
	flagFrame     = 1 << iota // inside a payload
	flagFin                   // the current frame is final
	flagDelivered             // the last event's payload lies in the Partial; free it on the next call
	flagDead
	flagDeflate    // permessage-deflate was negotiated
	flagCompressed // the message of the current or last data frame is compressed
)

// AllowDeflate makes the parser take compressed messages. Call it once, before the first byte.
func (p *Parser) AllowDeflate() { p.flags |= flagDeflate }

// Incomplete reports whether a frame or a fragmented message has begun and not ended. The caller bounds how long that may last.
func (p *Parser) Incomplete() bool {
	return p.flags&flagDead == 0 && (p.hdrN > 0 || p.flags&flagFrame != 0 || p.msgOp != 0)
}

// Next consumes from b and unmasks in place. ok is false when b is used up; otherwise call it again with rest.
// part is the conn's partial-message buffer: nil while nothing is incomplete. After a close event or an error the parser swallows everything.
// Next allocates nothing for frames that are wholly in b, and only pooled buffers otherwise.
func (p *Parser) Next(b []byte, cfg *Config, part **Partial) (ev Event, rest []byte, ok bool, err error) {
	if p.flags&flagDelivered != 0 {
		p.reclaim(part)
	}
	for len(b) > 0 && p.flags&flagDead == 0 {
		if p.flags&flagFrame == 0 {
			n, e := p.header(b, cfg, *part)
			if e != nil {
				return p.fail(e, part)
			}
			b = b[n:]
			if p.flags&flagFrame == 0 {
				break // header not complete
			}
			if p.whole(b) {
				payload := b[:p.left]
				b = b[p.left:]
				if !cfg.Client {
					ws.Cipher(payload, p.mask, 0)
				}
				p.flags &^= flagFrame
				ev, e = p.event(p.op, payload)
				if e != nil {
					return p.fail(e, part)
				}
				return ev, b, true, nil
			}
		}
		n := len(b)
		if uint64(n) > p.left {
			n = int(p.left)
		}
		done, e := p.collect(b[:n], cfg, part)
		if e != nil {
			return p.fail(e, part)
		}
		b = b[n:]
		if !done {
			continue
		}
		ev, ok, e = p.finish(part)
		if e != nil {
			return p.fail(e, part)
		}
		if ok {
			return ev, b, true, nil
		}
	}
	return Event{}, nil, false, nil
}

// reclaim frees what the last event's payload lay in.
func (p *Parser) reclaim(part **Partial) {
	p.flags &^= flagDelivered
	if p.msgOp == 0 || p.flags&flagDead != 0 {
		ReleasePartial(part)
	} else if q := *part; q != nil {
		q.buf = q.buf[:q.msg] // drop the control frame behind the message
	}
}

func (p *Parser) fail(e *CloseError, part **Partial) (Event, []byte, bool, error) {
	p.flags = flagDead
	ReleasePartial(part)
	return Event{}, nil, false, e
}

// header consumes a frame header from b, keeping it in hdr while it is short. When it is complete flagFrame is set.
func (p *Parser) header(b []byte, cfg *Config, part *Partial) (n int, err *CloseError) {
	h := b
	if p.hdrN > 0 || len(b) < 2 || len(b) < headerLen(b[1]) {
		for {
			need := 2
			if p.hdrN >= 2 {
				need = headerLen(p.hdr[1])
			}
			if int(p.hdrN) == need {
				break
			}
			if n == len(b) {
				return n, nil
			}
			p.hdr[p.hdrN] = b[n]
			p.hdrN++
			n++
			if p.hdrN == 2 {
				if err := p.checkStart(p.hdr[0], p.hdr[1], cfg.Client); err != nil {
					return n, err
				}
			}
		}
		h = p.hdr[:p.hdrN]
		p.hdrN = 0
	} else {
		if err := p.checkStart(b[0], b[1], cfg.Client); err != nil {
			return 0, err
		}
		n = headerLen(b[1])
		h = b[:n]
	}

	p.op = Op(h[0] & 0x0f)
	size, at := uint64(h[1]&0x7f), 2
	switch size {
	case len16:
		size, at = uint64(binary.BigEndian.Uint16(h[2:])), 4
		if size < len16 {
			return n, errLengthMinimal
		}
	case len64:
		size, at = binary.BigEndian.Uint64(h[2:]), 10
		if size>>63 != 0 {
			return n, errLengthMSB
		}
		if size < maxLen16 {
			return n, errLengthMinimal
		}
	}
	if !cfg.Client {
		p.mask = [4]byte(h[at:])
	}
	p.left = size
	p.flags |= flagFrame
	p.flags &^= flagFin
	if h[0]&bitFin != 0 {
		p.flags |= flagFin
	}
	if p.op.control() {
		return n, nil
	}
	if p.op != OpContinuation {
		p.flags &^= flagCompressed
		if h[0]&bitRSV1 != 0 {
			p.flags |= flagCompressed
		}
	}
	return n, p.startData(cfg, part)
}

// headerLen returns the length of a header from its second byte.
func headerLen(b1 byte) int {
	n := 2
	switch b1 & 0x7f {
	case len16:
		n = 4
	case len64:
		n = 10
	}
	if b1&bitMask != 0 {
		n += 4
	}
	return n
}

// checkStart refuses what the first two bytes of a frame show.
func (p *Parser) checkStart(b0, b1 byte, client bool) *CloseError {
	op := Op(b0 & 0x0f)
	if rsv := b0 & bitsRSV; rsv != 0 && (rsv != bitRSV1 || p.flags&flagDeflate == 0 || op != OpText && op != OpBinary) {
		return errRSV // RSV1 is the first frame's alone, RFC 7692 §6.1
	}
	if op&0x7 > 2 {
		return errOpcode
	}
	if client == (b1&bitMask != 0) {
		if client {
			return errMasked
		}
		return errUnmasked
	}
	switch {
	case op.control():
		if b0&bitFin == 0 {
			return errControlFin
		}
		if b1&0x7f > maxControl {
			return errControlLength
		}
	case op == OpContinuation:
		if p.msgOp == 0 {
			return errContinuation
		}
	case p.msgOp != 0:
		return errInterleaved
	}
	return nil
}

// startData checks a data frame against the limits before a byte of it is kept, and opens the message it belongs to.
func (p *Parser) startData(cfg *Config, part *Partial) *CloseError {
	have := 0
	if p.op == OpContinuation {
		if part != nil {
			have = part.msg
		}
	} else {
		p.frags = 0
	}
	if cfg.MaxMessage > 0 && uint64(have)+p.left > uint64(cfg.MaxMessage) {
		return errMessageTooBig
	}
	if p.frags++; p.frags > cfg.maxFragments() {
		return errTooManyFrames
	}
	return nil
}

// whole reports whether the current frame is an event by itself and all of it is in b: the fast path.
func (p *Parser) whole(b []byte) bool {
	return p.left <= uint64(len(b)) && (p.op.control() || p.op != OpContinuation && p.flags&flagFin != 0)
}

// collect unmasks a piece of the current frame and moves it to the Partial. done says that the frame is complete.
func (p *Parser) collect(b []byte, cfg *Config, part **Partial) (done bool, err *CloseError) {
	if !cfg.Client {
		ws.Cipher(b, p.mask, 0)
		p.mask = rotate(p.mask, len(b))
	}
	p.left -= uint64(len(b))
	done = p.left == 0
	if len(b) > 0 && !appendPartial(part, b, cfg) {
		return done, ErrNoRoom
	}
	if p.op.control() {
		return done, nil
	}
	if p.op != OpContinuation {
		p.msgOp = p.op
		p.op = OpContinuation
	}
	q := *part
	if q != nil {
		q.msg = len(q.buf)
	}
	if p.msgOp == OpText && p.flags&flagCompressed == 0 {
		if q != nil && !p.checkText(q.buf[q.msg-len(b)-int(p.tail):]) {
			return done, errUTF8
		}
		if done && p.flags&flagFin != 0 && p.tail != 0 {
			return done, errUTF8
		}
	}
	return done, nil
}

func rotate(mask [4]byte, n int) [4]byte {
	m := binary.LittleEndian.Uint32(mask[:])
	k := uint(n%4) * 8
	binary.LittleEndian.PutUint32(mask[:], m>>k|m<<(32-k))
	return mask
}

// checkText checks new text, which begins with the tail of the text before it, as far as runes are complete. Invalid text is refused as soon as it shows.
func (p *Parser) checkText(s []byte) bool {
	p.tail = 0
	for k := 1; k <= 3 && k <= len(s); k++ {
		if c := s[len(s)-k]; utf8.RuneStart(c) {
			if !utf8.FullRune(s[len(s)-k:]) {
				p.tail = uint8(k)
			}
			break
		}
	}
	return utf8.Valid(s[:len(s)-int(p.tail)])
}

// finish ends a frame that was collected. ok is false if the message goes on.
func (p *Parser) finish(part **Partial) (ev Event, ok bool, err *CloseError) {
	p.flags &^= flagFrame
	q := *part
	if p.op.control() {
		var payload []byte
		if q != nil {
			payload = q.buf[q.msg:]
		}
		p.flags |= flagDelivered
		ev, err = p.event(p.op, payload)
		return ev, err == nil, err
	}
	if p.flags&flagFin == 0 {
		return Event{}, false, nil
	}
	ev.Op, ev.Compressed = p.msgOp, p.flags&flagCompressed != 0
	if q != nil {
		ev.Payload = q.buf[:q.msg]
	}
	p.msgOp = 0
	p.tail = 0
	p.flags |= flagDelivered
	return ev, true, nil
}

// event checks a payload that is complete and unmasked.
func (p *Parser) event(op Op, payload []byte) (Event, *CloseError) {
	if !op.control() && p.flags&flagCompressed != 0 {
		return Event{Op: op, Payload: payload, Compressed: true}, nil
	}
	switch op {
	case OpText:
		if !utf8.Valid(payload) {
			return Event{}, errUTF8
		}
	case OpClose:
		if len(payload) == 1 {
			return Event{}, errCloseLength
		}
		if len(payload) >= 2 {
			code, reason := ParseClose(payload)
			if !CheckCloseCode(code) {
				return Event{}, errCloseCode
			}
			if !utf8.Valid(reason) {
				return Event{}, errCloseUTF8
			}
		}
		p.flags |= flagDead | flagDelivered
	}
	return Event{Op: op, Payload: payload}, nil
}
