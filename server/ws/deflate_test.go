package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws/wsflate"
)

func TestNegotiateDeflateTakesTheOffersItCanAnswer(t *testing.T) {
	for offer, want := range map[string]string{
		"permessage-deflate":                                                         deflateAnswer,
		"permessage-deflate; client_max_window_bits":                                 deflateAnswer, // browsers
		"Permessage-Deflate ;\tClient_Max_Window_Bits = 10":                          deflateAnswer,
		`permessage-deflate; client_max_window_bits="15"`:                            deflateAnswer,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover": deflateAnswer,
		"x-webkit-deflate-frame, permessage-deflate":                                 deflateAnswer,
		"permessage-deflate; server_max_window_bits=9, permessage-deflate":           deflateAnswer,
		"":                 "",
		"permessage-bzip2": "",
		"permessage-deflate; server_max_window_bits=9":                               "",
		"permessage-deflate; server_max_window_bits=15":                              deflateAnswerWindow,
		"permessage-deflate; client_max_window_bits=16":                              "",
		"permessage-deflate; client_max_window_bits=08":                              "",
		"permessage-deflate; client_max_window_bits=7":                               "",
		"permessage-deflate; client_max_window_bits; client_max_window_bits":         "",
		"permessage-deflate; server_no_context_takeover=1":                           "",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": "",
		"permessage-deflate; what":                                                   "",
		"permessage-deflate; =":                                                      "",
	} {
		if got := NegotiateDeflate(offer); got != want {
			t.Errorf("NegotiateDeflate(%q) = %q, want %q", offer, got, want)
		}
	}
}

// deflated compresses as any client may; final ends the stream in the message, RFC 7692 §7.2.3.4.
func deflated(t testing.TB, message string, level int, final bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, message)
	if final {
		w.Close()
		return append(b.Bytes(), 0)
	}
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(deflateTail))
}

func TestInflateTakesWhateverCompressorsSend(t *testing.T) {
	for _, message := range []string{"", "Hello", strings.Repeat("Hello, wörld. ", 10_000)} {
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			for _, final := range []bool{false, true} {
				got, err := Inflate([]byte("before "), Event{Op: OpText, Payload: deflated(t, message, level, final)}, len(message)+1)
				if err != nil || string(got) != "before "+message {
					t.Errorf("level %d, final %v: %d bytes, %v, want %d", level, final, len(got), err, len(message))
				}
			}
		}
	}
	// The examples of RFC 7692 §7.2.3.
	for _, p := range []string{
		"\xf2\x48\xcd\xc9\xc9\x07\x00", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
		"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
	} {
		if got, err := Inflate(nil, Event{Op: OpText, Payload: []byte(p)}, 5); err != nil || string(got) != "Hello" {
			t.Errorf("%x is %q, %v, want Hello", p, got, err)
		}
	}
}

func TestInflateRefusesWhatIsNoMessage(t *testing.T) {
	hello := string(deflated(t, "Hello", 6, false))
	for name, c := range map[string]struct {
		op      Op
		payload string
		want    *CloseError
	}{
		"nothing at all":              {OpBinary, "", errDeflate}, // an empty message is one zero byte, RFC 7692 §7.2.3.6
		"garbage":                     {OpBinary, "\xff\xff\xff", errDeflate},
		"half a block":                {OpBinary, hello[:3], errDeflate},
		"a distance before the start": {OpBinary, "\x4b\x04\x12\x00", errDeflate},
		"more behind the final block": {OpBinary, string(deflated(t, "Hello", 6, true)) + hello, errDeflate},
		"text that is not UTF-8":      {OpText, string(deflated(t, "\xff", 6, false)), errUTF8},
		"binary that is not UTF-8":    {OpBinary, string(deflated(t, "\xff", 6, false)), nil},
		"one byte too many":           {OpText, string(deflated(t, strings.Repeat("x", 101), 6, false)), errMessageTooBig},
		"as many bytes as it may":     {OpText, string(deflated(t, strings.Repeat("x", 100), 6, false)), nil},
	} {
		got, err := Inflate(nil, Event{Op: c.op, Payload: []byte(c.payload)}, 100)
		var breach *CloseError
		errors.As(err, &breach)
		if breach != c.want {
			t.Errorf("%s: %q, %v, want %v", name, got, err, c.want)
		}
	}
}

// TestInflateStopsABomb: 16 MiB of zeros in 16 KiB cost no more memory than the limit.
func TestInflateStopsABomb(t *testing.T) {
	bomb := deflated(t, strings.Repeat("\x00", 16<<20), 9, false)
	const limit = 64 << 10
	got, err := Inflate(nil, Event{Op: OpBinary, Payload: bomb}, limit)
	if err != errMessageTooBig {
		t.Fatalf("a bomb of %d bytes is %v, want %v", len(bomb), err, errMessageTooBig)
	}
	if cap(got) > limit+limit/4 {
		t.Errorf("%d bytes of memory for a limit of %d", cap(got), limit)
	}
}

func TestDeflateFrameMakesATwinThatInflates(t *testing.T) {
	for _, n := range []int{130, 1000, 70_000, 1 << 20} {
		message := strings.Repeat(`{"op":"message","group":"chat.7"}`, n/33+1)[:n]
		twin := DeflateFrame([]byte("x"), AppendFrame(nil, OpText, []byte(message)))
		if len(twin) > n/2+20 {
			t.Fatalf("%d bytes became %d", n, len(twin))
		}
		if twin = twin[1:]; twin[0] != bitFin|bitRSV1|byte(OpText) {
			t.Fatalf("first byte %#x", twin[0])
		}
		var p Parser
		var part *Partial
		p.AllowDeflate()
		ev, rest, ok, err := p.Next(twin, &Config{Client: true}, &part)
		if err != nil || !ok || len(rest) > 0 || !ev.Compressed {
			t.Fatalf("Next = %v %v %v", ev, ok, err)
		}
		if got, err := Inflate(nil, ev, n); err != nil || string(got) != message {
			t.Errorf("%d bytes came back as %d, %v", n, len(got), err)
		}
		out, err := wsflate.DefaultHelper.Decompress(ev.Payload)
		if err != nil || string(out) != message {
			t.Errorf("gobwas inflates %d bytes, %v", len(out), err)
		}
	}
	if out := DeflateFrame(nil, AppendFrame(nil, OpBinary, nil)); !bytes.Equal(out, []byte{bitFin | bitRSV1 | byte(OpBinary), 1, 0}) {
		t.Errorf("an empty message became %x, want one zero byte (RFC 7692 §7.2.3.6)", out)
	}
}

// TestRSV1MarksTheFirstFrameOfAMessage asks of a parser what RFC 7692 §6 says of the bit: on the first frame of a message, and only once negotiated.
func TestRSV1MarksTheFirstFrameOfAMessage(t *testing.T) {
	rsv1 := func(f []byte) []byte { f[0] |= bitRSV1; return f }
	hello := string(deflated(t, "Hello", 6, false))
	for name, c := range map[string]struct {
		off    bool
		stream []byte
		want   *CloseError
		events []Event
	}{
		"whole":             {stream: rsv1(whole(OpText, hello)), events: []Event{{OpText, []byte(hello), true}}},
		"in fragments":      {stream: joinFrames(rsv1(frame(OpText, false, hello[:2])), whole(OpPing, "p"), frame(0, true, hello[2:])), events: []Event{{OpPing, []byte("p"), false}, {OpText, []byte(hello), true}}},
		"then plain":        {stream: joinFrames(rsv1(whole(OpText, hello)), whole(OpText, "plain")), events: []Event{{OpText, []byte(hello), true}, {OpText, []byte("plain"), false}}},
		"plain checks text": {stream: joinFrames(rsv1(whole(OpText, hello)), whole(OpText, "\xff")), events: []Event{{OpText, []byte(hello), true}}, want: errUTF8},
		"not negotiated":    {off: true, stream: rsv1(whole(OpText, hello)), want: errRSV},
		"on a continuation": {stream: joinFrames(frame(OpText, false, "a"), rsv1(frame(0, true, "b"))), want: errRSV},
		"on a ping":         {stream: rsv1(whole(OpPing, "p")), want: errRSV},
		"on a close":        {stream: rsv1(whole(OpClose, "")), want: errRSV},
		"with RSV2":         {stream: func() []byte { f := rsv1(whole(OpText, hello)); f[0] |= 0x20; return f }(), want: errRSV},
	} {
		for _, size := range []byte{0, 1, 3} {
			var p Parser
			var part *Partial
			var breach *CloseError
			if !c.off {
				p.AllowDeflate()
			}
			var events []Event
			for _, chunk := range split(c.stream, []byte{size}) {
				for breach == nil {
					ev, rest, ok, err := p.Next(chunk, &Config{}, &part)
					errors.As(err, &breach)
					if !ok {
						break
					}
					ev.Payload = bytes.Clone(ev.Payload)
					events, chunk = append(events, ev), rest
				}
			}
			same := len(events) == len(c.events)
			for i := 0; same && i < len(events); i++ {
				same = events[i].Op == c.events[i].Op && events[i].Compressed == c.events[i].Compressed && bytes.Equal(events[i].Payload, c.events[i].Payload)
			}
			if breach != c.want || !same {
				t.Errorf("%s, in chunks of %d: %v, %v, want %v, %v", name, size, events, breach, c.events, c.want)
			}
			ReleasePartial(&part)
		}
	}
}

func TestInflateAllocatesThreeTimesAtMost(t *testing.T) {
	ev := Event{Op: OpText, Payload: deflated(t, strings.Repeat("Hello ", 500), 6, false)}
	dst := make([]byte, 0, 4096)
	wantAllocs(t, 3, func() { // flate's tables of a dynamic block
		if _, err := Inflate(dst, ev, 4000); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzInflate: any bytes, against compress/flate read to its end; and what inflates, deflates to the same.
func FuzzInflate(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"), uint16(5))
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), uint16(100))
	f.Add([]byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, payload []byte, limit uint16) {
		got, err := Inflate(nil, Event{Op: OpBinary, Payload: payload}, int(limit))
		if limit > 0 && (len(got) > int(limit) || cap(got) > max(2*int(limit), 1024)) {
			t.Fatalf("%d bytes, room for %d, above the limit of %d", len(got), cap(got), limit)
		}
		in := bytes.NewReader(append(bytes.Clone(payload), inflateTail...))
		want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(in), 4<<20))
		left := in.Len() - len(inflateTail)
		switch {
		case err == nil:
			if wantErr != nil || !bytes.Equal(got, want) {
				t.Fatalf("%x: %d bytes, compress/flate %d, %v", payload, len(got), len(want), wantErr)
			}
		case err == errMessageTooBig:
			if len(want) <= int(limit) {
				t.Fatalf("%x: too big at %d, compress/flate %d bytes", payload, limit, len(want))
			}
		case wantErr == nil && left <= 0 && len(want) < 4<<20:
			t.Fatalf("%x: %v, compress/flate %d bytes", payload, err, len(want))
		}
		if err != nil {
			return
		}
		twin := DeflateFrame(nil, AppendFrame(nil, OpBinary, got))
		back, err := Inflate(nil, Event{Op: OpBinary, Payload: twin[headerLen(twin[1]):]}, len(got))
		if err != nil || !bytes.Equal(back, got) {
			t.Fatalf("%d bytes came back as %d, %v", len(got), len(back), err)
		}
	})
}

func BenchmarkDeflateFrame(b *testing.B) {
	frame := AppendFrame(nil, OpText, []byte(strings.Repeat(`{"op":"message","group":"chat.7","data":{"text":"to be or not"}}`, 16)))
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst = DeflateFrame(dst[:0], frame)
	}
}
