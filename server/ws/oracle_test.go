package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// oracle reads a stream with gobwas/ws and returns its events up to the first close frame, and the error that ended it (io.EOF at a message border).
func oracle(stream []byte, maxMessage int) (events []seen, err error) {
	control := func(h ws.Header, r io.Reader) error {
		payload, err := io.ReadAll(r)
		if err == nil && int64(len(payload)) < h.Length {
			err = io.ErrUnexpectedEOF
		}
		if err == nil && h.OpCode == ws.OpClose {
			err = oracleClose(payload)
		}
		if err != nil {
			return err
		}
		events = append(events, seen{Op(h.OpCode), string(payload)})
		if h.OpCode == ws.OpClose {
			return errClosed
		}
		return nil
	}
	rd := &wsutil.Reader{Source: bytes.NewReader(stream), State: ws.StateServerSide, CheckUTF8: true, MaxMessageSize: int64(maxMessage), OnIntermediate: control}
	for {
		h, err := rd.NextFrame()
		if err != nil {
			return events, err
		}
		if h.OpCode.IsControl() {
			if err := control(h, rd); err != nil {
				return events, err
			}
			continue
		}
		payload, err := io.ReadAll(rd)
		if err != nil {
			return events, err
		}
		events = append(events, seen{Op(h.OpCode), string(payload)})
	}
}

var errClosed = errors.New("close frame")

func oracleClose(payload []byte) error {
	if len(payload) == 0 {
		return nil
	}
	if len(payload) == 1 {
		return ws.ErrProtocolStatusCodeNotInUse
	}
	code := ws.StatusCode(binary.BigEndian.Uint16(payload))
	if code >= 1012 && code <= 1014 { // registered at IANA after RFC 6455; gobwas does not know them
		code = ws.StatusNormalClosure
	}
	return ws.CheckCloseFrameData(code, string(payload[2:]))
}

// stricter lists what we refuse and gobwas accepts.
var stricter = []*CloseError{
	errLengthMinimal, // RFC 6455 §5.2 wants the shortest form
	errControlLength, // the same, seen first: a control frame with a 16-bit length
	errCloseCode,     // 5000 and above
	errTooManyFrames, // gobwas has no such limit
}

// compare fails if the parser and gobwas disagree on a stream that arrives in chunks.
func compare(t testing.TB, stream []byte, maxMessage int, chunks [][]byte) {
	t.Helper()
	if maxMessage > 0 {
		maxMessage = max(maxMessage, maxControl) // gobwas counts control frames as messages
	}
	want, wantErr := oracle(bytes.Clone(stream), maxMessage)
	got, breach := feed(t, &Config{MaxMessage: maxMessage}, chunks...)

	unfinished := wantErr == io.EOF || errors.Is(wantErr, io.ErrUnexpectedEOF)
	switch {
	case breach != nil && slices.Contains(stricter, breach):
		// Up to there both say the same.
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("stream %x\nevents %s before %q, gobwas %s", stream, got, breach.Reason, want)
		}
		return
	case breach == errUTF8 && unfinished:
		// We refuse invalid text when it shows, gobwas at the end of the message.
	case breach != nil && unfinished && shortHeader(stream, breach):
		// We refuse a header by its first two bytes, gobwas when it is whole.
	case (breach == nil) != (unfinished || wantErr == errClosed):
		t.Fatalf("stream %x\nbreach %v, gobwas %v", stream, breach, wantErr)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("stream %x\nevents %s (%v), gobwas %s (%v)", stream, got, breach, want, wantErr)
	}
}

func shortHeader(stream []byte, breach *CloseError) bool {
	switch breach {
	case errRSV, errOpcode, errUnmasked, errControlFin, errControlLength, errContinuation, errInterleaved:
		return true
	}
	return false
}

// split cuts stream at sizes taken in turn; 0 takes all that is left.
func split(stream []byte, sizes []byte) (chunks [][]byte) {
	stream = bytes.Clone(stream)
	for i := 0; len(stream) > 0; i++ {
		n := len(stream)
		if len(sizes) > 0 && sizes[i%len(sizes)] > 0 {
			n = min(n, int(sizes[i%len(sizes)]))
		}
		chunks = append(chunks, stream[:n])
		stream = stream[n:]
	}
	return chunks
}

// texts are payloads that matter to UTF-8 checks, cut anywhere by the fragments.
var texts = [...]string{"", "a", "hello, world, this is longer than sixteen bytes", "κόσμε", "\xf0\x9f\x98\x80", "\xf0\x9f", "\x98\x80", "\xe2", "\x82\xac", "\xf4\x90", "\xff", "\xed\xa0\x80", "\x03\xe8bye", "\x03\xf4", "\x13\x88", "\x03"}

// script turns bytes into a stream of mostly well-formed frames: opcode and bits, payload, repetitions.
func script(b []byte) (stream []byte) {
	ops := [...]Op{OpText, OpContinuation, OpBinary, OpPing, OpPong, OpContinuation, OpText, OpClose}
	for len(b) >= 3 && len(stream) < 1<<16 {
		op := ops[b[0]&7]
		fin := b[0]&8 != 0 || op.control() && b[0]&0xf0 != 0
		payload := bytes.Repeat([]byte(texts[b[1]&15]), 1+int(b[2]&0x3f)*int(b[2]>>6))
		f := AppendMaskedFrame(nil, op, payload, [4]byte{b[0], b[1], b[2], 0x5a})
		if !fin {
			f[0] &^= bitFin
		}
		if b[0] == 0xff { // now and then a broken one
			f[int(b[1])%len(f)] ^= b[2]
		}
		stream = append(stream, f...)
		b = b[3:]
	}
	return stream
}

func TestParserAgreesWithGobwasOnRandomStreams(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, rnd.IntN(n))
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return b
	}
	n := 20_000
	if testing.Short() {
		n = 2_000
	}
	for range n {
		stream := script(random(36))
		if rnd.IntN(4) == 0 && len(stream) > 0 {
			stream = stream[:rnd.IntN(len(stream))]
		}
		compare(t, stream, 1<<rnd.IntN(16), split(stream, random(4)))
	}
}

// FuzzParserFrames feeds streams of mostly well-formed frames in any chunks, against gobwas/ws as oracle.
func FuzzParserFrames(f *testing.F) {
	f.Add([]byte{0x08, 2, 0, 0x0b, 1, 0, 0x0f, 12, 0}, []byte{1}, uint16(1000))
	f.Add([]byte{0x00, 3, 0, 0x0b, 1, 0, 0x01, 4, 0, 0x09, 7, 0}, []byte{3, 1}, uint16(0))
	f.Fuzz(func(t *testing.T, frames, cuts []byte, maxMessage uint16) {
		stream := script(frames)
		compare(t, stream, int(maxMessage), split(stream, cuts))
	})
}

// FuzzParser feeds any bytes in any chunks, against gobwas/ws as oracle.
func FuzzParser(f *testing.F) {
	f.Add(whole(OpText, "hello"), []byte{0})
	f.Add(joinFrames(frame(OpText, false, "\xe2"), whole(OpPing, "p"), frame(0, true, "\x82\xac")), []byte{1})
	f.Add(raw(0x82, []byte{127, 0x80, 0, 0, 0, 0, 0, 0, 1}, ""), []byte{2})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		compare(t, stream, 1<<16, split(stream, cuts))
	})
}
