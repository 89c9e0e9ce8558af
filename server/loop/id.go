package loop

import "fmt"

// ID names a socket for ever: the loop that owns it in 8 bits, its generation in 32, its slot in 24. A slot is used again, an
// ID is not. The zero ID names no socket.
type ID uint64

const (
	slotBits = 24
	genBits  = 32
	maxSlots = 1 << slotBits
)

func makeID(loop int, slot, gen uint32) ID {
	return ID(uint64(loop)<<(slotBits+genBits) | uint64(gen)<<slotBits | uint64(slot))
}

// Loop returns the index of the loop that owns the socket.
func (id ID) Loop() int { return int(id >> (slotBits + genBits)) }

// Slot returns the socket's slot on its loop.
func (id ID) Slot() uint32 { return uint32(id) & (maxSlots - 1) }

// Gen returns the generation of the slot; ask [Loop.Live] whether it still holds.
func (id ID) Gen() uint32 { return uint32(id >> slotBits) }

// String returns loop.slot.gen in decimal, for logs.
func (id ID) String() string { return fmt.Sprintf("%d.%d.%d", id.Loop(), id.Slot(), id.Gen()) }
