package hub

import "iter"

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

// group is a named list of members. A list of one is kept in one, a longer one in all.
type group struct {
	name string
	all  []Member
	one  [1]Member
	n    uint32
}

// link is one membership as its conn sees it. Free links are chained by next.
type link struct {
	group uint32
	pos   uint32 // position in the group's member list
	next  uint32 // the conn's next membership
	how   How
}

// Hub holds the groups that have members on one loop. It is not safe for concurrent use.
type Hub struct {
	names  map[string]uint32
	groups []group
	links  []link
	heads  []uint32 // by slot: the conn's first link
	counts []uint32 // by slot: how many groups the conn is in

	freeGroups []uint32
	freeLink   uint32
	members    int
}

// New returns an empty Hub.
func New() *Hub {
	return &Hub{names: make(map[string]uint32), groups: make([]group, 1), links: make([]link, 1)}
}

// Add puts the conn in slot into the group and tells whether it was not in it before, and whether the group
// had no member on this loop until now. The name is kept; adding a member twice changes nothing but a
// membership of the client's own, which a rule or the backend makes theirs.
func (h *Hub) Add(name string, slot uint32, how How) (added, first bool) {
	gi, known := h.names[name]
	if known {
		if li := h.find(gi, slot); li != none {
			h.links[li].how = max(h.links[li].how, how)
			return false, false
		}
	} else {
		gi = h.newGroup(name)
	}
	h.room(slot)
	li := h.newLink()
	g := &h.groups[gi]
	h.links[li] = link{group: gi, pos: g.n, next: h.heads[slot], how: how}
	h.heads[slot] = li
	h.counts[slot]++
	h.members++
	g.push(Member{Slot: slot, link: li})
	return true, !known
}

// Discard takes the conn out of the group and tells whether it was in it, and whether the group is now empty.
func (h *Hub) Discard(name []byte, slot uint32) (removed, last bool) {
	gi, known := h.names[string(name)]
	if !known || int(slot) >= len(h.heads) {
		return false, false
	}
	for p := &h.heads[slot]; *p != none; p = &h.links[*p].next {
		if li := *p; h.links[li].group == gi {
			*p = h.links[li].next
			return true, h.unlink(li, slot)
		}
	}
	return false, false
}

// Drop takes the conn out of all its groups. It calls emptied for each group that has no member left here.
func (h *Hub) Drop(slot uint32, emptied func(name string)) {
	if int(slot) >= len(h.heads) {
		return
	}
	li := h.heads[slot]
	h.heads[slot] = none
	for li != none {
		next, name := h.links[li].next, h.groups[h.links[li].group].name
		if h.unlink(li, slot) {
			emptied(name)
		}
		li = next
	}
}

// Members returns the group's members in the order of their slots' arrival, nil if it has none.
// The slice is valid until the next change of the hub and must not be written to.
func (h *Hub) Members(name []byte) []Member {
	gi, known := h.names[string(name)]
	if !known {
		return nil
	}
	return h.groups[gi].members()
}

// Has tells whether the conn is in the group, and how it came there.
func (h *Hub) Has(name []byte, slot uint32) (How, bool) {
	gi, known := h.names[string(name)]
	if !known {
		return 0, false
	}
	li := h.find(gi, slot)
	return h.links[li].how, li != none
}

// Count returns how many groups the conn is in.
func (h *Hub) Count(slot uint32) int {
	if int(slot) >= len(h.counts) {
		return 0
	}
	return int(h.counts[slot])
}

// GroupsOf yields the groups of a conn, the latest first. The hub must not change meanwhile.
func (h *Hub) GroupsOf(slot uint32) iter.Seq2[string, How] {
	return func(yield func(string, How) bool) {
		if int(slot) >= len(h.heads) {
			return
		}
		for li := h.heads[slot]; li != none; li = h.links[li].next {
			if !yield(h.groups[h.links[li].group].name, h.links[li].how) {
				return
			}
		}
	}
}

// Groups yields every group and its number of members here. The hub must not change meanwhile.
func (h *Hub) Groups() iter.Seq2[string, int] {
	return func(yield func(string, int) bool) {
		for name, gi := range h.names {
			if !yield(name, int(h.groups[gi].n)) {
				return
			}
		}
	}
}

// Len returns the number of groups and of memberships.
func (h *Hub) Len() (groups, members int) { return len(h.names), h.members }

func (h *Hub) find(gi, slot uint32) uint32 {
	if int(slot) >= len(h.heads) {
		return none
	}
	for li := h.heads[slot]; li != none; li = h.links[li].next {
		if h.links[li].group == gi {
			return li
		}
	}
	return none
}

// unlink removes the membership from its group's list and frees its record; the conn's chain is the caller's.
func (h *Hub) unlink(li, slot uint32) (last bool) {
	gi, pos := h.links[li].group, h.links[li].pos
	g := &h.groups[gi]
	if moved := g.remove(pos); moved.link != none {
		h.links[moved.link].pos = pos
	}
	h.links[li] = link{next: h.freeLink}
	h.freeLink = li
	h.counts[slot]--
	h.members--
	if g.n > 0 {
		return false
	}
	delete(h.names, g.name)
	*g = group{}
	h.freeGroups = append(h.freeGroups, gi)
	return true
}

func (h *Hub) newGroup(name string) uint32 {
	var gi uint32
	if n := len(h.freeGroups); n > 0 {
		gi = h.freeGroups[n-1]
		h.freeGroups = h.freeGroups[:n-1]
	} else {
		gi = uint32(len(h.groups))
		h.groups = append(h.groups, group{})
	}
	h.groups[gi].name = name
	h.names[name] = gi
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

// room makes the per-conn tables long enough for slot.
func (h *Hub) room(slot uint32) {
	if grow := int(slot) + 1 - len(h.heads); grow > 0 {
		h.heads = append(h.heads, make([]uint32, grow)...)
		h.counts = append(h.counts, make([]uint32, grow)...)
	}
}

func (g *group) members() []Member {
	if g.all != nil {
		return g.all
	}
	return g.one[:g.n]
}

func (g *group) push(m Member) {
	switch {
	case g.all != nil:
		g.all = append(g.all, m)
	case g.n == 0:
		g.one[0] = m
	default:
		g.all = append(make([]Member, 0, 4), g.one[0], m)
	}
	g.n++
}

// remove takes out the member at pos by moving the last one there, and returns the one that moved, if any.
func (g *group) remove(pos uint32) (moved Member) {
	g.n--
	if g.all == nil {
		return Member{}
	}
	if moved = g.all[g.n]; pos == g.n {
		moved = Member{}
	} else {
		g.all[pos] = moved
	}
	g.all = g.all[:g.n]
	if c := cap(g.all); c > 64 && int(g.n) < c/4 { // a group that was once large gives its memory back
		g.all = append(make([]Member, 0, c/2), g.all...)
	}
	return moved
}
