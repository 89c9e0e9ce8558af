package pack

import "encoding/binary"

// Text names a text in [Texts]; 0 is the empty one.
type Text uint32

// Texts holds texts. Each takes its length and two bytes, rounded up to 8. The zero value is empty and ready.
type Texts struct {
	chunks []*[chunkSize]byte
	end    uint32              // units handed out, unit 0 of the first chunk included, which is never used
	free   [classes + 1]uint32 // by size in units: the first free piece, which holds the next
	long   map[Text][]byte     // what is longer than a piece may be
	longs  uint32              // names given to long ones
	live   int
}

const (
	unit      = 8
	classes   = 48 // the largest piece in units
	chunkSize = 32 << 10
	perChunk  = chunkSize / unit
	isLong    = 1 << 31
	prefix    = 2 // bytes of the length
)

// Put keeps a copy of b and returns its name.
func (t *Texts) Put(b []byte) Text {
	if len(b) == 0 {
		return 0
	}
	t.live++
	size := units(len(b))
	if size > classes {
		return t.putLong(b)
	}
	at := t.free[size]
	if at != 0 {
		t.free[size] = binary.LittleEndian.Uint32(t.from(at))
	} else {
		at = t.take(size)
	}
	piece := t.from(at)
	binary.LittleEndian.PutUint16(piece, uint16(len(b)))
	copy(piece[prefix:], b)
	return Text(at)
}

// Get returns the text, which is valid until it is dropped and must not be written to.
func (t *Texts) Get(name Text) []byte {
	switch {
	case name == 0:
		return nil
	case name&isLong != 0:
		return t.long[name]
	}
	piece := t.from(uint32(name))
	n := int(binary.LittleEndian.Uint16(piece))
	return piece[prefix : prefix+n : prefix+n]
}

// Drop forgets a text. Its memory is used for others of its size; when it was the last, all is given back.
func (t *Texts) Drop(name Text) {
	if name == 0 {
		return
	}
	if t.live--; t.live == 0 {
		*t = Texts{}
		return
	}
	if name&isLong != 0 {
		delete(t.long, name)
		return
	}
	t.release(uint32(name), units(len(t.Get(name))))
}

// Len returns the number of texts.
func (t *Texts) Len() int { return t.live }

func units(n int) uint32 { return uint32(prefix+n+unit-1) / unit }

// from returns the memory from a unit to the end of its chunk.
func (t *Texts) from(at uint32) []byte { return t.chunks[at/perChunk][at%perChunk*unit:] }

// take returns a piece that was never used.
func (t *Texts) take(size uint32) uint32 {
	if t.end == 0 {
		t.end = 1
	}
	if rest := perChunk - t.end%perChunk; t.end%perChunk != 0 && rest < size { // a piece does not span chunks
		t.release(t.end, rest)
		t.end += rest
	}
	if int(t.end/perChunk) == len(t.chunks) {
		t.chunks = append(t.chunks, new([chunkSize]byte))
	}
	at := t.end
	t.end += size
	return at
}

func (t *Texts) release(at, size uint32) {
	binary.LittleEndian.PutUint32(t.from(at), t.free[size])
	t.free[size] = at
}

func (t *Texts) putLong(b []byte) Text {
	if t.long == nil {
		t.long = make(map[Text][]byte)
	}
	for { // 2 billion names later one may be in use still
		t.longs++
		name := Text(t.longs | isLong)
		if _, used := t.long[name]; !used && name != isLong {
			t.long[name] = append([]byte(nil), b...)
			return name
		}
	}
}
