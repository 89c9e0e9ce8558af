// Package ws speaks RFC 6455 on bytes that are already in memory: it never touches a socket and never blocks.
//
// A conn's bytes meet it in this order:
//
//	Scan                   find the end of the request's header block      scan.go
//	ParseRequest           header block ─► Request; what proxies and
//	                       servers read in two ways is refused             request.go, query.go, refuse.go
//	Request.CheckUpgrade   is it a WebSocket handshake                     request.go
//	AppendUpgradeResponse  the 101, or AppendHTTPError                     response.go
//	Parser.Next            bytes ─► Events: messages, pings, closes        parser.go
//	Inflate                compressed event ─► its message                 deflate.go
//	Partial                pooled buffer of what has arrived in part       partial.go
//	AppendFrame            frames to send                                  frame.go
//	DeflateFrame           frame ─► its compressed twin                    deflate.go
//
// A refused request is an [HTTPError], a breach of the frame protocol a [CloseError]; both carry a stable reason for logs and metrics.
// Functions may be called concurrently on different values; one [Parser] and its [Partial] belong to one goroutine.
//
// gobwas/ws does the unmasking and is the oracle of the tests. Its readers block on half a frame, so no event loop may call them.
package ws
