// Package flooder asks a server for handshakes at a rate that it may not want to serve, from a process of its own, so that what the flood
// costs the harness does not show in what the receivers measure.
//
//	the harness: Start ─► Flood(order) ─────────────────────► Wait ─► Counts
//	                          │ a line of JSON                 ▲ another
//	the process: Serve ───────┴─► a handshake when each is due ┴─ the answer's status, and a reset
//
// Nothing here knows a protocol above HTTP: the requests are the caller's.
package flooder
