// Package raw is the yardstick: a WebSocket server that does nothing but what the kernel makes it do. It upgrades, and sends
// each published frame to every member with one sendto a member: one by one, or (Batch) all that one read brought in one sendto.
//
// Members connect to /group/N,M,…, the publisher to /publish; a publication's group is in its stamp. Who connects to /echo gets its
// own messages back, all that one read brought in one sendto, with Batch or without. A conn that does not read is ended when 1 MiB
// waits for it. No checks, Linux only: no product.
package raw
