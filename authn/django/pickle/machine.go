package pickle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Bounds of one pickle. A session is a few hundred bytes; these let a shopping cart of some thousand entries through.
const (
	MaxSize    = 1 << 20 // bytes of the pickle
	maxOpcodes = 200_000
	maxMarks   = 1_000 // containers that are open at once, of those that begin with a mark
	maxMemo    = 100_000
	protocol   = 5 // the newest that is known
)

var (
	errEnd       = errors.New("pickle: ends too early")
	errSize      = fmt.Errorf("pickle: more than %d bytes", MaxSize)
	errWork      = fmt.Errorf("pickle: more than %d opcodes", maxOpcodes)
	errDepth     = fmt.Errorf("pickle: nested more than %d deep", maxMarks)
	errMemo      = errors.New("pickle: the memo holds too much, or not what is asked of it")
	errStack     = errors.New("pickle: the stack lacks what an opcode needs")
	errType      = errors.New("pickle: an opcode got a value of the wrong type")
	errText      = errors.New("pickle: a number or text cannot be read")
	errOutside   = errors.New("pickle: it reaches outside of itself (persistent id, extension registry or buffer), which is refused")
	errHashable  = errors.New("pickle: a dict as a key")
	errNoNewline = errors.New("pickle: a line without an end")
)

// Decode reads the pickle at the start of data and gives its value and the bytes that follow it.
func Decode(data []byte) (value any, rest []byte, err error) {
	m := machine{data: data}
	if len(data) > MaxSize {
		m.data = data[:MaxSize]
	}
	for n := 0; ; n++ {
		if n == maxOpcodes {
			return nil, nil, errWork
		}
		op, err := m.byte()
		if err == nil && op == opStop {
			value, err = m.pop()
			if err == nil && (len(m.stack) != 0 || len(m.marks) != 0) {
				err = errStack
			}
			if err == nil {
				return value, data[m.pos:], nil
			}
		}
		if err == nil {
			err = m.do(op)
		}
		if errors.Is(err, errEnd) && len(data) > MaxSize {
			err = errSize
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

// machine is the virtual machine of Python's pickle module, without its hands.
type machine struct {
	data  []byte
	pos   int
	stack []any
	marks []int // heights of the stack
	memo  map[uint64]any
}

func (m *machine) byte() (byte, error) {
	if m.pos >= len(m.data) {
		return 0, errEnd
	}
	m.pos++
	return m.data[m.pos-1], nil
}

// take gives the next n bytes, not copied.
func (m *machine) take(n uint64) ([]byte, error) {
	if n > uint64(len(m.data)-m.pos) {
		return nil, errEnd
	}
	m.pos += int(n)
	return m.data[m.pos-int(n) : m.pos], nil
}

// number reads a little-endian unsigned integer of width bytes.
func (m *machine) number(width int) (uint64, error) {
	raw, err := m.take(uint64(width))
	if err != nil {
		return 0, err
	}
	var eight [8]byte
	copy(eight[:], raw)
	return binary.LittleEndian.Uint64(eight[:]), nil
}

// counted reads a length of width bytes and as many bytes.
func (m *machine) counted(width int) (string, error) {
	n, err := m.number(width)
	if err != nil {
		return "", err
	}
	raw, err := m.take(n)
	return string(raw), err
}

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	return nil
}

// floor is where the stack above the last mark begins; no opcode but those that take a mark reaches below it.
func (m *machine) floor() int {
	if n := len(m.marks); n > 0 {
		return m.marks[n-1]
	}
	return 0
}

func (m *machine) pop() (any, error) {
	n := len(m.stack) - 1
	if n < m.floor() {
		return nil, errStack
	}
	v := m.stack[n]
	m.stack[n] = nil
	m.stack = m.stack[:n]
	return v, nil
}

func (m *machine) top() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, errStack
	}
	return m.stack[len(m.stack)-1], nil
}

// popN gives the last n values, the deepest first.
func (m *machine) popN(n int) ([]any, error) {
	if len(m.stack)-n < m.floor() {
		return nil, errStack
	}
	values := append([]any(nil), m.stack[len(m.stack)-n:]...)
	m.stack = m.stack[:len(m.stack)-n]
	return values, nil
}

func (m *machine) mark() error {
	if len(m.marks) == maxMarks {
		return errDepth
	}
	m.marks = append(m.marks, len(m.stack))
	return nil
}

// popMark gives what was pushed since the last mark, and takes the mark away.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, errStack
	}
	values, err := m.popN(len(m.stack) - m.floor())
	m.marks = m.marks[:len(m.marks)-1]
	return values, err
}

func (m *machine) put(key uint64) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if len(m.memo) >= maxMemo {
		return errMemo
	}
	if m.memo == nil {
		m.memo = make(map[uint64]any)
	}
	m.memo[key] = v
	return nil
}

func (m *machine) get(key uint64) error {
	v, ok := m.memo[key]
	if !ok {
		return errMemo
	}
	return m.push(v)
}

// add puts items into the container on top: a list, a set, or an object that has a way of its own to take them.
func (m *machine) add(items []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *List:
		v.Items = append(v.Items, items...)
	case Opaque:
	default:
		return errType
	}
	return nil
}

// set puts keys and values, in turn, into the dict on top.
func (m *machine) set(pairs []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *Dict:
		return v.set(pairs)
	case Opaque:
		return nil
	}
	return errType
}

func (d *Dict) set(pairs []any) error {
	if len(pairs)%2 != 0 {
		return errStack
	}
	for i := 0; i < len(pairs); i += 2 {
		if _, dict := pairs[i].(*Dict); dict {
			return errHashable
		}
		d.items = append(d.items, item{pairs[i], pairs[i+1]})
	}
	return nil
}

// call replaces a callable and its arguments by what nobody computes.
func (m *machine) call(callable any, args []any) error {
	g, ok := callable.(Global)
	if !ok {
		if o, made := callable.(Opaque); made { // what a call gave, called
			g, ok = o.Global, true
		}
	}
	if !ok {
		return errType
	}
	return m.push(Opaque{g, args})
}

// apply is REDUCE and NEWOBJ: a callable and a tuple of arguments.
func (m *machine) apply() error {
	args, err := m.pop()
	if err != nil {
		return err
	}
	callable, err := m.pop()
	if err != nil {
		return err
	}
	list, ok := args.(*List)
	if !ok {
		return errType
	}
	return m.call(callable, list.Items)
}

// build is BUILD: it sets the state of an object, which is dropped.
func (m *machine) build() error {
	if _, err := m.pop(); err != nil {
		return err
	}
	v, err := m.top()
	if err != nil {
		return err
	}
	if _, ok := v.(Opaque); !ok {
		return errType
	}
	return nil
}

// integer is the little-endian two's complement of LONG1 and LONG4.
func integer(raw string) any {
	if len(raw) > 8 {
		return Opaque{Global{"builtins", "int"}, nil}
	}
	if len(raw) == 0 {
		return int64(0)
	}
	var n uint64
	if raw[len(raw)-1] >= 0x80 {
		n = math.MaxUint64
	}
	for i := len(raw) - 1; i >= 0; i-- {
		n = n<<8 | uint64(raw[i])
	}
	return int64(n)
}
