// Package swarm holds thousands of WebSocket clients in one epoll loop: raw descriptors, a hundred bytes of memory each.
//
// The flow of a client, all on the goroutine that calls [Swarm.Connect] and then [Swarm.Run]: dial → upgrade → hello, if the
// target's protocol has one → ready; from then on what arrives is cut into messages, and each stamp in them goes to the
// [Receiver].
package swarm
