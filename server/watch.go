package server

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/server/loop"
)

// watchedOwner is an owner that leaves word of the conn it works for, so that the loops' watchdog can name the one that blocks a loop. It is
// the [loop.Handler] and [loop.Watched] of its loop.
type watchedOwner struct {
	*owner

	// Written by the loop, read by the watchdog: the conn of the present call.
	slot   atomic.Uint32
	hi, lo atomic.Uint64 // its id
}

// note leaves word; slot 0 is no conn.
func (w *watchedOwner) note(slot uint32) {
	w.slot.Store(slot)
	if slot != 0 {
		id := &w.conns.at(slot).id
		w.hi.Store(binary.BigEndian.Uint64(id[:8]))
		w.lo.Store(binary.BigEndian.Uint64(id[8:]))
	}
}

// Read implements [loop.Handler].
func (w *watchedOwner) Read(slot uint32, b []byte) {
	w.note(slot)
	w.owner.Read(slot, b)
}

// Task implements [loop.Handler].
func (w *watchedOwner) Task(t loop.Task) {
	if w.loop.Live(t.Slot, t.Gen) {
		w.note(t.Slot)
	} else {
		w.note(0)
	}
	w.owner.Task(t)
}

// taskNames are what a task does, by its kind.
var taskNames = [...]string{taskDeliver: "deliver", taskLogin: "login", taskJoined: "joined", taskRun: "run"}

// Doing implements [loop.Watched].
func (w *watchedOwner) Doing(slot uint32, task int) []any {
	var attrs []any
	if task >= 0 && task < len(taskNames) {
		attrs = append(attrs, "task", taskNames[task])
	}
	if slot == 0 || slot != w.slot.Load() {
		return attrs
	}
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], w.hi.Load())
	binary.BigEndian.PutUint64(id[8:], w.lo.Load())
	if id == (uuid.UUID{}) { // its handshake is not that far
		return attrs
	}
	return append(attrs, "conn", id)
}
