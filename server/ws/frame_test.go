package ws

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

var frameSizes = []int{0, 1, 2, 125, 126, 127, 128, 65535, 65536, 65537, 70000}

func TestFramesReadBackByGobwas(t *testing.T) {
	mask := [4]byte{1, 2, 3, 4}
	for _, n := range frameSizes {
		payload := bytes.Repeat([]byte("a"), n)
		begun := append(BeginFrame([]byte("before")), payload...)
		for name, frame := range map[string][]byte{
			"AppendFrame":       AppendFrame([]byte("before"), OpText, payload)[6:],
			"BeginFrame":        EndFrame(begun, 6, OpText)[6:],
			"AppendMaskedFrame": AppendMaskedFrame([]byte("before"), OpText, payload, mask)[6:],
		} {
			in := bytes.NewReader(frame)
			header, err := ws.ReadHeader(in)
			if err != nil {
				t.Fatalf("%s of %d bytes: %v", name, n, err)
			}
			f := ws.Frame{Header: header, Payload: make([]byte, header.Length)}
			if _, err := io.ReadFull(in, f.Payload); err != nil {
				t.Fatalf("%s of %d bytes: %v", name, n, err)
			}
			if f.Header.Masked {
				ws.Cipher(f.Payload, f.Header.Mask, 0)
			}
			if !f.Header.Fin || f.Header.OpCode != ws.OpText || !bytes.Equal(f.Payload, payload) || in.Len() != 0 {
				t.Errorf("%s of %d bytes: %+v, %d bytes behind it", name, n, f.Header, in.Len())
			}
			if name == "AppendFrame" && len(frame) != HeaderSize(n)+n {
				t.Errorf("HeaderSize(%d) = %d, want %d", n, HeaderSize(n), len(frame)-n)
			}
		}
		if string(payload) != strings.Repeat("a", n) {
			t.Fatal("AppendMaskedFrame changed its payload")
		}
	}
}

func TestCloseFrame(t *testing.T) {
	euros := strings.Repeat("€", 50) // 150 bytes; 123 is a rune boundary, so shift by one
	tests := []struct {
		name   string
		code   int
		reason string
		want   string
	}{
		{"no code", 0, "ignored", "\x88\x00"},
		{"1005 is never sent", 1005, "", "\x88\x00"},
		{"code alone", 1000, "", "\x88\x02\x03\xe8"},
		{"code and reason", 4200, "drain", "\x88\x07\x10\x68drain"},
		{"exactly 123 bytes", 4000, strings.Repeat("x", 123), "\x88\x7d\x0f\xa0" + strings.Repeat("x", 123)},
		{"too long", 4000, strings.Repeat("x", 124), "\x88\x7d\x0f\xa0" + strings.Repeat("x", 123)},
		{"cut at a rune", 4000, "x" + euros, "\x88\x7b\x0f\xa0x" + euros[:120]},
		{"not UTF-8", 4000, "a\xff", "\x88\x06\x0f\xa0a\uFFFD"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := AppendCloseFrame(nil, tt.code, tt.reason)
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !utf8.Valid(got[min(4, len(got)):]) {
				t.Errorf("reason of %q is not UTF-8", got)
			}
		})
	}
}

func TestCheckCloseCode(t *testing.T) {
	for code, want := range map[int]bool{
		0: false, 999: false, 1000: true, 1003: true, 1004: false, 1005: false, 1006: false, 1007: true, 1011: true,
		1012: true, 1013: true, 1014: true, 1015: false, 1016: false, 2999: false, 3000: true, 4999: true, 5000: false, 65535: false, -1: false,
	} {
		if got := CheckCloseCode(code); got != want {
			t.Errorf("CheckCloseCode(%d) = %v, want %v", code, got, want)
		}
	}
}

func TestParseClose(t *testing.T) {
	if code, reason := ParseClose(nil); code != 1005 || reason != nil {
		t.Errorf("empty: %d %q", code, reason)
	}
	if code, reason := ParseClose(AppendClosePayload(nil, 4210, "slow")); code != 4210 || string(reason) != "slow" {
		t.Errorf("got %d %q", code, reason)
	}
}

func TestOpString(t *testing.T) {
	for op, want := range map[Op]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong", 3: "opcode 3"} {
		if op.String() != want {
			t.Errorf("Op(%d) = %q, want %q", op, op.String(), want)
		}
	}
}

func TestFrameAllocations(t *testing.T) {
	dst := make([]byte, 0, 4096)
	payload := make([]byte, 1000)
	wantAllocs(t, 0, func() {
		dst = AppendFrame(dst[:0], OpText, payload)
		dst = AppendMaskedFrame(dst, OpText, payload, [4]byte{1, 2, 3, 4})
		n := len(dst)
		dst = EndFrame(append(BeginFrame(dst), payload...), n, OpText)
		dst = AppendCloseFrame(dst, 4200, "drain")
	})
}
