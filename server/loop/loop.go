package loop

import (
	"net/netip"
)

// Handler is the code above the sockets of one loop. All methods are called on that loop's goroutine only, in both modes, so a
// handler needs no locks for what belongs to its loop; they must not block.
//
// A panic in a method is logged and counted, closes the socket the call was about, and ends nothing else. That socket is the slot
// argument of Open, Read and Closed, the slot of the task for Task if it is live, and none for Turn and Tick. A handler that works
// on many sockets in one call says which with [Loop.Blame].
type Handler interface {
	// Open announces a new socket. Slots count from 1 (0 never names a socket) and are used again after Closed.
	Open(slot uint32, peer netip.AddrPort)
	// Read hands over bytes that arrived. b may be written to and is valid only during the call. It is not called after Close.
	Read(slot uint32, b []byte)
	// Closed is the last call for slot, made exactly once for every Open, between turns and never from inside another call.
	// err is nil if this side closed it, io.EOF if the peer did, else why it broke.
	Closed(slot uint32, err error)
	// Task runs one posted task, in the order of posting for each poster. Tasks for sockets that are gone come too: see Loop.Live.
	Task(t Task)
	// Turn ends a turn, before dirty sockets are flushed: what it sends goes out in the same write.
	Turn()
	// Tick is called about once a second; now counts seconds since the start, from 1, by the monotonic clock.
	Tick(now uint32)
}
