// Package ws speaks RFC 6455 on bytes that are already in memory: it never reads from or writes to a socket and never blocks.
//
// A conn's bytes meet it in this order:
//
//	Scan           finds the end of the request's header block, with its limits (scan.go)
//	ParseRequest   header block -> [Request], everything ambiguous refused as [HTTPError] (request.go)
//	CheckUpgrade   is it a WebSocket handshake (request.go)
//	Append…Response the 101, or the refusal (response.go)
//	Parser.Next    bytes -> [Event]: whole messages, pings, pongs, closes; errors are [CloseError] (parser.go)
//	Partial        the pooled buffer of a message that has arrived in part (partial.go)
//	AppendFrame    frames to send (frame.go)
//
// All functions may be called concurrently on different values; one [Parser] and its [Partial] belong to one goroutine.
package ws
