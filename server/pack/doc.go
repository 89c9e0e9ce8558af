// Package pack keeps many small things in a few large pieces of memory without pointers: a node's conns rest for hours, and a map entry, a
// string header and a size class of the allocator for each of the things that belong to one cost more than what they hold. The garbage
// collector does not look inside, and nothing else is allocated between them that could keep pages from being given back.
//
//	Texts   short texts, named by a number
//	Index   finds a number by a hash
//
// Nothing here is safe for concurrent use.
package pack
