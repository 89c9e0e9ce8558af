package wire

import "strconv"

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

var opNames = [...]string{
	OpUnknown:      "unknown",
	OpGroupAdd:     "group_add",
	OpGroupDiscard: "group_discard",
	OpGroupSend:    "group_send",
	OpPresence:     "presence",
	OpHistory:      "history",
	OpAuth:         "auth",
	OpPing:         "ping",
	OpPong:         "pong",
}

// String returns the name on the wire.
func (k OpKind) String() string { return opNames[k] }

func kindOf(name []byte) OpKind {
	switch string(name) {
	case "group_add":
		return OpGroupAdd
	case "group_discard":
		return OpGroupDiscard
	case "group_send":
		return OpGroupSend
	case "presence":
		return OpPresence
	case "history":
		return OpHistory
	case "auth":
		return OpAuth
	case "ping":
		return OpPing
	case "pong":
		return OpPong
	}
	return OpUnknown
}

// Op is one decoded request. Its slices point into the frame or the decoder's scratch and are valid until the next call of Next or Reset.
type Op struct {
	Kind  OpKind
	HasID bool // a reply is wanted
	ID    int64

	Group   []byte     // unescaped, not checked as a name; nil if absent
	Groups  []GroupReq // group_add only, instead of Group
	Data    []byte     // group_send: the JSON value as sent, without white space around it
	MsgID   []byte
	Token   []byte // auth
	Echo    bool   // group_send: true unless "echo":false
	HasEcho bool   // group_send: "echo" was given

	Presence   bool // group_add: watch join and leave
	HasSince   bool // group_add with Group: recover from SinceEpoch, SinceSeq
	SinceEpoch []byte
	SinceSeq   uint64

	Limit  int    // history: 1 to 2147483647; 0 if absent
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

// What a Decoder keeps from one frame to the next.
const (
	keepScratch = 64 << 10 // bytes
	keepGroups  = 1024
)

// Decoder decodes text frames, one at a time. The zero value is ready; one loop reuses one Decoder. Not safe for concurrent use.
type Decoder struct {
	// MaxOps is the largest number of ops in one array frame. 0 means [DefaultMaxOps].
	MaxOps int

	scan  scanner
	state decoderState
	next  int // index of the next op in the frame
	ops   int // of this frame so far

	bad     fieldSet   // fields of the current op with a wrong type
	scratch []byte     // unescaped strings of the current op
	groups  []GroupReq // of the current op
	err     Error
}

// decoderState is where in the frame the decoder stands.
//
//	start ──► single ──► done
//	  └─────► array ─┬─► done
//	             ▲───┘
type decoderState uint8

const (
	atDone decoderState = iota
	atStart
	atSingle
	atArray
)

// Reset starts on a frame, which must be valid UTF-8 and stay unchanged until the last op of it was handled.
func (d *Decoder) Reset(frame []byte) {
	d.scan.b = frame
	d.state = atStart
	d.next, d.ops = 0, 0
	if cap(d.scratch) > keepScratch {
		d.scratch = nil
	}
	if cap(d.groups) > keepGroups {
		d.groups = nil
	}
	d.scan.spill = nil
}

// Next decodes the next op of the frame. It returns
//
//	true, nil     op is filled
//	true, *Error  this op is refused; answer it and call Next again
//	false, *Error Fatal: the frame is no JSON; close with 4400
//	false, nil    the frame is done
//
// Ops are handed out before what follows them in the array is read, so a frame may begin well and end fatally.
func (d *Decoder) Next(op *Op) (more bool, err error) {
	d.scratch = d.scratch[:0]
	if d.state == atStart {
		if err := d.start(); err != nil {
			return false, err
		}
	}
	if d.state == atDone {
		return false, nil
	}
	*op = Op{Echo: true}
	d.bad = 0
	d.scan.deep = false
	maxOps := d.MaxOps
	if maxOps <= 0 {
		maxOps = DefaultMaxOps
	}
	if d.ops++; d.ops > maxOps {
		d.state = atDone
		return true, d.refuse(op, CodeLimit, "too many ops in one frame; the rest of it was dropped")
	}

	isObject := d.scan.at(d.next) == '{'
	var end int
	if isObject {
		end = d.object(op, d.next)
	} else {
		end = d.scan.value(d.next)
	}
	if end < 0 {
		return false, d.fatal(end)
	}
	op.Raw = d.scan.b[d.next:end]
	if end = d.separator(end); end < 0 {
		return false, d.fatal(end)
	}
	d.next = end
	if !isObject {
		return true, d.refuse(op, CodeBadRequest, "an op must be a JSON object")
	}
	if e := d.check(op); e != nil {
		return true, e
	}
	return true, nil
}

// start finds out whether the frame is an object or an array. The error is nil or an *Error.
func (d *Decoder) start() error {
	i := d.scan.space(0)
	switch d.scan.at(i) {
	case '{':
		d.state, d.next = atSingle, i
		return nil
	case '[':
		d.state = atArray
		if i = d.scan.space(i + 1); d.scan.at(i) == ']' {
			i = d.end(i + 1)
		}
		d.next = i
		if i < 0 {
			return d.fatal(i)
		}
		return nil
	}
	return d.fatal(^i)
}

// separator moves from the end of an op to the next one, or to the end of the frame.
func (d *Decoder) separator(i int) int {
	if d.state == atSingle {
		return d.end(i)
	}
	i = d.scan.space(i)
	switch d.scan.at(i) {
	case ',':
		return d.scan.space(i + 1)
	case ']':
		return d.end(i + 1)
	}
	return ^i
}

// end checks that nothing but white space is left.
func (d *Decoder) end(i int) int {
	d.state = atDone
	if i = d.scan.space(i); i < len(d.scan.b) {
		return ^i
	}
	return i
}

func (d *Decoder) fatal(end int) error {
	d.state = atDone
	d.err = Error{Code: CodeBadRequest, Message: "the frame is no JSON object or array of objects, see byte " + strconv.Itoa(^end), Fatal: true}
	return &d.err
}

func (d *Decoder) refuse(op *Op, code, message string) error {
	d.err = Error{Code: code, Message: message}
	if d.bad&fieldID == 0 {
		d.err.HasID, d.err.ID = op.HasID, op.ID
	}
	return &d.err
}

// object decodes the op at i.
func (d *Decoder) object(op *Op, i int) int {
	return d.members(i, func(name []byte, i int) int { return d.field(op, name, i) })
}

// members walks the object at i and calls each with every member's name and the start of its value; each returns the value's end.
func (d *Decoder) members(i int, each func(name []byte, i int) (end int)) int {
	s := &d.scan
	if i = s.space(i + 1); s.at(i) == '}' {
		return i + 1
	}
	for {
		if s.at(i) != '"' {
			return ^i
		}
		end, escaped := s.str(i)
		if end < 0 {
			return end
		}
		name := d.text(i, end, escaped)
		if i = s.colon(end); i < 0 {
			return i
		}
		if i = each(name, i); i < 0 {
			return i
		}
		i = s.space(i)
		switch s.at(i) {
		case ',':
			i = s.space(i + 1)
		case '}':
			return i + 1
		default:
			return ^i
		}
	}
}

// text returns the meaning of the string from its opening quote at i to behind its closing one. It is never nil.
func (d *Decoder) text(i, end int, escaped bool) []byte {
	in := d.scan.b[i+1 : end-1]
	if !escaped {
		return in
	}
	start := len(d.scratch)
	d.scratch = appendUnescaped(d.scratch, in) // if it moves, earlier texts keep their old bytes
	return d.scratch[start:len(d.scratch):len(d.scratch)]
}
