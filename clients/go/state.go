package gatecast

import "time"

// State is where a [Conn] is in its life.
//
//	             welcome, groups are back
//	CONNECTING ──────────────────────────► CONNECTED
//	    ▲  │                                   │
//	    │  └──── refused ─────► CLOSED ◄───────┤ Close, or a close code that forbids a retry
//	    │                          ▲           │
//	    └────── time is up ──── WAITING ◄──────┘ lost
type State uint8

const (
	StateConnecting State = iota
	StateConnected
	StateWaiting // for the time of the next attempt
	StateClosed  // for ever
)

func (s State) String() string {
	return [...]string{"connecting", "connected", "waiting", "closed"}[s]
}

// StateChange tells of a new state.
type StateChange struct {
	State State
	Err   error         // why, for StateWaiting and StateClosed; nil after Close
	Retry time.Duration // until the next attempt, for StateWaiting
}
