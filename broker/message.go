package broker

// Format says how the bytes of a message are to be read.
type Format uint8

// The formats of header Gc-Format.
const (
	FormatJSON    Format = iota // valid JSON, the default: no header
	FormatText                  // UTF-8
	FormatBinary                // any bytes
	FormatMsgpack               // one MessagePack value
)

var formatNames = [...]string{"json", "text", "binary", "msgpack"}

// String returns the header's value.
func (f Format) String() string {
	if int(f) < len(formatNames) {
		return formatNames[f]
	}
	return "unknown"
}

// ParseFormat reads a header's value; empty is JSON.
func ParseFormat(s string) (Format, bool) {
	switch s {
	case "", "json":
		return FormatJSON, true
	case "text":
		return FormatText, true
	case "binary":
		return FormatBinary, true
	case "msgpack":
		return FormatMsgpack, true
	}
	return 0, false
}

// Message is one message to or from a group.
type Message struct {
	Group   []byte // the name, unescaped
	Data    []byte
	Format  Format
	ID      []byte // idempotency, chosen by the publisher; may be empty
	From    []byte // user id, empty if no user sent it
	Conn    []byte // the sender's conn id, empty if no conn sent it
	Exclude []byte // conn ids that must not get it, separated by commas
	Seq     uint64 // position in a durable group, 0 in a live one
}
