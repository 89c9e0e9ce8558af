package ws

import (
	"sync"
	"sync/atomic"
)

// Partial is the pooled buffer of a message that has arrived in part. It grows with the bytes that have arrived, never with a length a peer declares.
type Partial struct {
	buf   []byte // message, then a control frame's payload
	msg   int    // length of the message in buf; a control frame that arrives in pieces collects behind it
	class int8   // index in classes; -1 = too big for a pool
}

// classes are the capacities that are pooled. Bigger buffers are left to the garbage collector.
var classes = [...]int{512, 2 << 10, 8 << 10, 64 << 10}

// partials holds released Partials by class: buf has length 0 and the class's capacity, msg is 0. What buf held before is overwritten before it is read.
var partials [len(classes)]sync.Pool

var partialBytes atomic.Int64

// PartialBytes returns the bytes that partial messages of the process hold now.
func PartialBytes() int64 { return partialBytes.Load() }

// ReleasePartial gives *part back to the pool and sets it to nil. Call it when a conn closes. A nil *part is fine.
func ReleasePartial(part **Partial) {
	p := *part
	if p == nil {
		return
	}
	*part = nil
	partialBytes.Add(-int64(cap(p.buf)))
	if p.class >= 0 {
		p.buf, p.msg = p.buf[:0], 0
		partials[p.class].Put(p)
	}
}

// appendPartial appends b to *part, moving to a bigger buffer when needed. ceiling is the most the buffer will ever hold, 0 = unknown.
func appendPartial(part **Partial, b []byte, ceiling int) {
	p := *part
	if p == nil || len(p.buf)+len(b) > cap(p.buf) {
		p = growPartial(part, len(b), ceiling)
	}
	p.buf = append(p.buf, b...)
}

func growPartial(part **Partial, n, ceiling int) *Partial {
	old := *part
	have := 0
	if old != nil {
		have = len(old.buf)
	}
	p := getPartial(have+n, ceiling, old)
	if old != nil {
		p.buf = append(p.buf, old.buf...)
		p.msg = old.msg
		ReleasePartial(part)
	}
	*part = p
	return p
}

func getPartial(need, ceiling int, old *Partial) *Partial {
	for i, size := range classes {
		if need <= size {
			partialBytes.Add(int64(size))
			if p, _ := partials[i].Get().(*Partial); p != nil {
				return p
			}
			return &Partial{buf: make([]byte, 0, size), class: int8(i)}
		}
	}
	size := need
	if old != nil {
		size = max(need, 2*cap(old.buf))
	}
	if ceiling > 0 && size > ceiling {
		size = max(need, ceiling)
	}
	p := &Partial{buf: make([]byte, 0, size), class: -1}
	partialBytes.Add(int64(cap(p.buf)))
	return p
}
