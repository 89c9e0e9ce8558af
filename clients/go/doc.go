// Package gatecast is the Go client of a Gatecast server: a connection that joins groups, hears them and sends to them.
//
//	conn, err := gatecast.Dial(ctx, "wss://example.com/ws", gatecast.Options{Token: token})
//	if err != nil {
//		return err
//	}
//	defer conn.Close()
//	err = conn.GroupAdd(ctx, "chat.7", func(m gatecast.Message) { fmt.Printf("%s\n", m.Data) })
//	err = conn.GroupSend(ctx, "chat.7", map[string]string{"text": "hello"})
//
// A [Conn] reconnects by itself, after a random time so that a restarted server is not met by all clients at once, and is back in its
// groups when it says [StateConnected] again. What was sent to a group in between is missed: live messages are delivered at most once.
//
// How it works inside: Dial makes a link (handshake.go, link.go), one WebSocket with a reader and a writer. The run loop (conn.go)
// reads the link and acts on its frames (receive.go) until it is lost, asks the rules (retry.go) whether and when to try again, and
// puts the groups back (groups.go). Everything the caller has to hear goes through one bounded queue (dispatch.go), so callbacks come
// one at a time and in order.
package gatecast
