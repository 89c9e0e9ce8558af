package proxyproto

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// binaryHeader builds a version 2 header.
func binaryHeader(command, family byte, body string) string {
	b := []byte(signature)
	b = append(b, command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(b) + body
}

const (
	four = "\xc0\x00\x02\x01\xc6\x33\x64\x01\xdc\x04\x01\xbb" // 192.0.2.1:56324 to 198.51.100.1:443
	six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x02"
)

// summed is a version 2 header with a checksum TLV, right or wrong by off.
func summed(off uint32) string {
	b := []byte(binaryHeader(cmdProxy, overTCP4, four+"\x03\x00\x04\x00\x00\x00\x00\x04\x00\x01x"))
	at := fixedPart + len(four) + 3
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))+off)
	return string(b)
}

var headers = []struct {
	name, in string
	source   string // "" = the connection's own
	err      error
}{
	{"a line for IPv4", "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "192.0.2.1:56324", nil},
	{"a line for IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "[2001:db8::1]:1", nil},
	{"a line for a mapped IPv4", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1", nil},
	{"a line of unknown origin", "PROXY UNKNOWN\r\n", "", nil},
	{"a line of unknown origin with more", "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "", nil},
	{"a line with the wrong family", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "", ErrMalformed},
	{"a line with a zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "", ErrMalformed},
	{"a line with a port too big", "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", "", ErrMalformed},
	{"a line with a signed port", "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n", "", ErrMalformed},
	{"a line with a padded port", "PROXY TCP4 192.0.2.1 198.51.100.1 007 443\r\n", "", ErrMalformed},
	{"a line with a bad destination", "PROXY TCP4 192.0.2.1 x 1 443\r\n", "", ErrMalformed},
	{"a line with a word missing", "PROXY TCP4 192.0.2.1 198.51.100.1 443\r\n", "", ErrMalformed},
	{"a line with a word too many", "PROXY TCP4 192.0.2.1 198.51.100.1 1 443 x\r\n", "", ErrMalformed},
	{"a line with two spaces", "PROXY TCP4  192.0.2.1 198.51.100.1 1 443\r\n", "", ErrMalformed},
	{"a line of UDP", "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n", "", ErrMalformed},
	{"a line that ends in LF", "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n", "", ErrMalformed},
	{"an empty line", "PROXY \r\n", "", ErrMalformed},
	{"a line without end", "PROXY UNKNOWN " + strings.Repeat("x", 200), "", ErrMalformed},
	{"binary for IPv4", binaryHeader(cmdProxy, overTCP4, four), "192.0.2.1:56324", nil},
	{"binary for IPv6", binaryHeader(cmdProxy, overTCP6, six), "[2001:db8::1]:1", nil},
	{"binary with TLVs", binaryHeader(cmdProxy, overTCP4, four+"\x01\x00\x02h2\x05\x00\x00"), "192.0.2.1:56324", nil},
	{"binary with a good checksum", summed(0), "192.0.2.1:56324", nil},
	{"binary with a bad checksum", summed(1), "", ErrMalformed},
	{"binary with a short checksum", binaryHeader(cmdProxy, overTCP4, four+"\x03\x00\x02xx"), "", ErrMalformed},
	{"binary of the proxy itself", binaryHeader(cmdLocal, unspec, ""), "", nil},
	{"binary of the proxy itself with an address", binaryHeader(cmdLocal, overTCP4, four), "", nil},
	{"binary of unknown origin", binaryHeader(cmdProxy, unspec, "whatever"), "", nil},
	{"binary of UDP", binaryHeader(cmdProxy, 0x12, four), "", ErrMalformed},
	{"binary of a UNIX socket", binaryHeader(cmdProxy, 0x31, strings.Repeat("x", 216)), "", ErrMalformed},
	{"binary of version 3", binaryHeader(0x31, overTCP4, four), "", ErrMalformed},
	{"binary with an unknown command", binaryHeader(0x22, overTCP4, four), "", ErrMalformed},
	{"binary with half an address", binaryHeader(cmdProxy, overTCP4, four[:8]), "", ErrMalformed},
	{"binary with half a TLV", binaryHeader(cmdProxy, overTCP4, four+"\x01\x00"), "", ErrMalformed},
	{"binary with a TLV beyond its end", binaryHeader(cmdProxy, overTCP4, four+"\x01\x00\x09x"), "", ErrMalformed},
	{"binary of 64 KB", binaryHeader(cmdProxy, overTCP4, four+strings.Repeat("x", 65000)), "", ErrTooLong},
	{"a request", "GET / HTTP/1.1\r\n\r\n", "", ErrMissing},
	{"a TLS handshake", "\x16\x03\x01", "", ErrMissing},
	{"small letters", "proxy TCP4", "", ErrMissing},
	{"nearly a signature", "\r\n\r\n\x00\r\nQUIZ\n", "", ErrMissing},
}

func TestHeadersAreReadByteByByte(t *testing.T) {
	for _, tt := range headers {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.in
			if tt.err == nil {
				in += "GET / HTTP/1.1\r\n"
			}
			for k := range len(in) + 1 {
				h, n, err := Parse([]byte(in[:k]))
				switch {
				case err != nil && errors.Is(err, tt.err):
					return
				case err != nil:
					t.Fatalf("Parse of %d bytes: %v, want %v", k, err, tt.err)
				case tt.err != nil && k == len(in):
					t.Fatalf("Parse(%q) is content, want %v", in, tt.err)
				case tt.err == nil && k < len(tt.in) && n != 0:
					t.Fatalf("Parse of %d of %d bytes found a header of %d", k, len(tt.in), n)
				case tt.err == nil && k >= len(tt.in) && n != len(tt.in):
					t.Fatalf("Parse of %d bytes found %d bytes of header, want %d", k, n, len(tt.in))
				}
				want, _ := netip.ParseAddrPort(tt.source)
				if n > 0 && h.Source != want {
					t.Fatalf("Source = %v, want %v", h.Source, want)
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range headers {
		f.Add([]byte(tt.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		if n < 0 || n > len(b) || n > MaxBytes || err != nil && n != 0 {
			t.Fatalf("Parse(%q) = %v, %d, %v", b, h, n, err)
		}
		if n == 0 && err == nil && len(b) >= MaxBytes {
			t.Fatalf("Parse wants more than %d bytes", len(b))
		}
		if n == 0 {
			return
		}
		if !Begins(b) {
			t.Fatalf("Parse(%q) found a header, Begins none", b)
		}
		for _, k := range []int{n / 2, n - 1} { // a part of a good header is never bad
			if _, m, err := Parse(b[:k]); m != 0 || err != nil {
				t.Fatalf("Parse(%q) = %d, %v; the whole was a header", b[:k], m, err)
			}
		}
		if again, m, err := Parse(b[:n]); again != h || m != n || err != nil {
			t.Fatalf("Parse(%q) differs without what follows: %v %d %v", b, again, m, err)
		}
	})
}
