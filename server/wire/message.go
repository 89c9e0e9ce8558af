package wire

// Formats of a message's data, in the order of broker.Format.
const (
	FormatJSON byte = iota
	FormatText
	FormatBinary
	FormatMsgpack
)

// Message is one message of a group.
type Message struct {
	Group  []byte // name
	Data   []byte // in Format
	From   []byte // user id of the sender; empty = a backend, left out
	Format byte
	Seq    uint64 // durable groups; 0 is left out
}

// AppendMessage appends a message frame: JSON verbatim, text as a string, binary as base64 with "format":"binary", msgpack converted.
// On error (invalid msgpack) dst is returned unchanged and the message cannot be delivered.
func AppendMessage(dst []byte, m *Message) ([]byte, error) { panic("stub") }
