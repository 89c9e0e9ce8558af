package frame

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

type seen struct {
	op      Op
	payload string
}

func scan(chunks ...[]byte) (got []seen, err error) {
	var s Scanner
	for _, c := range chunks {
		if err = s.Scan(c, func(op Op, payload []byte) { got = append(got, seen{op, string(payload)}) }); err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestScannerReadsWhatGobwasWrites(t *testing.T) {
	long, huge := strings.Repeat("l", 200), strings.Repeat("h", 70000)
	var b bytes.Buffer
	for _, f := range []ws.Frame{
		ws.NewTextFrame([]byte("a")), ws.NewTextFrame(nil), ws.NewBinaryFrame([]byte(long)), ws.NewPingFrame([]byte("p")),
		ws.NewFrame(ws.OpText, false, []byte("one ")), ws.NewFrame(ws.OpContinuation, false, []byte("two ")),
		ws.NewPongFrame([]byte("between")), ws.NewFrame(ws.OpContinuation, true, []byte("three")),
		ws.NewTextFrame([]byte(huge)), ws.NewCloseFrame(ws.NewCloseFrameBody(1001, "bye")),
	} {
		if err := ws.WriteFrame(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	want := []seen{
		{Text, "a"}, {Text, ""}, {Binary, long}, {Ping, "p"}, {Pong, "between"}, {Text, "one two three"}, {Text, huge},
		{Close, "\x03\xe9bye"},
	}
	for _, size := range []int{1, 2, 3, 7, 100, 4096, b.Len()} {
		var chunks [][]byte
		for rest := b.Bytes(); len(rest) > 0; {
			n := min(size, len(rest))
			chunks, rest = append(chunks, rest[:n]), rest[n:]
		}
		if got, err := scan(chunks...); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("in chunks of %d: %d messages, %v, want %d", size, len(got), err, len(want))
		}
	}
}

func TestScannerRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   string
		want error
	}{
		{"reserved bit", "\xc1\x00", ErrReserved},
		{"reserved opcode", "\x83\x00", ErrReserved},
		{"reserved control opcode", "\x8b\x00", ErrReserved},
		{"masked frame", "\x81\x80\x00\x00\x00\x00", ErrMasked},
		{"long ping", "\x89\x7e\x00\x7e", ErrControl},
		{"fragmented ping", "\x09\x00", ErrControl},
		{"continuation of nothing", "\x80\x00", ErrOrder},
		{"start inside a message", "\x01\x01a\x81\x01b", ErrOrder},
		{"too large", "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", ErrTooLarge},
	} {
		if _, err := scan([]byte(tt.in)); !errors.Is(err, tt.want) {
			t.Errorf("%s: Scan = %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestScannerHoldsNothingBetweenFrames(t *testing.T) {
	var s Scanner
	in := AppendServer(nil, Text, make([]byte, 100))
	each := func(Op, []byte) {}
	if n := testing.AllocsPerRun(100, func() { _ = s.Scan(in, each) }); n != 0 {
		t.Errorf("Scan of a whole frame allocates %v times, want 0", n)
	}
	_ = s.Scan(in[:50], each)
	_ = s.Scan(in[50:], each)
	if s.held != nil || s.message != nil {
		t.Error("the scanner keeps memory after the last whole frame")
	}
}

func TestAppendIsReadByGobwas(t *testing.T) {
	for _, n := range []int{0, 125, 126, 65535, 65536} {
		want := bytes.Repeat([]byte{'x'}, n)
		got, err := wsutil.ReadClientText(bytes.NewBuffer(Append(nil, Text, want, [4]byte{1, 2, 3, 4})))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("a frame of %d bytes is not read back: %v", n, err)
		}
	}
}

func TestUpgraded(t *testing.T) {
	const good = "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: "
	for _, tt := range []struct {
		name, in, rest string
		whole          bool
		says           string
	}{
		{"accepted", good + accept + "\r\n\r\nrest", "rest", true, ""},
		{"not whole", good + accept + "\r\n", "", false, ""},
		{"refused", "HTTP/1.1 401 Unauthorized\r\n\r\n", "", true, "401 Unauthorized"},
		{"wrong key", good + "AAAA\r\n\r\n", "", true, "wrong Sec-WebSocket-Accept"},
		{"no key", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "", true, "without Sec-WebSocket-Accept"},
		{"endless", strings.Repeat("x", maxHead+1), "", false, "without an end"},
	} {
		rest, whole, err := Upgraded([]byte(tt.in))
		if string(rest) != tt.rest || whole != tt.whole || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: Upgraded = %q, %v, %v, want %q, %v, %q", tt.name, rest, whole, err, tt.rest, tt.whole, tt.says)
		}
	}
}

// FuzzScanner compares any bytes, cut anywhere, with the same bytes at once, and with gobwas/ws for as long as both agree that
// they are frames.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("\x81\x01a\x89\x00\x01\x01b\x80\x01c"), 2)
	f.Add([]byte("\x82\x7e\x00\x80"), 1)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		whole, wholeErr := scan(b)
		size = 1 + size&0xff
		var chunks [][]byte
		for rest := b; len(rest) > 0; {
			n := min(size, len(rest))
			chunks, rest = append(chunks, bytes.Clone(rest[:n])), rest[n:]
		}
		cut, cutErr := scan(chunks...)
		if !reflect.DeepEqual(whole, cut) || !errors.Is(cutErr, wholeErr) {
			t.Fatalf("at once %v, %v; in chunks of %d %v, %v", whole, wholeErr, size, cut, cutErr)
		}
		if wholeErr == nil {
			if want := gobwasControls(b); !reflect.DeepEqual(controls(whole), want) {
				t.Fatalf("control frames %v, gobwas %v", controls(whole), want)
			}
		}
	})
}

func controls(all []seen) (c []seen) {
	for _, s := range all {
		if s.op >= Close {
			c = append(c, s)
		}
	}
	return c
}

func gobwasControls(b []byte) (c []seen) {
	for r := bytes.NewReader(b); ; {
		h, err := ws.ReadHeader(r)
		if err != nil || h.Length > int64(r.Len()) {
			return c
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return c
		}
		if h.OpCode.IsControl() {
			c = append(c, seen{Op(h.OpCode), string(payload)})
		}
	}
}
