//go:build linux

package flooder

import (
	"net/netip"
	"time"
)

// Order is a flood.
type Order struct {
	Addr     netip.AddrPort `json:"addr"`
	Requests [][]byte       `json:"requests"` // whole handshakes, sent in turns
	Rate     float64        `json:"rate"`     // handshakes due a second: open loop
	From     int64          `json:"from"`     // the first is due, by ledger.Now, which is the same for all processes of a machine
	For      time.Duration  `json:"for"`
}

// due is how many handshakes an order comes to.
func (o Order) due() int { return int(o.Rate * o.For.Seconds()) }

// Counts is what became of a flood.
type Counts struct {
	Due      int           `json:"due"`
	Accepted int           `json:"accepted"` // answered with 101
	Refused  int           `json:"refused"`  // answered with another status
	Failed   int           `json:"failed"`   // not answered
	Error    string        `json:"error"`    // of the first that failed
	Took     time.Duration `json:"took"`     // from when the first was due until the last was answered
	CPU      time.Duration `json:"-"`        // of the flooder's process
}
