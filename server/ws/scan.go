package ws

import "bytes"

// Limits bounds what a peer may send before it is known.
type Limits struct {
	// HeaderBytes is the largest header block in bytes, its final empty line included. 0 means [DefaultHeaderBytes].
	HeaderBytes int
	// Headers is the largest number of header lines. 0 means [DefaultHeaders].
	Headers int
}

// The limits of a zero [Limits]. Django's cookies alone may exceed 4 KiB.
const (
	DefaultHeaderBytes = 16 << 10
	DefaultHeaders     = 100
)

// Scan looks for the end of the header block at the start of b. It returns the block's length with its final empty line, or 0 when more bytes are needed.
// What lies behind the block belongs to the frame parser: a client may send frames together with its request. max 0 means [DefaultHeaderBytes].
func Scan(b []byte, max int) (n int, err error) { return ScanFrom(b, 0, max) }

// ScanFrom is Scan for a block of which the first from bytes went through Scan before, so that a peer who sends one byte at a time costs no more than another.
func ScanFrom(b []byte, from, max int) (n int, err error) {
	if max <= 0 {
		max = DefaultHeaderBytes
	}
	if len(b) > 0 && !isToken[b[0]] {
		if b[0] == 0x16 {
			return 0, errTLS
		}
		return 0, errRequestLine
	}
	end := min(len(b), max)
	for i := min(from, end); ; i++ {
		k := bytes.IndexByte(b[i:end], '\n')
		if k < 0 {
			break
		}
		i += k
		if i == 0 || b[i-1] != '\r' {
			return 0, errBareLF
		}
		if i >= 3 && b[i-2] == '\n' {
			return i + 1, nil
		}
	}
	if len(b) >= max {
		return 0, errHeaderTooLarge
	}
	return 0, nil
}

// isToken marks the characters of an RFC 9110 §5.6.2 token: method, header name, subprotocol.
var isToken = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

func validToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isToken[s[i]] {
			return false
		}
	}
	return s != ""
}
