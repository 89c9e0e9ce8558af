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
var classes = [...]int{512, 2 << 10, 8 << 10, LargestPooled}

// LargestPooled is the largest of them: what a message in part may hold though it is smaller.
const LargestPooled = 64 << 10

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
	p.recycle()
}

// recycle leaves the buffer to the pool or the garbage collector.
func (p *Partial) recycle() {
	if p.class >= 0 {
		p.buf, p.msg = p.buf[:0], 0
		partials[p.class].Put(p)
	}
}

// reserve counts n more bytes of partial messages, unless that would pass most; 0 is no limit.
func reserve(n int, most int64) bool {
	if total := partialBytes.Add(int64(n)); most <= 0 || total <= most {
		return true
	}
	partialBytes.Add(int64(-n))
	return false
}

// appendPartial appends b to *part, moving to a bigger buffer when needed, and tells whether there was room for that.
func appendPartial(part **Partial, b []byte, cfg *Config) bool {
	p := *part
	if p == nil || len(p.buf)+len(b) > cap(p.buf) {
		if p = growPartial(part, len(b), cfg); p == nil {
			return false
		}
	}
	p.buf = append(p.buf, b...)
	return true
}

// growPartial makes room for n more bytes, or returns nil and changes nothing.
func growPartial(part **Partial, n int, cfg *Config) *Partial {
	old := *part
	var have, held int
	if old != nil {
		have, held = len(old.buf), cap(old.buf)
	}
	size, class := partialSize(have+n, held, cfg)
	if !reserve(size-held, cfg.MaxPartials) {
		return nil
	}
	p := newPartial(size, class)
	if old != nil {
		p.buf, p.msg = append(p.buf, old.buf...), old.msg
		old.recycle()
	}
	*part = p
	return p
}

// partialSize is the capacity, and its class, of a buffer for need bytes that follows one of held.
func partialSize(need, held int, cfg *Config) (size int, class int8) {
	for i, size := range classes {
		if need <= size {
			return size, int8(i)
		}
	}
	size = max(need, 2*held)
	if ceiling := cfg.MaxMessage + maxControl; cfg.MaxMessage > 0 && size > ceiling { // it will never hold more
		size = max(need, ceiling)
	}
	return size, -1
}

func newPartial(size int, class int8) *Partial {
	if class >= 0 {
		if p, _ := partials[class].Get().(*Partial); p != nil {
			return p
		}
	}
	return &Partial{buf: make([]byte, 0, size), class: class}
}
