// Package hub knows which conns of one loop are in which groups.
//
// A [Hub] belongs to one event loop and is used on that loop's goroutine only, so it has no lock:
//
//	message for a group ──► Members(name) ──► [Member, Member, …] all of them, front to back
//	conn closed         ──► Drop(slot)    ──► the names of the groups that are now empty here
//
// A membership is 20 bytes in pointer-free slabs: 8 in the group's member list, which fan-out walks front to
// back, and 12 in the conn's chain of groups, so that join and leave are O(1) but for the chain walk, and a
// closing conn touches only its own groups. A group of one member, such as a user's personal group, keeps it
// inline, and costs 20 bytes, about 12 to be found by, and its name. Grants and NATS are not known here: a
// name is a string, a conn is a slot.
package hub
