package server

import (
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/google/uuid"

	"github.com/gatecast/gatecast/server/ws"
)

// connState is where a conn is in its life:
//
//	free ─► reading ─► verifying ─► joining ─► open ─► failing ─► closing ─► free
//	         header      │   ▲         ▲         │                   ▲
//	                     ▼   │ auth    │         └───────────────────┘
//	                   waiting ────────┘
//
// reading collects the header block; verifying waits for authn; waiting has answered 101 and waits for the
// auth op (first-message login); joining waits for the barriers of the groups of its welcome; open serves ops;
// failing has broken the protocol and waits for the messages that are on their way to it from its own loop, see
// breach; closing has said its last word and waits for the loop to let the socket go. Every state may go to closing.
type connState uint8

const (
	stateFree connState = iota
	stateReading
	stateVerifying
	stateWaiting
	stateJoining
	stateOpen
	stateFailing
	stateClosing
)

var stateNames = [...]string{"free", "reading", "verifying", "waiting", "joining", "open", "failing", "closing"}

func (s connState) String() string { return stateNames[s] }

// Flags of a conn.
const (
	flagRaw       uint16 = 1 << iota // on a [[routes]] path: no protocol of ours
	flagData                         // raw route with deliver = "data"
	flagAdding                       // has an entry in owner.adding
	flagHeld                         // input is held back in owner.intake until an auth op is decided
	flagPartial                      // has an entry in owner.partials
	flagCounted                      // counts against conns_per_address
	flagUserCount                    // counts against conns_per_user
	flagExpiring                     // its session's time is over and is being looked at
	flagDrops                        // messages for it were dropped by a slow policy
	flagUpgraded                     // 101 is sent: refusals are close frames from here on
	flagDeflate                      // takes and may send compressed messages
	flagPinged                       // its last ping is not yet answered
	flagRefused                      // has an entry in owner.refusals
	flagHeaded                       // came with a PROXY header
)

// conn is one socket above the loop: no pointers, so the garbage collector does not look at the table of conns.
// What a conn needs only sometimes is kept in the owner's maps, by slot.
type conn struct {
	parser ws.Parser
	id     uuid.UUID
	addr   [16]byte // remote address, behind a trusted proxy the forwarded one
	port   uint16

	state connState
	flags uint16
	route uint16 // index+1 in Node.routes; 0 = native protocol

	opened    uint32 // tick of the accept
	pinged    uint32 // tick of the last ping
	partialAt uint32 // tick the incomplete message began
	login     uint32 // in owner.logins; 0 before it

	msgs, bytes, pings gcra
}

// refusals are the ops of a conn that were refused.
type refusals struct {
	limitedAt uint32 // tick since which every second saw one for a limit; 0 = none
	limitedTo uint32 // the last such tick
	loggedAt  uint32 // tick of the last one that was logged as info
}

func (c *conn) is(flag uint16) bool { return c.flags&flag != 0 }

// welcomed tells whether the conn is in its groups; over whether nothing that it sends is looked at any more.
func (c *conn) welcomed() bool { return c.state == stateOpen || c.state == stateFailing }
func (c *conn) over() bool     { return c.state >= stateFailing }

func (c *conn) address() netip.Addr { return netip.AddrFrom16(c.addr).Unmap() }

// gcra is a rate limit (generic cell rate algorithm): the time, in microseconds since the node's start, at
// which the conn would be back to having sent nothing.
type gcra int64

// take spends n of perSecond and tells whether they were there. The burst is one second's worth, and a single
// n above it is let through when nothing else was spent.
func (g *gcra) take(now time.Duration, n, perSecond int) bool {
	if perSecond <= 0 {
		return true
	}
	at, cost := int64(now/time.Microsecond), int64(n)*1e6/int64(perSecond)
	tat := max(int64(*g), at)
	if tat != at && tat+cost > at+1e6 {
		return false
	}
	*g = gcra(tat + cost)
	return true
}

// room tells how many of perSecond take would let through now; -1 means any number.
func (g *gcra) room(now time.Duration, perSecond int) int {
	at := int64(now / time.Microsecond)
	if perSecond <= 0 || int64(*g) <= at {
		return -1
	}
	return int(max(at+1e6-int64(*g), 0) * int64(perSecond) / 1e6)
}

// table is a slab of conns in chunks, so that growing copies nothing and a *conn stays where it is.
type table struct {
	chunks []*[chunkSize]conn
}

const chunkSize = 1024 // of 120 bytes: fifteen pages, without a rest

// at returns the conn in slot, which must have been opened.
func (t *table) at(slot uint32) *conn { return &t.chunks[slot/chunkSize][slot%chunkSize] }

// grow returns the conn in slot, made if need be.
func (t *table) grow(slot uint32) *conn {
	for int(slot/chunkSize) >= len(t.chunks) {
		t.chunks = append(t.chunks, new([chunkSize]conn))
	}
	return t.at(slot)
}

// appendUUID appends a conn id in its text form without allocating.
func appendUUID(dst []byte, id uuid.UUID) []byte {
	for i, part := range [...][]byte{id[0:4], id[4:6], id[6:8], id[8:10], id[10:16]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}
