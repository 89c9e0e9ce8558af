package ledger

import (
	"fmt"
	"slices"
	"strings"
)

// Ledger checks the arrivals of all receivers of a run. One goroutine uses it at a time.
type Ledger struct {
	// static
	run    uint32
	groups []uint32 // of each receiver

	next    []uint32       // of each receiver: the sequence number that should come
	missing map[int][]span // receivers with gaps only
	counts  Counts
}

// span is a gap: the sequence numbers from lo up to, not with, hi.
type span struct{ lo, hi uint32 }

// Counts is the balance of a run.
type Counts struct {
	Expected   int64 `json:"expected"`
	Delivered  int64 `json:"delivered"` // each message once a receiver, late ones too
	Lost       int64 `json:"lost"`
	Duplicated int64 `json:"duplicated"`
	Reordered  int64 `json:"reordered"`
	WrongGroup int64 `json:"wrong_group"`
	Foreign    int64 `json:"foreign"` // of another run, or never sent
}

// New returns the ledger of a run with one publisher, whose receiver i is a member of groups[i] and of no other.
func New(run uint32, groups []uint32) *Ledger {
	return &Ledger{run: run, groups: groups, next: make([]uint32, len(groups)), missing: make(map[int][]span)}
}

// Receive enters an arrival and reports whether it is the message's first at this receiver.
func (l *Ledger) Receive(receiver int, s Stamp) (first bool) {
	switch next := &l.next[receiver]; {
	case s.Run != l.run || s.Publisher != 0:
		l.counts.Foreign++
		return false
	case s.Group != l.groups[receiver]:
		l.counts.WrongGroup++
		return false
	case s.Seq == *next:
		*next++
	case s.Seq > *next:
		l.missing[receiver] = append(l.missing[receiver], span{*next, s.Seq})
		*next = s.Seq + 1
	case l.fill(receiver, s.Seq):
		l.counts.Reordered++
	default:
		l.counts.Duplicated++
		return false
	}
	l.counts.Delivered++
	return true
}

// fill takes a late arrival out of the receiver's gaps and reports whether it was in one.
func (l *Ledger) fill(receiver int, seq uint32) bool {
	gaps := l.missing[receiver]
	for i, g := range gaps {
		if seq < g.lo || seq >= g.hi {
			continue
		}
		var parts []span
		if g.lo < seq {
			parts = append(parts, span{g.lo, seq})
		}
		if seq+1 < g.hi {
			parts = append(parts, span{seq + 1, g.hi})
		}
		l.missing[receiver] = slices.Replace(gaps, i, i+1, parts...)
		return true
	}
	return false
}

// Balance returns the counts, when sent(group) messages were published to each group.
func (l *Ledger) Balance(sent func(group uint32) uint32) Counts {
	c := l.counts
	for i, group := range l.groups {
		n := sent(group)
		c.Expected += int64(n)
		switch next := l.next[i]; {
		case next > n: // numbers nobody sent
			c.Foreign += int64(next - n)
		default:
			c.Lost += int64(n - next)
		}
		for _, g := range l.missing[i] {
			c.Lost += int64(g.hi - g.lo)
		}
	}
	return c
}

// Faults names what is wrong, in words; empty for a run that is correct.
func (c Counts) Faults() []string {
	var faults []string
	for _, f := range []struct {
		n    int64
		what string
	}{
		{c.Lost, "lost"}, {c.Duplicated, "duplicated"}, {c.Reordered, "reordered"},
		{c.WrongGroup, "delivered to the wrong group"}, {c.Foreign, "of another run"},
	} {
		if f.n > 0 {
			faults = append(faults, fmt.Sprintf("%d of %d messages %s", f.n, c.Expected, f.what))
		}
	}
	return faults
}

// String is one line for tables.
func (c Counts) String() string {
	if f := c.Faults(); len(f) > 0 {
		return strings.Join(f, ", ")
	}
	return fmt.Sprintf("%d of %d delivered, each once and in order", c.Delivered, c.Expected)
}
