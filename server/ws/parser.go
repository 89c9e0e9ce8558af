package ws

// Config is what a parser enforces; one value serves all conns.
type Config struct {
	// MaxMessage is the largest message in bytes, all fragments together. 0 means no limit.
	MaxMessage int
	// MaxFragments is the largest number of frames in one message, empty ones included. 0 means [DefaultMaxFragments], negative no limit.
	MaxFragments int
	// Client expects unmasked frames, as a client receives them.
	Client bool
}

// DefaultMaxFragments is the limit of a zero MaxFragments.
const DefaultMaxFragments = 1024

// CloseError is a peer's breach of the protocol. The conn is closed with Code, and Text as the reason.
type CloseError struct {
	Code   int    // 1002, 1007 or 1009
	Reason string // stable snake_case word for logs and metrics
	Text   string // for the person who reads the close frame
}

func (e *CloseError) Error() string { return e.Text }

// Event is one thing a peer said. Payload is valid until the next call of Next or [ReleasePartial].
type Event struct {
	Op      Op     // OpText, OpBinary: a whole message; OpPing, OpPong, OpClose
	Payload []byte // text is valid UTF-8; a close payload is checked, see [ParseClose]
}

// Parser is the state of one conn's inbound stream. The zero value is ready. It holds no pointers.
type Parser struct {
}

// Partial is the pooled buffer of a message that has arrived in part.
type Partial struct {
	buf []byte
}

// Next consumes from b and unmasks in place. ok is false when b is used up. After a close event or an error the parser swallows everything.
func (p *Parser) Next(b []byte, cfg *Config, part **Partial) (ev Event, rest []byte, ok bool, err error) {
	panic("stub")
}

// Incomplete reports whether a frame or a fragmented message has begun and not ended.
func (p *Parser) Incomplete() bool { panic("stub") }

// ReleasePartial gives *part back to the pool and sets it to nil. Call it when a conn closes. A nil *part is fine.
func ReleasePartial(part **Partial) { panic("stub") }

// PartialBytes returns the bytes that partial messages of the process hold now.
func PartialBytes() int64 { panic("stub") }
