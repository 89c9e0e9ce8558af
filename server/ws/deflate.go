package ws

import (
	"compress/flate"
	"io"
	"math"
	"strings"
	"sync"
	"unicode/utf8"
)

// permessage-deflate, RFC 7692, without context takeover in either direction: each message is a stream of its own, so a conn keeps
// no window, and one compressed message serves all its receivers.

// What an answer that accepts compression says; the latter to an offer that asks for the window we have.
const (
	deflateAnswer       = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	deflateAnswerWindow = deflateAnswer + "; server_max_window_bits=15"
)

// NegotiateDeflate returns the Sec-WebSocket-Extensions of the answer to the first offer of that header that can be accepted, "" if
// there is none. An offer is passed over, as RFC 7692 §7 wants, if it has a parameter that is unknown, repeated or out of range, or
// asks for a window smaller than 32 KiB: the compressor has no other.
func NegotiateDeflate(extensions string) (answer string) {
	for extensions != "" {
		var offer string
		offer, extensions, _ = strings.Cut(extensions, ",")
		name, params, _ := strings.Cut(offer, ";")
		if !strings.EqualFold(trim(name), "permessage-deflate") {
			continue
		}
		if seen, ok := acceptableOffer(params); ok && seen&paramServerBits != 0 {
			return deflateAnswerWindow
		} else if ok {
			return deflateAnswer
		}
	}
	return ""
}

// Parameters of an offer, RFC 7692 §7.1, as bits.
const (
	paramServerTakeover = 1 << iota
	paramClientTakeover
	paramServerBits
	paramClientBits
)

func acceptableOffer(params string) (seen int, ok bool) {
	for params != "" {
		var param string
		param, params, _ = strings.Cut(params, ";")
		name, value, hasValue := strings.Cut(param, "=")
		name, value = trim(name), strings.Trim(trim(value), `"`)
		bit, good := 0, false
		switch {
		case strings.EqualFold(name, "server_no_context_takeover"):
			bit, good = paramServerTakeover, !hasValue
		case strings.EqualFold(name, "client_no_context_takeover"):
			bit, good = paramClientTakeover, !hasValue
		case strings.EqualFold(name, "server_max_window_bits"):
			bit, good = paramServerBits, value == "15"
		case strings.EqualFold(name, "client_max_window_bits"): // a hint; its window is smaller than ours or the same
			bit, good = paramClientBits, !hasValue || windowBits(value)
		}
		if !good || seen&bit != 0 {
			return 0, false
		}
		seen |= bit
	}
	return seen, true
}

// windowBits reports whether s is 8 to 15 without leading zeros.
func windowBits(s string) bool {
	return len(s) == 1 && s >= "8" && s <= "9" || len(s) == 2 && s >= "10" && s <= "15"
}

// deflateTail is what a sender takes off the end of a compressed message, RFC 7692 §7.2.1; behind it comes a final empty block, so
// that the reader sees the end.
const (
	deflateTail = "\x00\x00\xff\xff"
	inflateTail = deflateTail + "\x01\x00\x00\xff\xff"
)

// Inflate appends the message of a compressed event to dst. A message above limit bytes (0 = no limit) is refused when it passes it:
// dst grows with what has come out, never beyond limit. Text is checked.
func Inflate(dst []byte, ev Event, limit int) ([]byte, error) {
	if limit <= 0 {
		limit = math.MaxInt - 1 - len(dst)
	}
	in := inflaters.Get().(*inflater)
	start := len(dst)
	dst, err := in.inflate(dst, ev.Payload, start+limit)
	inflaters.Put(in)
	if err == nil && ev.Op == OpText && !utf8.Valid(dst[start:]) {
		err = errUTF8
	}
	if err != nil {
		return dst[:start], err
	}
	return dst, nil
}

// inflaters holds decompressors, about 45 KB each: as many as inflate at the same time.
var inflaters = sync.Pool{New: func() any {
	in := new(inflater)
	in.r = flate.NewReader(&in.src)
	return in
}}

type inflater struct {
	src compressed
	r   io.ReadCloser
}

// minInflate is the room a message is inflated into first.
const minInflate = 512

// inflate appends to dst until it would be longer than end. What Put leaves in the pool has no reference to payload.
func (in *inflater) inflate(dst, payload []byte, end int) ([]byte, error) {
	in.src = compressed{payload: payload, tail: inflateTail}
	defer func() { in.src = compressed{} }()
	if err := in.r.(flate.Resetter).Reset(&in.src, nil); err != nil {
		return dst, errDeflate
	}
	for {
		if len(dst) == cap(dst) {
			size := min(max(2*cap(dst), len(dst)+minInflate), end+1)
			dst = append(make([]byte, 0, size), dst...)
		}
		n, err := in.r.Read(dst[len(dst):min(cap(dst), end+1)])
		dst = dst[:len(dst)+n]
		switch {
		case len(dst) > end:
			return dst, errMessageTooBig
		case err == io.EOF && in.src.ended():
			return dst, nil
		case err != nil:
			return dst, errDeflate
		}
	}
}

// compressed is a message's payload with the tail its sender took off. It is an io.ByteReader, so that flate reads no byte too many.
type compressed struct {
	payload []byte
	tail    string
}

func (s *compressed) ReadByte() (byte, error) {
	if len(s.payload) > 0 {
		b := s.payload[0]
		s.payload = s.payload[1:]
		return b, nil
	}
	if s.tail == "" {
		return 0, io.EOF
	}
	b := s.tail[0]
	s.tail = s.tail[1:]
	return b, nil
}

func (s *compressed) Read(p []byte) (n int, err error) {
	if len(s.payload) > 0 {
		n = copy(p, s.payload)
		s.payload = s.payload[n:]
		return n, nil
	}
	if n = copy(p, s.tail); n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	s.tail = s.tail[n:]
	return n, nil
}

// ended reports whether the stream ended where the message does. A sender may end it itself, with a final block; then one zero byte
// follows, the begin of the block whose rest was taken off (RFC 7692 §7.2.3.4).
func (s *compressed) ended() bool {
	return len(s.payload) == 0 || len(s.payload) == 1 && s.payload[0] == 0
}

// DeflateFrame appends the compressed twin of an unmasked final data frame. What does not shrink grows by 5 bytes in 64 KiB and a few.
func DeflateFrame(dst, frame []byte) []byte {
	payload := frame[headerLen(frame[1]):]
	d := deflaters.Get().(*deflater)
	d.out = d.out[:0]
	d.w.Reset(d)
	// Neither can fail: d.Write does not.
	d.w.Write(payload)
	d.w.Flush()
	n := len(d.out) - len(deflateTail)
	dst = append(AppendHeader(dst, Op(frame[0]&0x0f)|bitRSV1, n), d.out[:n]...)
	if cap(d.out) > maxDeflateBuffer {
		d.out = nil
	}
	deflaters.Put(d)
	return dst
}

// maxDeflateBuffer is the largest output buffer that is kept.
const maxDeflateBuffer = 64 << 10

// deflaters holds compressors, about 800 KB each: as many as compress at the same time, at most one a loop. The fastest level is also
// the only one that begins a new message without clearing its tables of 650 KB.
var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.w, _ = flate.NewWriter(d, flate.BestSpeed) // fails on a bad level only
	return d
}}

type deflater struct {
	w   *flate.Writer
	out []byte
}

func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}
