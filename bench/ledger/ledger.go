package ledger

import (
	"fmt"
	"slices"
	"strings"
)

// Ledger checks the arrivals of all receivers of a run. One goroutine uses it at a time.
//
// A membership is one receiver in one group. A group has one publisher, who numbers its messages from 0.
type Ledger struct {
	// static
	run    uint32
	first  []uint32 // membership of each receiver's first group; one more at the end
	groups []uint32 // of each membership

	excused []bool             // of each receiver; nil = nobody
	next    []uint32           // of each membership: the sequence number that should come
	missing map[uint32][]span  // of memberships with gaps only
	moves   map[uint32]*move   // of memberships that moved; nil = none may
	sentAt  map[uint32][]int64 // by group and sequence number; 0 = unknown. Kept with moves only
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
	Foreign    int64 `json:"foreign"`           // of another run, or never sent
	Excused    int64 `json:"excused,omitempty"` // lost by receivers that may lose
	Left       int64 `json:"left,omitempty"`    // arrived after the receiver had left the group
}

// New returns the ledger of a run whose receivers 0 to n-1 are members of the groups of(i), and of no others.
func New(run uint32, n int, of func(i int) []uint32) *Ledger {
	l := &Ledger{run: run, first: make([]uint32, 1, n+1), missing: make(map[uint32][]span)}
	for i := range n {
		l.groups = append(l.groups, of(i)...)
		l.first = append(l.first, uint32(len(l.groups)))
	}
	l.next = make([]uint32, len(l.groups))
	return l
}

// Excuse lets a receiver lose messages: they are counted as Excused, not as Lost. What does arrive must be right all the same.
func (l *Ledger) Excuse(receiver int) {
	if l.excused == nil {
		l.excused = make([]bool, len(l.first)-1)
	}
	l.excused[receiver] = true
}

// Receive enters an arrival and reports whether it is the message's first at this receiver.
func (l *Ledger) Receive(receiver int, s Stamp) (first bool) {
	if s.Run != l.run {
		l.counts.Foreign++
		return false
	}
	m, last := l.first[receiver], l.first[receiver+1]
	for m < last && l.groups[m] != s.Group {
		m++
	}
	if m == last {
		l.counts.WrongGroup++
		return false
	}
	if l.moves != nil {
		if v := l.moves[m]; v != nil && v.away {
			l.counts.Left++
			return false
		}
		l.learn(s)
	}
	switch next := &l.next[m]; {
	case s.Seq == *next:
		*next++
	case s.Seq > *next:
		l.missing[m] = append(l.missing[m], span{*next, s.Seq})
		*next = s.Seq + 1
	case l.fill(m, s.Seq):
		l.counts.Reordered++
	default:
		l.counts.Duplicated++
		return false
	}
	l.counts.Delivered++
	return true
}

// fill takes a late arrival out of the membership's gaps and reports whether it was in one.
func (l *Ledger) fill(m, seq uint32) bool {
	gaps := l.missing[m]
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
		l.missing[m] = slices.Replace(gaps, i, i+1, parts...)
		return true
	}
	return false
}

// Balance returns the counts, when sent[group] messages were published to each group.
func (l *Ledger) Balance(sent []uint32) Counts {
	c := l.counts
	for receiver := range len(l.first) - 1 {
		lost := &c.Lost
		if l.excused != nil && l.excused[receiver] {
			lost = &c.Excused
		}
		for m := l.first[receiver]; m < l.first[receiver+1]; m++ {
			n := sent[l.groups[m]]
			if v := l.moves[m]; v != nil {
				got, missed := l.balance(m, n, v)
				c.Expected += got + missed
				c.Lost += missed
				c.Foreign += int64(max(l.next[m], n) - n)
				continue
			}
			c.Expected += int64(n)
			if next := l.next[m]; next > n { // numbers nobody sent
				c.Foreign += int64(next - n)
			} else {
				*lost += int64(n - next)
			}
			for _, g := range l.missing[m] {
				*lost += int64(g.hi - g.lo)
			}
		}
	}
	return c
}

// Plus adds the counts of other receivers of the same run.
func (c Counts) Plus(o Counts) Counts {
	return Counts{
		c.Expected + o.Expected, c.Delivered + o.Delivered, c.Lost + o.Lost, c.Duplicated + o.Duplicated,
		c.Reordered + o.Reordered, c.WrongGroup + o.WrongGroup, c.Foreign + o.Foreign, c.Excused + o.Excused,
		c.Left + o.Left,
	}
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
		{c.Left, "delivered after leaving"},
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
