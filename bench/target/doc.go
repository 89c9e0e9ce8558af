// Package target starts the servers that are measured and speaks their protocols. A [Target] is how to start one; an
// [Instance] is one that runs, with its address, its processes, and what members and publishers say to it.
package target
