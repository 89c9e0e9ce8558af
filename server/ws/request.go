package ws

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Request is one parsed HTTP/1.1 GET. Its strings share one allocation, so a caller that keeps one beyond the handshake copies it.
//
// Headers whose name contains "_" are dropped: CGI-style gateways read them as their twin with "-" (CVE-2015-0219).
type Request struct {
	Method         string // always "GET"
	Path           string // as sent, still percent-encoded; begins with "/"
	RawQuery       string // without "?"
	Host           string
	Origin         string
	Cookie         string // repeated headers joined by "; "
	Authorization  string
	UserAgent      string
	ForwardedFor   string // X-Forwarded-For, repeated headers joined by ", "
	ForwardedHost  string // X-Forwarded-Host, the same
	ForwardedProto string // X-Forwarded-Proto, the same
	SecFetchSite   string
	LastEventID    string
	Key            string // Sec-WebSocket-Key as sent; CheckUpgrade checks it
	Version        string // Sec-WebSocket-Version as sent
	Extensions     string // Sec-WebSocket-Extensions, repeated headers joined by ", "
	Subprotocols   []string
	HasOrigin      bool // an Origin header was sent, perhaps empty
	Upgrade        bool // the Upgrade header names websocket

	connUpgrade  bool      // the Connection header names upgrade
	seen         uint8     // headers of the singles table
	lines        string    // header lines after the request line
	subprotocols [4]string // room for Subprotocols
}

// maxSubprotocols bounds what one header line can make us allocate.
const maxSubprotocols = 32

// ParseRequest parses the header block that Scan found. Whatever proxies and servers are known to read in two ways is refused with an [*HTTPError].
// It makes two allocations; repeated headers that are joined and more than four subprotocols cost one more each.
func ParseRequest(block []byte, lim Limits) (*Request, error) {
	maxBytes, maxHeaders := lim.HeaderBytes, lim.Headers
	if maxBytes <= 0 {
		maxBytes = DefaultHeaderBytes
	}
	if maxHeaders <= 0 {
		maxHeaders = DefaultHeaders
	}
	if len(block) > maxBytes {
		return nil, errHeaderTooLarge
	}
	line, rest, err := cutLine(string(block))
	if err != nil {
		return nil, err
	}
	r := &Request{lines: rest}
	targetHost, err := r.requestLine(line)
	if err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		if line, rest, err = cutLine(rest); err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		if n > maxHeaders {
			return nil, errHeaderCount
		}
		name, value, err := splitHeader(line)
		if err != nil {
			return nil, err
		}
		if err := r.header(name, value); err != nil {
			return nil, err
		}
	}
	if rest != "" {
		return nil, errRequestLine // the caller passed more than one block
	}
	if err := r.checkHost(targetHost); err != nil {
		return nil, err
	}
	return r, nil
}

// cutLine returns the line at the start of s and what follows its CRLF. The error is a nil interface or an *HTTPError.
func cutLine(s string) (line, rest string, err error) {
	i := strings.IndexByte(s, '\n')
	if i < 0 {
		return "", "", errRequestLine // Scan's block always ends in an empty line
	}
	if i == 0 || s[i-1] != '\r' {
		return "", "", errBareLF
	}
	return s[:i-1], s[i+1:], nil
}

// requestLine parses "GET target HTTP/1.1", RFC 9112 §3. host is the authority of a target in absolute form, otherwise "".
func (r *Request) requestLine(line string) (host string, err error) {
	method, line, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(line, " ")
	if !ok || !ok2 || !validToken(method) {
		return "", errRequestLine
	}
	if version != "HTTP/1.1" {
		switch {
		case version == "HTTP/1.0":
			return "", errHTTP10
		case len(version) == 8 && strings.HasPrefix(version, "HTTP/") && digit(version[5]) && version[6] == '.' && digit(version[7]):
			return "", errHTTPVersion
		}
		return "", errRequestLine
	}
	if method != "GET" {
		return "", errMethod
	}
	r.Method = method
	for i := 0; i < len(target); i++ {
		if c := target[i]; c <= ' ' || c == 0x7f || c == '#' {
			return "", errTarget
		}
	}
	if !strings.HasPrefix(target, "/") {
		if host, target, err = absoluteForm(target); err != nil {
			return "", err
		}
	}
	r.Path, r.RawQuery, _ = strings.Cut(target, "?")
	if !utf8.ValidString(target) || !validEscapes(r.Path) {
		return "", errTarget
	}
	return host, nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// absoluteForm splits "ws://host/path", which every server must accept (RFC 9112 §3.2.2). The scheme says nothing here.
func absoluteForm(target string) (host, path string, err error) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !oneOf(scheme, "http", "https", "ws", "wss") {
		return "", "", errTarget
	}
	i := strings.IndexAny(rest, "/?")
	if i <= 0 || rest[i] != '/' {
		return "", "", errTarget
	}
	return rest[:i], rest[i:], nil
}

func oneOf(s string, names ...string) bool {
	for _, n := range names {
		if strings.EqualFold(s, n) {
			return true
		}
	}
	return false
}

// splitHeader splits and checks one header line. The value loses the white space around it.
func splitHeader(line string) (name, value string, err error) {
	if line[0] == ' ' || line[0] == '\t' {
		return "", "", errObsFold
	}
	i := strings.IndexByte(line, ':')
	if i <= 0 {
		return "", "", errHeaderName
	}
	name, value = line[:i], trim(line[i+1:])
	if !validToken(name) {
		if validToken(strings.TrimRight(name, " \t")) {
			return "", "", errSpaceColon
		}
		return "", "", errHeaderName
	}
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			if c == '\r' {
				return "", "", errBareCR
			}
			return "", "", errControlByte
		}
	}
	return name, value, nil
}

// trim removes OWS, RFC 9110 §5.6.3.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// header takes one header line into r.
func (r *Request) header(name, value string) error {
	if strings.IndexByte(name, '_') >= 0 {
		return nil
	}
	is := func(s string) bool { return strings.EqualFold(name, s) }
	switch len(name) {
	case 4:
		if is("Host") {
			return r.once(singleHost, &r.Host, value)
		}
	case 6:
		switch {
		case is("Cookie"):
			join(&r.Cookie, value, "; ")
		case is("Origin"):
			r.HasOrigin = true
			return r.once(singleOrigin, &r.Origin, value)
		}
	case 7:
		if is("Upgrade") {
			r.Upgrade = r.Upgrade || listHas(value, "websocket")
		}
	case 10:
		switch {
		case is("Connection"):
			r.connUpgrade = r.connUpgrade || listHas(value, "upgrade")
		case is("User-Agent"):
			join(&r.UserAgent, value, ", ")
		}
	case 13:
		switch {
		case is("Authorization"):
			return r.once(singleAuthorization, &r.Authorization, value)
		case is("Last-Event-ID"):
			return r.once(singleLastEventID, &r.LastEventID, value)
		}
	case 14:
		switch {
		case is("Content-Length"):
			return checkLength(value)
		case is("Sec-Fetch-Site"):
			return r.once(singleSecFetchSite, &r.SecFetchSite, value)
		}
	case 15:
		if is("X-Forwarded-For") {
			join(&r.ForwardedFor, value, ", ")
		}
	case 16:
		if is("X-Forwarded-Host") {
			join(&r.ForwardedHost, value, ", ")
		}
	case 17:
		switch {
		case is("Sec-WebSocket-Key"):
			return r.once(singleKey, &r.Key, value)
		case is("X-Forwarded-Proto"):
			join(&r.ForwardedProto, value, ", ")
		case is("Transfer-Encoding"):
			return errBody
		}
	case 21:
		if is("Sec-WebSocket-Version") {
			return r.once(singleVersion, &r.Version, value)
		}
	case 22:
		if is("Sec-WebSocket-Protocol") {
			return r.offer(value)
		}
	case 24:
		if is("Sec-WebSocket-Extensions") {
			join(&r.Extensions, value, ", ")
		}
	}
	return nil
}

// Headers that decide something and may not have two values. Each is a bit of Request.seen and a row of duplicates.
const (
	singleHost = iota
	singleOrigin
	singleAuthorization
	singleLastEventID
	singleSecFetchSite
	singleKey
	singleVersion
)

var duplicates = [...]*HTTPError{
	singleHost:          duplicate("Host"),
	singleOrigin:        duplicate("Origin"),
	singleAuthorization: duplicate("Authorization"),
	singleLastEventID:   duplicate("Last-Event-ID"),
	singleSecFetchSite:  duplicate("Sec-Fetch-Site"),
	singleKey:           duplicate("Sec-WebSocket-Key"),
	singleVersion:       duplicate("Sec-WebSocket-Version"),
}

func duplicate(name string) *HTTPError {
	return &HTTPError{400, "duplicate_header", "the " + name + " header appears twice"}
}

func (r *Request) once(single int, field *string, value string) error {
	bit := uint8(1) << single
	if r.seen&bit != 0 {
		return duplicates[single]
	}
	r.seen |= bit
	*field = value
	return nil
}

// join adds the value of a header that may be repeated.
func join(field *string, value, sep string) {
	if *field == "" {
		*field = value
	} else if value != "" {
		*field += sep + value
	}
}

// checkLength refuses a body. Content-Length: 0 is harmless and sent by some clients.
func checkLength(value string) error {
	if value == "" {
		return errLength
	}
	body := false
	for i := 0; i < len(value); i++ {
		if !digit(value[i]) {
			return errLength
		}
		body = body || value[i] != '0'
	}
	if body {
		return errBody
	}
	return nil
}

// listHas reports whether a comma-separated list has a token, without case.
func listHas(list, token string) bool {
	for list != "" {
		var item string
		item, list, _ = strings.Cut(list, ",")
		if strings.EqualFold(trim(item), token) {
			return true
		}
	}
	return false
}

// offer takes one Sec-WebSocket-Protocol line, RFC 6455 §4.1 item 10.
func (r *Request) offer(list string) error {
	if r.Subprotocols == nil {
		r.Subprotocols = r.subprotocols[:0]
	}
	for list != "" {
		var item string
		item, list, _ = strings.Cut(list, ",")
		if item = trim(item); item == "" {
			continue // RFC 9110 §5.6.1: empty elements do not count
		}
		if !validToken(item) {
			return errSubprotocol
		}
		for _, p := range r.Subprotocols {
			if p == item {
				return errSubprotocol2x
			}
		}
		if len(r.Subprotocols) == maxSubprotocols {
			return errSubprotocols
		}
		r.Subprotocols = append(r.Subprotocols, item)
	}
	return nil
}

// checkHost checks Host's characters and that an absolute target names the same host. Whether it is ours is the Origin check's and the proxy's question.
func (r *Request) checkHost(target string) error {
	if r.Host == "" {
		return errNoHost
	}
	for i := 0; i < len(r.Host); i++ {
		switch c := r.Host[i]; {
		case isToken[c], c == ':', c == '[', c == ']', c == ';', c == '=', c == '(', c == ')':
		default:
			return errHost
		}
	}
	if target != "" && !strings.EqualFold(target, r.Host) {
		return errHostMismatch
	}
	return nil
}

// CheckUpgrade returns nil if r is a WebSocket handshake of version 13 (RFC 6455 §4.2.1), otherwise an [*HTTPError].
func (r *Request) CheckUpgrade() error {
	switch {
	case !r.Upgrade:
		return errNoUpgrade
	case !r.connUpgrade:
		return errConnection
	case r.Version != "13":
		return errVersion
	case r.Key == "":
		return errNoKey
	case len(r.Key) != keyLen:
		return errKey
	}
	var in [keyLen]byte
	var out [18]byte
	copy(in[:], r.Key)
	if n, err := base64.StdEncoding.Decode(out[:], in[:]); err != nil || n != 16 {
		return errKey
	}
	return nil
}

// keyLen is 16 bytes in base64.
const keyLen = 24
