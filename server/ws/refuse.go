package ws

// HTTPError is a refused request. It is answered by [AppendHTTPError].
type HTTPError struct {
	Status int    // HTTP status code
	Reason string // stable snake_case word for logs and metrics
	Text   string // for the person who reads the response body
}

func (e *HTTPError) Error() string { return e.Text }

// Every refusal of this package. They are shared: a peer that sends garbage costs no allocation.
var (
	errTLS            = &HTTPError{400, "tls_on_plain_port", "this port speaks plain HTTP: use ws://, or set [server.tls]"}
	errRequestLine    = &HTTPError{400, "bad_request_line", "the first line is no HTTP/1.1 request line"}
	errMethod         = &HTTPError{405, "method_not_allowed", "only GET is served here"}
	errHTTP10         = &HTTPError{426, "http_version", "HTTP/1.1 is needed; behind nginx set proxy_http_version 1.1"}
	errHTTPVersion    = &HTTPError{505, "http_version", "HTTP/1.1 is needed"}
	errTarget         = &HTTPError{400, "bad_target", "the request target is no path, or has a malformed percent escape"}
	errHeaderTooLarge = &HTTPError{431, "header_too_large", "the request header is too large"}
	errHeaderCount    = &HTTPError{431, "too_many_headers", "the request has too many header lines"}

	// Request smuggling: each of these is read differently by some proxy. RFC 9112 §5.1, §5.2, §2.2.
	errBareLF      = &HTTPError{400, "bare_lf", "a header line ends in LF without CR"}
	errBareCR      = &HTTPError{400, "bare_cr", "CR inside a header line"}
	errSpaceColon  = &HTTPError{400, "space_before_colon", "space between a header name and its colon"}
	errObsFold     = &HTTPError{400, "folded_header", "a header line begins with a space"}
	errHeaderName  = &HTTPError{400, "bad_header_name", "a header line has no valid name"}
	errControlByte = &HTTPError{400, "control_byte", "control character in a header"}
	errBody        = &HTTPError{400, "body_refused", "a request body is not accepted here"}
	errLength      = &HTTPError{400, "bad_content_length", "Content-Length is no number"}

	errNoHost        = &HTTPError{400, "missing_host", "the Host header is missing"}
	errHost          = &HTTPError{400, "bad_host", "the Host header is no host name"}
	errHostMismatch  = &HTTPError{400, "host_mismatch", "the request target names another host than the Host header"}
	errSubprotocol   = &HTTPError{400, "bad_subprotocol", "Sec-WebSocket-Protocol is no list of tokens; a credential with other characters goes as bearer64.<base64url>"}
	errSubprotocols  = &HTTPError{400, "too_many_subprotocols", "more than 32 subprotocols offered"}
	errSubprotocol2x = &HTTPError{400, "duplicate_subprotocol", "a subprotocol is offered twice"}

	errNoUpgrade  = &HTTPError{426, "upgrade_required", "this is a WebSocket endpoint: the Upgrade header must name websocket; behind a proxy forward Upgrade and Connection"}
	errConnection = &HTTPError{400, "connection_not_upgrade", "the Connection header must name Upgrade; behind a proxy forward it"}
	errVersion    = &HTTPError{426, "bad_version", "Sec-WebSocket-Version must be 13"}
	errNoKey      = &HTTPError{400, "missing_key", "the Sec-WebSocket-Key header is missing"}
	errKey        = &HTTPError{400, "bad_key", "Sec-WebSocket-Key must be 16 bytes in base64"}
)

// HTTPErrors lists a refusal of every reason, for metrics that exist before the first one.
func HTTPErrors() []*HTTPError {
	return []*HTTPError{
		errTLS, errRequestLine, errMethod, errHTTP10, errHTTPVersion, errTarget, errHeaderTooLarge, errHeaderCount,
		errBareLF, errBareCR, errSpaceColon, errObsFold, errHeaderName, errControlByte, duplicates[singleHost], errBody, errLength,
		errNoHost, errHost, errHostMismatch, errSubprotocol, errSubprotocols, errSubprotocol2x,
		errNoUpgrade, errConnection, errVersion, errNoKey, errKey,
	}
}
