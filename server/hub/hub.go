package hub

import (
	"bytes"
	"hash/maphash"
	"iter"

	"github.com/gatecast/gatecast/server/pack"
)

// How says who put a conn into a group, for that decides who may take it out again.
type How uint8

const (
	ByClient  How = iota // the conn's own group_add; ends when its grants no longer cover the group
	ByRule               // joined at connect by a grant's join list or as the user's own group
	ByBackend            // group_add of the backend: needs no grant and survives revalidation
)

// none ends a chain of links and a free list; index 0 is never handed out.
const none = 0

// Member is one conn in a group. Slot is the conn's; link is the membership's record.
type Member struct {
	Slot uint32
	link uint32
}

// group is a named list of members.
type group struct {
	name pack.Text
	n    uint32
	list uint32 // in Hub.lists; 0 = one is all there is
	one  [1]Member
}

// link is one membership as its conn sees it. Free links are chained by next.
type link struct {
	group uint32 // and how, in the two highest bits
	pos   uint32 // position in the group's member list
	next  uint32 // the conn's next membership
}

const (
	howShift  = 30
	groupMask = 1<<howShift - 1
)

func (l *link) gi() uint32     { return l.group & groupMask }
func (l *link) how() How       { return How(l.group >> howShift) }
func (l *link) setHow(how How) { l.group = l.gi() | uint32(how)<<howShift }

// Hub holds the groups that have members on one loop. It is not safe for concurrent use.
type Hub struct {
	seed   maphash.Seed
	names  pack.Texts
	index  pack.Index // from a name's hash to its group
	groups []group
	lists  [][]Member // of groups that have or had two members
	links  []link
	heads  []uint32 // by slot: the conn's first link

	freeGroups []uint32
	freeLists  []uint32
	freeLink   uint32
	members    int
	name       []byte // scratch: the group that Drop emptied
}

// New returns an empty Hub.
func New() *Hub {
	return &Hub{seed: maphash.MakeSeed(), groups: make([]group, 1), lists: make([][]Member, 1), links: make([]link, 1)}
}

// Add puts the conn in slot into the group and tells whether it was not in it before, and whether the group
// had no member on this loop until now. The name is kept; adding a member twice changes nothing but a
// membership of the client's own, which a rule or the backend makes theirs.
func (h *Hub) Add(name string, slot uint32, how How) (added, first bool) {
	hash := uint32(maphash.String(h.seed, name))
	gi, known := h.index.Find(hash, func(gi uint32) bool { return string(h.nameOf(gi)) == name })
	if known {
		if li := h.find(gi, slot); li != none {
			l := &h.links[li]
			l.setHow(max(l.how(), how))
			return false, false
		}
	} else {
		gi = h.newGroup(name, hash)
	}
	h.room(slot)
	li := h.newLink()
	l := &h.links[li]
	*l = link{group: gi, pos: h.groups[gi].n, next: h.heads[slot]}
	l.setHow(how)
	h.heads[slot] = li
	h.members++
	h.push(&h.groups[gi], Member{Slot: slot, link: li})
	return true, !known
}

// Discard takes the conn out of the group and tells whether it was in it, and whether the group is now empty.
func (h *Hub) Discard(name []byte, slot uint32) (removed, last bool) {
	gi, known := h.lookup(name)
	if !known || int(slot) >= len(h.heads) {
		return false, false
	}
	for p := &h.heads[slot]; *p != none; p = &h.links[*p].next {
		if li := *p; h.links[li].gi() == gi {
			*p = h.links[li].next
			if last = h.unlink(li); last {
				h.endGroup(gi)
			}
			return true, last
		}
	}
	return false, false
}

// Drop takes the conn out of all its groups. It calls emptied for each group that has no member left here; name is valid during
// that call.
func (h *Hub) Drop(slot uint32, emptied func(name []byte)) {
	if int(slot) >= len(h.heads) {
		return
	}
	li := h.heads[slot]
	h.heads[slot] = none
	for li != none {
		gi, next := h.links[li].gi(), h.links[li].next
		if h.unlink(li) {
			h.name = append(h.name[:0], h.nameOf(gi)...)
			h.endGroup(gi)
			emptied(h.name)
		}
		li = next
	}
}

// Members returns the group's members, nil if it has none: in the order in which they joined, until one leaves, whose place the last one
// takes. The slice is valid until the next change of the hub and must not be written to.
func (h *Hub) Members(name []byte) []Member {
	gi, known := h.lookup(name)
	if !known {
		return nil
	}
	return h.membersOf(&h.groups[gi])
}

// Has tells whether the conn is in the group, and how it came there.
func (h *Hub) Has(name []byte, slot uint32) (How, bool) {
	gi, known := h.lookup(name)
	if !known {
		return 0, false
	}
	li := h.find(gi, slot)
	return h.links[li].how(), li != none
}

// Count returns how many groups the conn is in, by counting them.
func (h *Hub) Count(slot uint32) (n int) {
	for range h.GroupsOf(slot) {
		n++
	}
	return n
}

// GroupsOf yields the groups of a conn, the latest first. The hub must not change meanwhile; a name is valid until it does.
func (h *Hub) GroupsOf(slot uint32) iter.Seq2[[]byte, How] {
	return func(yield func([]byte, How) bool) {
		if int(slot) >= len(h.heads) {
			return
		}
		for li := h.heads[slot]; li != none; li = h.links[li].next {
			if l := &h.links[li]; !yield(h.nameOf(l.gi()), l.how()) {
				return
			}
		}
	}
}

// Groups yields every group and its number of members here. The hub must not change meanwhile; a name is valid until it does.
func (h *Hub) Groups() iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		for gi := range h.groups {
			if g := &h.groups[gi]; g.n > 0 && !yield(h.names.Get(g.name), int(g.n)) {
				return
			}
		}
	}
}

// Len returns the number of groups and of memberships.
func (h *Hub) Len() (groups, members int) { return h.index.Len(), h.members }

func (h *Hub) lookup(name []byte) (gi uint32, known bool) {
	return h.index.Find(uint32(maphash.Bytes(h.seed, name)), func(gi uint32) bool { return bytes.Equal(h.nameOf(gi), name) })
}

func (h *Hub) nameOf(gi uint32) []byte { return h.names.Get(h.groups[gi].name) }

func (h *Hub) find(gi, slot uint32) uint32 {
	if int(slot) >= len(h.heads) {
		return none
	}
	for li := h.heads[slot]; li != none; li = h.links[li].next {
		if h.links[li].gi() == gi {
			return li
		}
	}
	return none
}

// unlink removes the membership from its group's list and frees its record; the conn's chain, and the group if it is empty now, are
// the caller's.
func (h *Hub) unlink(li uint32) (last bool) {
	pos, g := h.links[li].pos, &h.groups[h.links[li].gi()]
	if moved := h.remove(g, pos); moved.link != none {
		h.links[moved.link].pos = pos
	}
	h.links[li] = link{next: h.freeLink}
	h.freeLink = li
	h.members--
	return g.n == 0
}

// endGroup forgets a group without members.
func (h *Hub) endGroup(gi uint32) {
	g := &h.groups[gi]
	h.index.Drop(uint32(maphash.Bytes(h.seed, h.names.Get(g.name))), gi)
	h.names.Drop(g.name)
	if g.list != none {
		h.lists[g.list] = nil
		h.freeLists = append(h.freeLists, g.list)
	}
	*g = group{}
	h.freeGroups = append(h.freeGroups, gi)
}

func (h *Hub) newGroup(name string, hash uint32) uint32 {
	var gi uint32
	if n := len(h.freeGroups); n > 0 {
		gi = h.freeGroups[n-1]
		h.freeGroups = h.freeGroups[:n-1]
	} else {
		gi = uint32(len(h.groups))
		h.groups = append(h.groups, group{})
	}
	h.name = append(h.name[:0], name...)
	h.groups[gi].name = h.names.Put(h.name)
	h.index.Put(hash, gi)
	return gi
}

func (h *Hub) newLink() uint32 {
	if li := h.freeLink; li != none {
		h.freeLink = h.links[li].next
		return li
	}
	h.links = append(h.links, link{})
	return uint32(len(h.links) - 1)
}

// room makes the table of conns long enough for slot.
func (h *Hub) room(slot uint32) {
	if grow := int(slot) + 1 - len(h.heads); grow > 0 {
		h.heads = append(h.heads, make([]uint32, grow)...)
	}
}

func (h *Hub) membersOf(g *group) []Member {
	if g.list != none {
		return h.lists[g.list]
	}
	return g.one[:g.n]
}

func (h *Hub) push(g *group, m Member) {
	switch {
	case g.list != none:
		h.lists[g.list] = append(h.lists[g.list], m)
	case g.n == 0:
		g.one[0] = m
	default:
		g.list = h.newList()
		h.lists[g.list] = append(make([]Member, 0, 4), g.one[0], m)
	}
	g.n++
}

func (h *Hub) newList() uint32 {
	if n := len(h.freeLists); n > 0 {
		i := h.freeLists[n-1]
		h.freeLists = h.freeLists[:n-1]
		return i
	}
	h.lists = append(h.lists, nil)
	return uint32(len(h.lists) - 1)
}

// remove takes out the member at pos by moving the last one there, and returns the one that moved, if any.
func (h *Hub) remove(g *group, pos uint32) (moved Member) {
	g.n--
	if g.list == none {
		return Member{}
	}
	all := h.lists[g.list]
	if moved = all[g.n]; pos == g.n {
		moved = Member{}
	} else {
		all[pos] = moved
	}
	all = all[:g.n]
	if c := cap(all); c > 64 && int(g.n) < c/4 { // a group that was once large gives its memory back
		all = append(make([]Member, 0, c/2), all...)
	}
	h.lists[g.list] = all
	return moved
}
