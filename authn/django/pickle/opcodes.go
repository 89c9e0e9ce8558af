package pickle

import (
	"encoding/binary"
	"math"
)

// The opcodes, by the names of Lib/pickletools.py.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opFloat          = 'F'
	opInt            = 'I'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opLong           = 'L'
	opBinInt2        = 'M'
	opNone           = 'N'
	opPersID         = 'P'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opString         = 'S'
	opBinString      = 'T'
	opShortBinString = 'U'
	opUnicode        = 'V'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opDict           = 'd'
	opAppends        = 'e'
	opGet            = 'g'
	opBinGet         = 'h'
	opInst           = 'i'
	opLongBinGet     = 'j'
	opList           = 'l'
	opObj            = 'o'
	opPut            = 'p'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opSetItems       = 'u'
	opBinFloat       = 'G'
	opEmptyList      = ']'
	opEmptyTuple     = ')'
	opEmptyDict      = '}'

	// Protocol 2.
	opProto    = 0x80
	opNewObj   = 0x81
	opExt1     = 0x82
	opExt2     = 0x83
	opExt4     = 0x84
	opTuple1   = 0x85
	opTuple2   = 0x86
	opTuple3   = 0x87
	opNewTrue  = 0x88
	opNewFalse = 0x89
	opLong1    = 0x8a
	opLong4    = 0x8b

	// Protocol 3.
	opBinBytes      = 'B'
	opShortBinBytes = 'C'

	// Protocol 4.
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opBinBytes8       = 0x8e
	opEmptySet        = 0x8f
	opAddItems        = 0x90
	opFrozenSet       = 0x91
	opNewObjEx        = 0x92
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95

	// Protocol 5.
	opByteArray8     = 0x96
	opNextBuffer     = 0x97
	opReadonlyBuffer = 0x98
)

// do runs one opcode, but for STOP.
func (m *machine) do(op byte) error {
	switch op {
	case opProto:
		version, err := m.byte()
		if err == nil && version > protocol {
			err = errText
		}
		return err
	case opFrame:
		_, err := m.number(8) // the bytes that follow are read as they come
		return err
	case opNone:
		return m.push(nil)
	case opNewTrue:
		return m.push(true)
	case opNewFalse:
		return m.push(false)
	case opBinInt, opBinInt1, opBinInt2, opLong1, opLong4, opBinFloat:
		return m.binaryNumber(op)
	case opBinUnicode, opShortBinUnicode, opBinUnicode8, opBinString, opShortBinString, opBinBytes, opShortBinBytes, opBinBytes8, opByteArray8:
		return m.binaryText(op)
	case opInt, opLong, opFloat, opString, opUnicode, opGlobal, opGet, opPut, opInst:
		return m.line(op)
	case opMark:
		return m.mark()
	case opPopMark:
		_, err := m.popMark()
		return err
	case opPop:
		if len(m.marks) > 0 && len(m.stack) == m.floor() { // POP takes a mark too
			_, err := m.popMark()
			return err
		}
		_, err := m.pop()
		return err
	case opDup:
		v, err := m.top()
		if err != nil {
			return err
		}
		return m.push(v)
	case opBinGet, opLongBinGet, opBinPut, opLongBinPut, opMemoize:
		return m.memory(op)
	case opEmptyDict:
		return m.push(&Dict{})
	case opEmptyList, opEmptyTuple, opEmptySet:
		return m.push(&List{})
	case opTuple1, opTuple2, opTuple3:
		items, err := m.popN(int(op) - opTuple1 + 1)
		if err != nil {
			return err
		}
		return m.push(&List{items})
	case opList, opTuple, opFrozenSet, opDict:
		return m.container(op)
	case opAppend, opAppends, opAddItems, opSetItem, opSetItems:
		return m.fill(op)
	case opStackGlobal, opReduce, opNewObj, opNewObjEx, opObj, opBuild:
		return m.object(op)
	case opPersID, opBinPersID, opExt1, opExt2, opExt4, opNextBuffer, opReadonlyBuffer:
		return errOutside
	}
	return errText
}

func (m *machine) binaryNumber(op byte) error {
	switch op {
	case opLong1, opLong4:
		width := 1
		if op == opLong4 {
			width = 4
		}
		raw, err := m.counted(width)
		if err != nil {
			return err
		}
		return m.push(integer(raw))
	case opBinFloat:
		raw, err := m.take(8)
		if err != nil {
			return err
		}
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(raw)))
	}
	n, err := m.number(map[byte]int{opBinInt: 4, opBinInt1: 1, opBinInt2: 2}[op])
	if err != nil {
		return err
	}
	if op == opBinInt {
		return m.push(int64(int32(n)))
	}
	return m.push(int64(n))
}

func (m *machine) binaryText(op byte) error {
	width := 4
	switch op {
	case opShortBinUnicode, opShortBinString, opShortBinBytes:
		width = 1
	case opBinUnicode8, opBinBytes8, opByteArray8:
		width = 8
	}
	text, err := m.counted(width)
	if err != nil {
		return err
	}
	switch op {
	case opBinBytes, opShortBinBytes, opBinBytes8, opByteArray8:
		return m.push(Bytes(text))
	}
	return m.push(text) // Python 2's str too: ASCII in everything that matters here
}

func (m *machine) memory(op byte) error {
	if op == opMemoize {
		return m.put(uint64(len(m.memo)))
	}
	width := 1
	if op == opLongBinGet || op == opLongBinPut {
		width = 4
	}
	key, err := m.number(width)
	if err != nil {
		return err
	}
	if op == opBinGet || op == opLongBinGet {
		return m.get(key)
	}
	return m.put(key)
}

func (m *machine) container(op byte) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	if op != opDict {
		return m.push(&List{items})
	}
	d := &Dict{}
	if err := d.set(items); err != nil {
		return err
	}
	return m.push(d)
}

func (m *machine) fill(op byte) (err error) {
	var items []any
	switch op {
	case opAppend:
		items, err = m.popN(1)
	case opSetItem:
		items, err = m.popN(2)
	default:
		items, err = m.popMark()
	}
	if err != nil {
		return err
	}
	if op == opSetItem || op == opSetItems {
		return m.set(items)
	}
	return m.add(items)
}

func (m *machine) object(op byte) error {
	switch op {
	case opReduce, opNewObj:
		return m.apply()
	case opBuild:
		return m.build()
	case opNewObjEx: // class, arguments, keyword arguments
		if _, err := m.pop(); err != nil {
			return err
		}
		return m.apply()
	case opObj:
		items, err := m.popMark()
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return errStack
		}
		return m.call(items[0], items[1:])
	}
	names, err := m.popN(2)
	if err != nil {
		return err
	}
	module, ok := names[0].(string)
	name, ok2 := names[1].(string)
	if !ok || !ok2 {
		return errType
	}
	return m.push(Global{module, name})
}
