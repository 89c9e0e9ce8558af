package frame

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// key is the Sec-WebSocket-Key of every handshake: a constant costs the client nothing, and no server may tell it from a random one.
const key = "Z2F0ZWNhc3QtYmVuY2gtMQ=="

var accept = Accept(key)

// maxHead bounds a handshake answer in bytes.
const maxHead = 16 << 10

// Accept is the answer to a Sec-WebSocket-Key, RFC 6455 §4.2.2.
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Request is a handshake's request with the header lines given, each "Name: value".
func Request(host, path string, lines ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", path, host, key)
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// Upgraded checks a handshake's answer and returns what follows it; whole is false while more must come.
func Upgraded(b []byte) (rest []byte, whole bool, err error) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		if len(b) > maxHead {
			return nil, false, errors.New("handshake answer without an end")
		}
		return nil, false, nil
	}
	status, head, _ := strings.Cut(string(b[:i]), "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101") {
		return nil, true, fmt.Errorf("handshake refused: %s", status)
	}
	for line := range strings.SplitSeq(head, "\r\n") {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Sec-WebSocket-Accept") {
			if strings.TrimSpace(value) != accept {
				return nil, true, errors.New("handshake answer with a wrong Sec-WebSocket-Accept")
			}
			return b[i+4:], true, nil
		}
	}
	return nil, true, errors.New("handshake answer without Sec-WebSocket-Accept")
}
