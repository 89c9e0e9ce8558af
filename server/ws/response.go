package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// acceptGUID is the constant of RFC 6455 §1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// AppendUpgradeResponse appends the 101 answer to a request that passed CheckUpgrade. subprotocol "" sends no Sec-WebSocket-Protocol;
// otherwise it is one of r.Subprotocols. extensions is what [NegotiateDeflate] returned.
func AppendUpgradeResponse(dst []byte, r *Request, subprotocol, extensions string) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = appendAccept(dst, r.Key)
	if subprotocol != "" {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, subprotocol...)
	}
	if extensions != "" {
		dst = append(dst, "\r\nSec-WebSocket-Extensions: "...)
		dst = append(dst, extensions...)
	}
	return append(dst, "\r\n\r\n"...)
}

func appendAccept(dst []byte, key string) []byte {
	var in [keyLen + len(acceptGUID)]byte
	n := copy(in[:], key)
	n += copy(in[n:], acceptGUID)
	sum := sha1.Sum(in[:n])
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// AppendHTTPResponse appends a whole response with Content-Length, "Connection: close" and "Content-Type: text/plain" unless headers has the latter two.
// Control characters in header values are dropped.
func AppendHTTPResponse(dst []byte, status int, headers [][2]string, body string) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(status)...)
	var hasType, hasConnection bool
	for _, h := range headers {
		hasType = hasType || strings.EqualFold(h[0], "Content-Type")
		hasConnection = hasConnection || strings.EqualFold(h[0], "Connection")
		dst = appendHeaderLine(dst, h[0], h[1])
	}
	if !hasConnection {
		dst = appendHeaderLine(dst, "Connection", "close")
	}
	if !hasType && body != "" {
		dst = appendHeaderLine(dst, "Content-Type", "text/plain; charset=utf-8")
	}
	dst = append(dst, "\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

func appendHeaderLine(dst []byte, name, value string) []byte {
	dst = append(dst, "\r\n"...)
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	for i := 0; i < len(value); i++ {
		if c := value[i]; c >= ' ' && c != 0x7f {
			dst = append(dst, c)
		}
	}
	return dst
}

// AppendHTTPError appends the response for a refused request, with the headers its status asks for: Allow on 405, Upgrade and Sec-WebSocket-Version on 426.
func AppendHTTPError(dst []byte, e *HTTPError) []byte {
	var headers [][2]string
	switch e.Status {
	case 405:
		headers = [][2]string{{"Allow", "GET"}}
	case 426: // RFC 9110 §15.5.22, RFC 6455 §4.4
		headers = [][2]string{{"Connection", "Upgrade, close"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}}
	}
	return AppendHTTPResponse(dst, e.Status, headers, e.Text+"\n")
}
