package ledger

import (
	"math"
	"time"
)

// A membership that moves is left and joined while messages are published:
//
//	member ─Leaving─► leaving ─Left─► away ─Joining─► joining ─Joined─► member
//
// From the confirmation of a join until the leave is sent, what is published must arrive, in order and once. What is on its way when
// the leave is sent may arrive or not, but no message before one that did arrive may be missing. Once the leave is confirmed nothing
// may arrive. While a join is not confirmed, messages may arrive.
type move struct {
	away  bool
	stays []stay // the first one is from the beginning
}

// stay is one time as a member. Times are those of [Stamp.Sent].
type stay struct {
	joined  int64  // confirmed; below 0 = a member from the beginning
	leaving int64  // sent; MaxInt64 = never
	begin   uint32 // what should have come next when it was confirmed
	end     uint32 // what should come next when the leave is confirmed
}

// onItsWay is longer than any message is: one published so long before the leave was sent must have arrived.
const onItsWay = int64(5 * time.Second)

// Follow prepares for memberships that move. It is called before the first arrival.
func (l *Ledger) Follow() { l.moves, l.sentAt = make(map[uint32]*move), make(map[uint32][]int64) }

// membership is that of a receiver in a group it is sometimes in.
func (l *Ledger) membership(receiver int, group uint32) uint32 {
	m := l.first[receiver]
	for l.groups[m] != group {
		m++
	}
	return m
}

func (l *Ledger) move(m uint32) *move {
	v := l.moves[m]
	if v == nil {
		v = &move{stays: []stay{{joined: -1, leaving: math.MaxInt64}}}
		l.moves[m] = v
	}
	return v
}

// MayLeave reports whether something has arrived since the last join. Who leaves only then has seen that the join took effect.
func (l *Ledger) MayLeave(receiver int, group uint32) bool {
	m := l.membership(receiver, group)
	v := l.move(m)
	return !v.away && v.stays[len(v.stays)-1].leaving == math.MaxInt64 && l.next[m] > v.stays[len(v.stays)-1].begin
}

// Leaving enters that a receiver sent its leave.
func (l *Ledger) Leaving(receiver int, group uint32, at int64) {
	v := l.move(l.membership(receiver, group))
	v.stays[len(v.stays)-1].leaving = at
}

// Left enters that a leave was confirmed.
func (l *Ledger) Left(receiver int, group uint32) {
	m := l.membership(receiver, group)
	v := l.move(m)
	v.away, v.stays[len(v.stays)-1].end = true, l.next[m]
}

// Joining enters that a receiver sent its join.
func (l *Ledger) Joining(receiver int, group uint32) {
	l.move(l.membership(receiver, group)).away = false
}

// Joined enters that a join was confirmed.
func (l *Ledger) Joined(receiver int, group uint32, at int64) {
	m := l.membership(receiver, group)
	v := l.move(m)
	v.stays = append(v.stays, stay{joined: at, leaving: math.MaxInt64, begin: l.next[m]})
}

// CaughtUp reports whether everybody has what was sent and had to arrive, were this the end.
func (l *Ledger) CaughtUp(sent []uint32) bool {
	for m, group := range l.groups {
		n, v := sent[group], l.moves[uint32(m)]
		if l.next[m] >= n {
			continue
		}
		if v == nil {
			return false
		}
		if _, lost := l.balance(uint32(m), n, v); lost > 0 {
			return false
		}
	}
	return true
}

// learn enters when a message was sent.
func (l *Ledger) learn(s Stamp) {
	times := l.sentAt[s.Group]
	for len(times) <= int(s.Seq) {
		times = append(times, 0)
	}
	times[s.Seq] = s.Sent
	l.sentAt[s.Group] = times
}

// balance returns how many messages a membership that moved got of the n sent to its group, and how many it should have got too. When
// a message was sent that nobody got is between when the ones before and after it were.
func (l *Ledger) balance(m, n uint32, v *move) (got, lost int64) {
	times := l.sentAt[l.groups[m]]
	after := make([]int64, n+1) // of message seq: not sent later than this
	after[n] = math.MaxInt64
	for seq := int(n) - 1; seq >= 0; seq-- {
		if after[seq] = after[seq+1]; seq < len(times) && times[seq] != 0 {
			after[seq] = times[seq]
		}
	}
	before, at := int64(0), 0 // not sent earlier than before; the stay that is looked at
	for seq := range n {
		if int(seq) < len(times) && times[seq] != 0 {
			before = times[seq]
		}
		if l.has(m, seq) {
			got++
			continue
		}
		for at < len(v.stays)-1 && before >= v.stays[at].leaving {
			at++
		}
		if s := v.stays[at]; before > s.joined && (s.leaving == math.MaxInt64 || after[seq] < s.leaving && (seq < s.end || after[seq] < s.leaving-onItsWay)) {
			lost++
		}
	}
	return got, lost
}

// has reports whether a membership got a message.
func (l *Ledger) has(m, seq uint32) bool {
	if seq >= l.next[m] {
		return false
	}
	for _, g := range l.missing[m] {
		if seq >= g.lo && seq < g.hi {
			return false
		}
	}
	return true
}
