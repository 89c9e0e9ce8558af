package ws

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

// HTTPError is a refused request. It is answered by [AppendHTTPError].
type HTTPError struct {
	Status int    // HTTP status code
	Reason string // stable snake_case word for logs and metrics
	Text   string // for the person who reads the response body
}

func (e *HTTPError) Error() string { return e.Text }

// Request is one parsed HTTP/1.1 GET. Its strings share one allocation; a caller that keeps one beyond the handshake copies it.
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
	ForwardedHost  string // X-Forwarded-Host
	ForwardedProto string // X-Forwarded-Proto
	SecFetchSite   string
	LastEventID    string
	Key            string // Sec-WebSocket-Key as sent; CheckUpgrade checks it
	Version        string // Sec-WebSocket-Version as sent
	Subprotocols   []string
	HasOrigin      bool // an Origin header was sent, perhaps empty
	Upgrade        bool // the Upgrade header names websocket

	connUpgrade bool   // the Connection header names upgrade
	lines       string // header lines after the request line
}

// Scan looks for the end of the header block at the start of b. It returns the block's length with its final empty line, or 0 when more bytes are needed.
// max 0 means [DefaultHeaderBytes].
func Scan(b []byte, max int) (n int, err error) { return ScanFrom(b, 0, max) }

// ScanFrom is Scan for a block of which the first from bytes went through Scan before, so that a peer who sends one byte at a time costs no more than another.
func ScanFrom(b []byte, from, max int) (n int, err error) { panic("stub") }

// ParseRequest parses the header block that Scan found.
func ParseRequest(block []byte, lim Limits) (*Request, error) { panic("stub") }

// CheckUpgrade returns nil if r is a WebSocket handshake of version 13, otherwise an [*HTTPError].
func (r *Request) CheckUpgrade() error { panic("stub") }

// Header returns the value of a header, repeated ones joined by ", ". The name is matched without case.
func (r *Request) Header(name string) string { panic("stub") }

// PathDecoded returns Path with percent escapes decoded. Match routes on Path and decode its segments with [Unescape] where "%2F" must not become a separator.
func (r *Request) PathDecoded() string { panic("stub") }

// Query returns the first value of a query parameter, decoded; "" if there is none.
func (r *Request) Query(name string) string { panic("stub") }

// QueryAll returns all values of a query parameter in the order sent.
func (r *Request) QueryAll(name string) []string { panic("stub") }

// Unescape decodes percent escapes of one path segment. ok is false if an escape is malformed.
func Unescape(segment string) (s string, ok bool) { panic("stub") }
