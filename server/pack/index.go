package pack

// Index finds numbers by a hash of what they stand for: an open hash table, 8 bytes an entry and what is left free, a third. Numbers with
// the same hash stand side by side, and so may equal ones. The zero value is empty and ready.
type Index struct {
	slots []slot // the entry of a hash stands at or behind its home; those between are taken
	n     int
}

// slot is one entry.
type slot struct {
	hash uint32
	ref  uint32 // the number + 1; 0 = free
}

// leastSlots is the size of a small index.
const leastSlots = 16

// Find calls is with every number under hash, and returns the first for which it is true.
func (x *Index) Find(hash uint32, is func(ref uint32) bool) (ref uint32, ok bool) {
	if x.n == 0 {
		return 0, false
	}
	for i := x.home(hash); x.slots[i].ref != 0; i = x.next(i) {
		if s := x.slots[i]; s.hash == hash && is(s.ref-1) {
			return s.ref - 1, true
		}
	}
	return 0, false
}

// Put adds a number, below the largest uint32.
func (x *Index) Put(hash, ref uint32) {
	if 5*(x.n+1) > 4*len(x.slots) { // four fifths are used
		x.resize(max(leastSlots, len(x.slots)+len(x.slots)/2))
	}
	x.put(slot{hash, ref + 1})
	x.n++
}

// Drop takes a number out, once.
func (x *Index) Drop(hash, ref uint32) {
	if x.n == 0 {
		return
	}
	i := x.home(hash)
	for x.slots[i] != (slot{hash, ref + 1}) {
		if x.slots[i].ref == 0 {
			return
		}
		i = x.next(i)
	}
	// What stands behind and may stand here moves up, so that no search ends at a hole.
	for hole := i; ; {
		i = x.next(i)
		if x.slots[i].ref == 0 {
			x.slots[hole] = slot{}
			break
		}
		if x.behind(x.home(x.slots[i].hash), i) >= x.behind(hole, i) {
			x.slots[hole] = x.slots[i]
			hole = i
		}
	}
	if x.n--; x.n == 0 {
		x.slots = nil
	} else if len(x.slots) > leastSlots && 6*x.n < len(x.slots) {
		x.resize(max(leastSlots, len(x.slots)/2))
	}
}

// Len returns the number of entries.
func (x *Index) Len() int { return x.n }

func (x *Index) home(hash uint32) int { return int(uint64(hash) * uint64(len(x.slots)) >> 32) }

func (x *Index) next(i int) int {
	if i++; i == len(x.slots) {
		return 0
	}
	return i
}

// behind is how far i stands behind from, around the end.
func (x *Index) behind(from, i int) int {
	if i < from {
		i += len(x.slots)
	}
	return i - from
}

func (x *Index) resize(size int) {
	old := x.slots
	x.slots = make([]slot, size)
	for _, s := range old {
		if s.ref != 0 {
			x.put(s)
		}
	}
}

func (x *Index) put(s slot) {
	i := x.home(s.hash)
	for x.slots[i].ref != 0 {
		i = x.next(i)
	}
	x.slots[i] = s
}
