package wire

// OpKind names what a client asks for.
type OpKind uint8

const (
	OpUnknown OpKind = iota // never handed out by Next, which answers unknown_op
	OpGroupAdd
	OpGroupDiscard
	OpGroupSend
	OpPresence
	OpHistory
	OpAuth
	OpPing
	OpPong
)

// Op is one decoded request. Its slices point into the frame or the decoder's scratch and are valid until the next call of Next or Reset.
type Op struct {
	Kind  OpKind
	HasID bool // a reply is wanted
	ID    int64

	Group  []byte     // unescaped; nil if absent
	Groups []GroupReq // group_add only, instead of Group
	Data   []byte     // group_send: the JSON value as sent
	MsgID  []byte
	Token  []byte // auth
	Echo   bool   // group_send: true unless "echo":false

	Presence   bool // group_add: watch join and leave
	HasSince   bool // group_add with Group: recover from SinceEpoch, SinceSeq
	SinceEpoch []byte
	SinceSeq   uint64

	Limit  int    // history; 0 if absent
	Before uint64 // history; 0 if absent

	Raw  []byte // the op's object as sent
	Name []byte // the op field
}

// GroupReq is one element of "groups".
type GroupReq struct {
	Group      []byte
	HasSince   bool
	SinceEpoch []byte
	SinceSeq   uint64
}

// Error is a refused op, or with Fatal a frame that is no JSON, which ends the conn with 4400. It is valid until the next call of Next or Reset.
type Error struct {
	Code    string
	Message string // says which field and what would be right
	HasID   bool
	ID      int64
	Fatal   bool
}

func (e *Error) Error() string { return e.Message }

// DefaultMaxOps is how many ops one array frame may hold unless Decoder.MaxOps says otherwise.
const DefaultMaxOps = 1024

// Decoder decodes text frames, one at a time. The zero value is ready; one loop reuses one Decoder. Not safe for concurrent use.
type Decoder struct {
	// MaxOps is the largest number of ops in one array frame. 0 means [DefaultMaxOps].
	MaxOps int
}

// Reset starts on a frame, which must be valid UTF-8 and stay unchanged until the last op of it was handled.
func (d *Decoder) Reset(frame []byte) { panic("stub") }

// Next decodes the next op of the frame. It returns
//
//	true, nil     op is filled
//	true, *Error  this op is refused; answer it and call Next again
//	false, *Error Fatal: the frame is no JSON; close with 4400
//	false, nil    the frame is done
func (d *Decoder) Next(op *Op) (more bool, err error) { panic("stub") }

// ValidJSON reports whether b is one JSON value, not nested deeper than 512 levels.
func ValidJSON(b []byte) bool { panic("stub") }
