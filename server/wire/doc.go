// Package wire is the JSON codec of the native protocol gatecast.v1: clients' frames to [Op], what the server says to bytes.
//
//	text frame ─► Decoder.Next ─► Op or Error      decode.go, fields.go, on the scanner of scan.go
//	answers    ─► Append…                          encode.go
//	Message    ─► AppendMessage                    message.go, msgpack.go: every message format becomes JSON
//
// [Codes] is the one table of error codes. The package knows no sockets and no groups, imports the standard library only and allocates nothing in
// steady state.
package wire
