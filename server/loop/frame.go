package loop

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Frame is a run of bytes that many sockets share, such as one encoded message for all members of a group.
//
// The caller of [NewFrame] holds one reference and may append to B until the frame is first handed to a loop; from then on B is
// immutable. [Loop.Send] and [Loop.SendNow] take references of their own, so the caller releases its one when it has sent to all.
// The bytes live until the last reference is released, then the memory serves another frame.
type Frame struct {
	B []byte
	// Tag is for [Loop.Shed]: 0 for what is never dropped. Set it before the frame is first handed to a loop.
	Tag uint64

	refs atomic.Int32
}

// Sizes of pooled buffers: powers of two from 64 bytes to 64 KB. Larger ones are left to the garbage collector, for a few would
// pin more memory than they save work.
const (
	minClass = 6
	maxClass = 16
)

var framePools [maxClass + 1]sync.Pool

// NewFrame returns an empty frame with room for n bytes and one reference, the caller's. It may be called from any goroutine.
func NewFrame(n int) *Frame {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		f := &Frame{B: make([]byte, 0, n)}
		f.refs.Store(1)
		return f
	}
	f, _ := framePools[class].Get().(*Frame)
	if f == nil {
		f = &Frame{B: make([]byte, 0, 1<<class)}
	}
	f.refs.Store(1)
	return f
}

// Retain takes one more reference. The caller must hold one itself.
func (f *Frame) Retain() { f.refs.Add(1) }

// Release gives one reference back; after the last the frame must not be touched. It panics if there was none to give back.
// In builds with -race or the tag framedebug released bytes are overwritten and never used again, so that a reader that holds
// no reference shows itself.
func (f *Frame) Release() {
	switch n := f.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("loop: frame released more often than retained")
	case frameDebug:
		b := f.B[:cap(f.B)]
		for i := range b {
			b[i] = 0xDB
		}
	default:
		class := bits.Len(uint(cap(f.B))) - 1 // B may have grown past its class: round down
		if class < minClass || class > maxClass || cap(f.B) > 1<<maxClass {
			return
		}
		f.B, f.Tag = f.B[:0], 0 // all that a pooled frame must forget
		framePools[class].Put(f)
	}
}
