package ws

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// seen is one event with its payload copied.
type seen struct {
	op      Op
	payload string
}

func (s seen) String() string { return fmt.Sprintf("%v %q", s.op, s.payload) }

// feed gives chunks to a fresh parser and returns the events and the breach, nil if none. It checks that nothing of the process's partial buffers is lost.
func feed(t testing.TB, cfg *Config, chunks ...[]byte) (events []seen, breach *CloseError) {
	t.Helper()
	before := PartialBytes()
	var p Parser
	var part *Partial
	for _, c := range chunks {
		rest := c
		for {
			ev, r, ok, err := p.Next(rest, cfg, &part)
			if err != nil {
				if ok || breach != nil || !errors.As(err, &breach) {
					t.Fatalf("Next = ok %v, %v after %v", ok, err, breach)
				}
				if part != nil || p.Incomplete() {
					t.Fatalf("a breach keeps a partial message")
				}
			}
			if !ok {
				break
			}
			events = append(events, seen{ev.Op, string(ev.Payload)})
			rest = r
		}
	}
	if !p.Incomplete() && p.flags&flagDead == 0 && part != nil {
		t.Fatalf("nothing incomplete, yet a partial buffer of %d bytes", cap(part.buf))
	}
	ReleasePartial(&part)
	if after := PartialBytes(); after != before {
		t.Fatalf("PartialBytes %d after, %d before", after, before)
	}
	return events, breach
}

// raw builds a frame from its parts, masked with a fixed key unless b1 says otherwise.
func raw(b0 byte, lengthField []byte, payload string) []byte {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	f := append([]byte{b0}, lengthField...)
	f[1] |= bitMask
	f = append(f, mask[:]...)
	for i := range len(payload) {
		f = append(f, payload[i]^mask[i%4])
	}
	return f
}

// frame builds a masked frame; fin false makes it a fragment.
func frame(op Op, fin bool, payload string) []byte {
	f := AppendMaskedFrame(nil, op, []byte(payload), [4]byte{0x37, 0xfa, 0x21, 0x3d})
	if !fin {
		f[0] &^= bitFin
	}
	return f
}

func whole(op Op, payload string) []byte { return frame(op, true, payload) }

func joinFrames(frames ...[]byte) []byte { return slices.Concat(frames...) }

func TestParserRules(t *testing.T) {
	long := strings.Repeat("€", 30000) // 90,000 bytes
	cfg := &Config{MaxMessage: 100_000, MaxFragments: 4}
	tests := []struct {
		name   string
		in     []byte
		want   []seen
		reason string
	}{
		{"text", whole(OpText, "hello"), []seen{{OpText, "hello"}}, ""},
		{"empty text", whole(OpText, ""), []seen{{OpText, ""}}, ""},
		{"binary that is no UTF-8", whole(OpBinary, "\xff\x00"), []seen{{OpBinary, "\xff\x00"}}, ""},
		{"text of 125 bytes", whole(OpText, long[:123]+"ab"), []seen{{OpText, long[:123] + "ab"}}, ""},
		{"text of 126 bytes", whole(OpText, long[:126]), []seen{{OpText, long[:126]}}, ""},
		{"text with a 64-bit length", whole(OpText, long), []seen{{OpText, long}}, ""},
		{"two messages in one read", joinFrames(whole(OpText, "a"), whole(OpBinary, "b")), []seen{{OpText, "a"}, {OpBinary, "b"}}, ""},
		{"ping and pong", joinFrames(whole(OpPing, "x"), whole(OpPong, "")), []seen{{OpPing, "x"}, {OpPong, ""}}, ""},
		{"ping of 125 bytes", whole(OpPing, long[:125]), []seen{{OpPing, long[:125]}}, ""},
		{"fragments", joinFrames(frame(OpText, false, "a"), frame(0, false, "b"), frame(0, true, "c")), []seen{{OpText, "abc"}}, ""},
		{"empty fragments", joinFrames(frame(OpText, false, ""), frame(0, false, ""), frame(0, true, "")), []seen{{OpText, ""}}, ""},
		{"rune over a fragment border", joinFrames(frame(OpText, false, "\xe2\x82"), frame(0, false, ""), frame(0, true, "\xac")), []seen{{OpText, "€"}}, ""},
		{"ping between fragments", joinFrames(frame(OpText, false, "a"), whole(OpPing, "p"), frame(0, true, "b")), []seen{{OpPing, "p"}, {OpText, "ab"}}, ""},
		{"message after a fragmented one", joinFrames(frame(OpBinary, false, "a"), frame(0, true, "b"), whole(OpText, "c")), []seen{{OpBinary, "ab"}, {OpText, "c"}}, ""},
		{"close", whole(OpClose, "\x03\xe8bye"), []seen{{OpClose, "\x03\xe8bye"}}, ""},
		{"close without code", whole(OpClose, ""), []seen{{OpClose, ""}}, ""},
		{"close 1012", whole(OpClose, "\x03\xf4"), []seen{{OpClose, "\x03\xf4"}}, ""},
		{"close 1014", whole(OpClose, "\x03\xf6"), []seen{{OpClose, "\x03\xf6"}}, ""},
		{"close 4999", whole(OpClose, "\x13\x87"), []seen{{OpClose, "\x13\x87"}}, ""},
		{"nothing counts after a close", joinFrames(whole(OpClose, ""), whole(OpText, "x"), []byte{0xff, 0xff}), []seen{{OpClose, ""}}, ""},
		{"close inside a fragmented message", joinFrames(frame(OpText, false, "a"), whole(OpClose, "")), []seen{{OpClose, ""}}, ""},

		{"RSV1", raw(0xc1, []byte{1}, "a"), nil, "rsv_bits"},
		{"RSV2", raw(0xa1, []byte{1}, "a"), nil, "rsv_bits"},
		{"RSV3 on a ping", raw(0x99, []byte{0}, ""), nil, "rsv_bits"},
		{"opcode 3", raw(0x83, []byte{0}, ""), nil, "reserved_opcode"},
		{"opcode 7", raw(0x87, []byte{0}, ""), nil, "reserved_opcode"},
		{"opcode 11", raw(0x8b, []byte{0}, ""), nil, "reserved_opcode"},
		{"opcode 15", raw(0x8f, []byte{0}, ""), nil, "reserved_opcode"},
		{"unmasked", AppendFrame(nil, OpText, []byte("a")), nil, "unmasked_frame"},
		{"ping is fragmented", raw(0x09, []byte{0}, ""), nil, "fragmented_control"},
		{"ping of 126 bytes", raw(0x89, []byte{126, 0, 126}, long[:126]), nil, "control_too_long"},
		{"continuation first", frame(0, true, "a"), nil, "unexpected_continuation"},
		{"continuation after the end", joinFrames(frame(OpText, false, "a"), frame(0, true, "b"), frame(0, true, "c")), []seen{{OpText, "ab"}}, "unexpected_continuation"},
		{"text inside a message", joinFrames(frame(OpText, false, "a"), whole(OpText, "b")), nil, "expected_continuation"},
		{"length with the top bit", raw(0x82, []byte{127, 0x80, 0, 0, 0, 0, 0, 0, 1}, ""), nil, "length_msb"},
		{"length of 8 exabytes", raw(0x82, []byte{127, 0x7f, 255, 255, 255, 255, 255, 255, 255}, ""), nil, "message_too_big"},
		{"16-bit length below 126", raw(0x82, []byte{126, 0, 125}, long[:125]), nil, "non_minimal_length"},
		{"64-bit length below 65536", raw(0x82, []byte{127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, ""), nil, "non_minimal_length"},
		{"close with half a code", whole(OpClose, "\x03"), nil, "bad_close_payload"},
		{"close 1005", whole(OpClose, "\x03\xed"), nil, "bad_close_code"},
		{"close 5000", whole(OpClose, "\x13\x88"), nil, "bad_close_code"},
		{"close 999", whole(OpClose, "\x03\xe7"), nil, "bad_close_code"},
		{"close reason not UTF-8", whole(OpClose, "\x03\xe8\xff"), nil, "invalid_utf8_close"},
		{"text not UTF-8", whole(OpText, "a\xff"), nil, "invalid_utf8"},
		{"text with half a rune", whole(OpText, "\xe2\x82"), nil, "invalid_utf8"},
		{"surrogate in text", whole(OpText, "\xed\xa0\x80"), nil, "invalid_utf8"},
		{"fragmented text with half a rune", joinFrames(frame(OpText, false, "\xe2"), frame(0, true, "\x82")), nil, "invalid_utf8"},
		{"half a rune and an empty end", joinFrames(frame(OpText, false, "\xe2"), frame(0, true, "")), nil, "invalid_utf8"},
		{"fragment not UTF-8 fails before the end", frame(OpText, false, "a\xffb"), nil, "invalid_utf8"},
		{"rune that can only be too large fails at its second byte", frame(OpText, false, "\xf4\x90"), nil, "invalid_utf8"},
		{"at the limit", whole(OpBinary, strings.Repeat("x", 100_000)), []seen{{OpBinary, strings.Repeat("x", 100_000)}}, ""},
		{"over the limit, header only", whole(OpBinary, strings.Repeat("x", 100_001))[:14], nil, "message_too_big"},
		{"fragments over the limit together", joinFrames(frame(OpBinary, false, strings.Repeat("x", 60_000)), frame(0, true, strings.Repeat("x", 40_001))[:14]), nil, "message_too_big"},
		{"four frames", joinFrames(frame(OpText, false, "a"), frame(0, false, "b"), frame(0, false, "c"), frame(0, true, "d")), []seen{{OpText, "abcd"}}, ""},
		{"five frames", joinFrames(frame(OpText, false, "a"), frame(0, false, ""), frame(0, false, ""), frame(0, false, ""), frame(0, true, "")), nil, "too_many_fragments"},
	}
	for _, tt := range tests {
		for _, size := range []int{1 << 20, 1, 3, 1000} {
			if size < 1000 && len(tt.in) > 10_000 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d bytes a read", tt.name, size), func(t *testing.T) {
				got, breach := feed(t, cfg, slices.Collect(slices.Chunk(bytes.Clone(tt.in), size))...)
				if !slices.Equal(got, tt.want) {
					t.Errorf("events %.200s, want %.200s", got, tt.want)
				}
				var reason string
				if breach != nil {
					reason = breach.Reason
				}
				if reason != tt.reason {
					t.Errorf("breach %q, want %q", reason, tt.reason)
				}
			})
		}
	}
}

func TestParserAsClient(t *testing.T) {
	cfg := &Config{Client: true}
	got, breach := feed(t, cfg, AppendFrame(AppendFrame(nil, OpText, []byte("hello")), OpPing, nil))
	if breach != nil || !slices.Equal(got, []seen{{OpText, "hello"}, {OpPing, ""}}) {
		t.Errorf("got %s, %v", got, breach)
	}
	if _, breach := feed(t, cfg, whole(OpText, "a")); breach == nil || breach.Reason != "masked_frame" {
		t.Errorf("masked frame: %v", breach)
	}
	long := strings.Repeat("y", 3000)
	got, breach = feed(t, cfg, slices.Collect(slices.Chunk(AppendFrame(nil, OpText, []byte(long)), 700))...)
	if breach != nil || !slices.Equal(got, []seen{{OpText, long}}) {
		t.Errorf("in pieces: %d events, %v", len(got), breach)
	}
}

func TestFragmentLimits(t *testing.T) {
	flood := frame(OpText, false, "")
	for range DefaultMaxFragments {
		flood = append(flood, frame(0, false, "")...)
	}
	if _, breach := feed(t, &Config{}, bytes.Clone(flood)); breach != errTooManyFrames {
		t.Errorf("default: %v, want %v", breach, errTooManyFrames)
	}
	if _, breach := feed(t, &Config{MaxFragments: -1}, flood); breach != nil {
		t.Errorf("no limit: %v", breach)
	}
}

func TestParserIsSmallAndFreeOfPointers(t *testing.T) {
	if n := unsafe.Sizeof(Parser{}); n > 40 {
		t.Errorf("Parser has %d bytes, want at most 40", n)
	}
}

func TestIncomplete(t *testing.T) {
	cfg := &Config{}
	var p Parser
	var part *Partial
	step := func(b []byte, want bool) {
		t.Helper()
		for {
			_, rest, ok, err := p.Next(b, cfg, &part)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			b = rest
		}
		if p.Incomplete() != want {
			t.Errorf("Incomplete = %v, want %v", p.Incomplete(), want)
		}
	}
	msg := whole(OpText, "hello")
	step(nil, false)
	step(msg[:1], true)
	step(msg[1:8], true)
	step(msg[8:], false)
	step(frame(OpText, false, ""), true)
	step(whole(OpPing, ""), true)
	step(frame(0, true, ""), false)
	step(whole(OpPing, "abc")[:8], true)
	step(whole(OpPing, "abc")[8:], false)
	if part != nil {
		t.Errorf("a partial buffer is left")
	}
}

func TestPartialGrowsWithArrivedBytesOnly(t *testing.T) {
	before := PartialBytes()
	var p Parser
	var part *Partial
	cfg := &Config{MaxMessage: 1 << 20}
	msg := whole(OpBinary, strings.Repeat("x", 1<<20))
	if _, _, ok, err := p.Next(bytes.Clone(msg[:14]), cfg, &part); ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := PartialBytes() - before; got != 0 {
		t.Errorf("a header alone holds %d bytes", got)
	}
	var arrived int
	for at := 14; at < len(msg); {
		n := min(50_000, len(msg)-at)
		ev, _, ok, err := p.Next(msg[at:at+n], cfg, &part)
		if err != nil {
			t.Fatal(err)
		}
		at += n
		arrived += n
		if got := PartialBytes() - before; got > int64(2*arrived+classes[len(classes)-1]) || got > 1<<20+maxControl {
			t.Errorf("%d bytes held after %d arrived", got, arrived)
		}
		if ok != (at == len(msg)) || ok && len(ev.Payload) != 1<<20 {
			t.Errorf("event %v after %d bytes", ok, at)
		}
	}
	if _, _, ok, err := p.Next(nil, cfg, &part); ok || err != nil || part != nil {
		t.Errorf("buffer is not released by the next call: %v %v", ok, err)
	}
	if after := PartialBytes(); after != before {
		t.Errorf("PartialBytes %d, want %d", after, before)
	}
}

// TestPartialsShareTheirRoom: who would pass MaxPartials is refused, the others go on, and what the refused one held is free again.
func TestPartialsShareTheirRoom(t *testing.T) {
	const conns, each = 4, 60_000
	cfg := &Config{MaxMessage: 1 << 20, MaxPartials: PartialBytes() + conns*LargestPooled + 3000}
	parsers, parts := make([]Parser, conns+1), make([]*Partial, conns+1)
	message := whole(OpBinary, strings.Repeat("x", each))
	feed := func(i int, b []byte) (bool, error) {
		_, _, ok, err := parsers[i].Next(bytes.Clone(b), cfg, &parts[i])
		return ok, err
	}
	for i := range conns {
		if ok, err := feed(i, message[:each]); ok || err != nil {
			t.Fatalf("conn %d: %v, %v", i, ok, err)
		}
	}
	if _, err := feed(conns, message[:1000]); err != nil {
		t.Fatalf("a small one: %v", err)
	}
	held := PartialBytes()
	if _, err := feed(conns, message[1000:9000]); err != error(ErrNoRoom) { // needs 64 KiB
		t.Fatalf("got %v, want %v", err, ErrNoRoom)
	}
	if got := held - PartialBytes(); got != 2<<10 || parts[conns] != nil {
		t.Errorf("the refused conn gave %d bytes back, want its 2048", got)
	}
	for i := range conns {
		if ok, err := feed(i, message[each:]); !ok || err != nil {
			t.Errorf("conn %d does not go on: %v, %v", i, ok, err)
		}
		ReleasePartial(&parts[i])
	}
	cfg.MaxPartials = PartialBytes() + 1<<20 + maxControl // a message of MaxMessage grows within its own size
	large, at := whole(OpBinary, strings.Repeat("x", 1<<20)), 0
	for ; at < len(large); at += 50_000 {
		ok, err := feed(0, large[at:min(at+50_000, len(large))])
		if err != nil || ok != (at+50_000 >= len(large)) {
			t.Fatalf("at %d: %v, %v", at, ok, err)
		}
	}
	ReleasePartial(&parts[0])
}

// One conn's delivered payload must not lie in a buffer that another conn already got from the pool.
func TestDeliveredPayloadStaysUntilTheNextCall(t *testing.T) {
	cfg := &Config{}
	var p, q Parser
	var partP, partQ *Partial
	msg := whole(OpPing, "first")
	p.Next(msg[:8], cfg, &partP)
	ev, _, ok, err := p.Next(msg[8:], cfg, &partP)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	q.Next(whole(OpText, "SECOND")[:10], cfg, &partQ)
	if string(ev.Payload) != "first" {
		t.Errorf("payload is %q now", ev.Payload)
	}
	ReleasePartial(&partP)
	ReleasePartial(&partQ)
}

func TestLimitLoweredInsideAMessage(t *testing.T) {
	var p Parser
	var part *Partial
	p.Next(frame(OpBinary, false, strings.Repeat("x", 1000)), &Config{MaxMessage: 2000}, &part)
	_, _, _, err := p.Next(frame(0, true, "x"), &Config{MaxMessage: 10}, &part)
	if err != error(errMessageTooBig) {
		t.Errorf("got %v, want %v", err, errMessageTooBig)
	}
}

func TestCloseErrorsFitACloseFrame(t *testing.T) {
	for _, e := range CloseErrors() {
		if len(e.Text) > maxReason || !CheckCloseCode(e.Code) || e.Reason == "" || e.Error() != e.Text {
			t.Errorf("%+v", e)
		}
	}
}

func TestParserAllocations(t *testing.T) {
	cfg := &Config{MaxMessage: 64 << 10}
	run := func(name string, stream []byte, chunk, events int) {
		t.Run(name, func(t *testing.T) {
			buf := make([]byte, len(stream))
			var p Parser
			var part *Partial
			wantAllocs(t, 0, func() {
				copy(buf, stream)
				got := 0
				for at := 0; at < len(buf); at += chunk {
					b := buf[at:min(at+chunk, len(buf))]
					for {
						_, rest, ok, err := p.Next(b, cfg, &part)
						if err != nil {
							t.Fatal(err)
						}
						if !ok {
							break
						}
						got++
						b = rest
					}
				}
				if got != events {
					t.Fatalf("%d events, want %d", got, events)
				}
			})
		})
	}
	text := whole(OpText, strings.Repeat("a", 1000))
	run("whole text", text, len(text), 1)
	run("ping and pong", joinFrames(whole(OpPing, "12345678"), whole(OpPong, "")), 1000, 2)
	run("text in pieces", text, 100, 1) // pooled
	run("fragments", joinFrames(frame(OpText, false, "a"), whole(OpPing, "p"), frame(0, true, "b")), 1000, 2)
}

func BenchmarkParser(b *testing.B) {
	cfg := &Config{MaxMessage: 1 << 20}
	for _, n := range []int{16, 125, 1024, 16 << 10} {
		stream := whole(OpText, strings.Repeat("a", n))
		buf := make([]byte, len(stream))
		for name, chunk := range map[string]int{"whole": len(stream), "halves": len(stream)/2 + 1} {
			b.Run(fmt.Sprintf("%d bytes/%s", n, name), func(b *testing.B) {
				var p Parser
				var part *Partial
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					copy(buf, stream) // unmasking changes it
					for at := 0; at < len(buf); at += chunk {
						in := buf[at:min(at+chunk, len(buf))]
						for {
							_, rest, ok, err := p.Next(in, cfg, &part)
							if err != nil {
								b.Fatal(err)
							}
							if !ok {
								break
							}
							in = rest
						}
					}
				}
			})
		}
	}
}
