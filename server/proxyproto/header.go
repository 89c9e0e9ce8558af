package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net/netip"
	"strconv"
	"strings"
)

// MaxBytes is the most a header may have. Version 1 needs 107, version 2 52 and what its proxy adds in TLVs, of which names of a
// TLS client are the longest.
const MaxBytes = 4096

// maxLine is the longest line of version 1, its CRLF included (proxy-protocol.txt §2.1).
const maxLine = 107

const (
	lineStart = "PROXY "
	signature = "\r\n\r\n\x00\r\nQUIT\n" // version 2 begins with it
	fixedPart = len(signature) + 4       // version and command, family, length
)

var (
	// ErrMissing says that what arrived is no PROXY header.
	ErrMissing = errors.New("no PROXY header; have the proxy send one, or take its address out of trusted_proxies")
	// ErrMalformed says that a PROXY header is broken.
	ErrMalformed = errors.New("malformed PROXY header")
	// ErrTooLong says that a header is longer than [MaxBytes].
	ErrTooLong = errors.New("PROXY header above 4096 bytes; have the proxy send fewer TLVs")
)

// Header is what a proxy said.
type Header struct {
	// Source is the client's address. It is the zero AddrPort if the proxy speaks for itself (a health check) or does not know: then
	// the address of the connection holds.
	Source netip.AddrPort
}

// Begins reports whether b, from the first byte of a connection on, is a PROXY header as far as its first bytes tell.
func Begins(b []byte) bool {
	return bytes.HasPrefix(b, []byte(lineStart)) || bytes.HasPrefix(b, []byte(signature))
}

// Parse reads the header at the start of b and returns its length n; what lies behind belongs to the client. n is 0 with a nil error if
// more bytes are needed, which is never so for MaxBytes of them.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case startsLike(b, signature):
		return parseBinary(b)
	case startsLike(b, lineStart):
		return parseLine(b)
	}
	return Header{}, 0, ErrMissing
}

// startsLike reports whether b and start agree as far as both go.
func startsLike(b []byte, start string) bool {
	k := min(len(b), len(start))
	return string(b[:k]) == start[:k]
}

// parseLine reads version 1: "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".
func parseLine(b []byte) (h Header, n int, err error) {
	end := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	switch {
	case end < 0 && len(b) >= maxLine:
		return h, 0, ErrMalformed
	case end < 0:
		return h, 0, nil
	case b[end-1] != '\r':
		return h, 0, ErrMalformed
	}
	words := strings.Split(string(b[len(lineStart):end-1]), " ")
	if words[0] == "UNKNOWN" { // whatever follows is to be ignored
		return h, end + 1, nil
	}
	if len(words) != 5 {
		return h, 0, ErrMalformed
	}
	source, ok1 := parseAddr(words[0], words[1], words[3])
	_, ok2 := parseAddr(words[0], words[2], words[4])
	if !ok1 || !ok2 {
		return h, 0, ErrMalformed
	}
	return Header{Source: source}, end + 1, nil
}

func parseAddr(family, addr, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || family == "TCP4" && !a.Is4() || family == "TCP6" && !a.Is6() || family != "TCP4" && family != "TCP6" {
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || port != strconv.FormatUint(p, 10) { // no "+1", no "007"
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), true
}

// Version, commands and families of version 2, proxy-protocol.txt §2.2.
const (
	cmdLocal = 0x20 // version 2 and LOCAL: the proxy speaks for itself
	cmdProxy = 0x21
	unspec   = 0x00
	overTCP4 = 0x11
	overTCP6 = 0x21
)

// parseBinary reads version 2.
func parseBinary(b []byte) (h Header, n int, err error) {
	if len(b) < fixedPart {
		return h, 0, nil
	}
	command, family := b[12], b[13]
	n = fixedPart + int(binary.BigEndian.Uint16(b[14:]))
	var addresses int
	switch {
	case command != cmdLocal && command != cmdProxy:
		return h, 0, ErrMalformed
	case n > MaxBytes:
		return h, 0, ErrTooLong
	case command == cmdLocal || family == unspec:
	case family == overTCP4:
		addresses = 2*4 + 2*2
	case family == overTCP6:
		addresses = 2*16 + 2*2
	default: // datagrams and UNIX sockets have no place before a TCP listener
		return h, 0, ErrMalformed
	}
	if n < fixedPart+addresses {
		return h, 0, ErrMalformed
	}
	if len(b) < n {
		return h, 0, nil
	}
	b = b[:n]
	if addresses == 0 {
		return h, n, nil
	}
	if !wellFormedTLVs(b, fixedPart+addresses) {
		return h, 0, ErrMalformed
	}
	size := (addresses - 4) / 2
	a, _ := netip.AddrFromSlice(b[fixedPart : fixedPart+size])
	h.Source = netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(b[fixedPart+2*size:]))
	return h, n, nil
}

// typeCRC32C is the TLV with a checksum over the whole header, its own value taken as 0.
const typeCRC32C = 0x03

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// wellFormedTLVs walks the TLVs from b[at:] to the end and checks the checksum if one is there.
func wellFormedTLVs(b []byte, at int) bool {
	for at < len(b) {
		if len(b)-at < 3 {
			return false
		}
		value := at + 3
		next := value + int(binary.BigEndian.Uint16(b[at+1:]))
		if next > len(b) {
			return false
		}
		if b[at] == typeCRC32C {
			if next-value != 4 {
				return false
			}
			sum := crc32.Update(0, castagnoli, b[:value])
			sum = crc32.Update(sum, castagnoli, make([]byte, 4))
			sum = crc32.Update(sum, castagnoli, b[next:])
			if sum != binary.BigEndian.Uint32(b[value:]) {
				return false
			}
		}
		at = next
	}
	return true
}
