// Package raw is the yardstick: a WebSocket server that does nothing but what the kernel makes it do. It upgrades, and sends
// each published frame to every member with one sendto a member: one by one, or (Batch) all that one read brought in one sendto.
//
// Members connect to /, the publisher to /publish. One publisher, one group, no checks, Linux only: no product.
package raw
