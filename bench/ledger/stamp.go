package ledger

import "bytes"

// StampSize is the length of a stamp in bytes, and the smallest payload a run can use.
const StampSize = 64

// mark begins every stamp. All of a stamp is plain ASCII without quotes, so it passes through any codec unchanged.
const mark = "gc1:"

// Stamp is what a payload says of itself. Times are nanoseconds of [Now].
type Stamp struct {
	Run       uint32 // random per run: tells a message of another run
	Group     uint32
	Publisher uint16 // of several; a group has one
	Seq       uint32 // per group, from 0
	Due       int64  // when it should have been sent
	Sent      int64  // when it was given to the kernel
}

// Append adds the stamp's text to dst.
func (s Stamp) Append(dst []byte) []byte {
	dst = append(dst, mark...)
	dst = appendHex(dst, uint64(s.Run), 8)
	dst = appendHex(dst, uint64(s.Group), 8)
	dst = appendHex(dst, uint64(s.Publisher), 4)
	dst = appendHex(dst, uint64(s.Seq), 8)
	dst = appendHex(dst, uint64(s.Due), 16)
	return appendHex(dst, uint64(s.Sent), 16)
}

// Find returns the first stamp in b and what follows it. A message may hold several.
func Find(b []byte) (s Stamp, rest []byte, ok bool) {
	for {
		i := bytes.Index(b, []byte(mark))
		if i < 0 || len(b)-i < StampSize {
			return Stamp{}, nil, false
		}
		f := b[i+len(mark) : i+StampSize]
		run, ok1 := hex(f[:8])
		group, ok2 := hex(f[8:16])
		publisher, ok3 := hex(f[16:20])
		seq, ok4 := hex(f[20:28])
		due, ok5 := hex(f[28:44])
		sent, ok6 := hex(f[44:60])
		if ok1 && ok2 && ok3 && ok4 && ok5 && ok6 {
			return Stamp{uint32(run), uint32(group), uint16(publisher), uint32(seq), int64(due), int64(sent)}, b[i+StampSize:], true
		}
		b = b[i+len(mark):]
	}
}

const digits = "0123456789abcdef"

func appendHex(dst []byte, v uint64, width int) []byte {
	for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
		dst = append(dst, digits[v>>shift&15])
	}
	return dst
}

func hex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			v = v<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
