// Package wire is the JSON codec of the native protocol gatecast.v1: frames of clients to [Op], what the server says to bytes.
//
// A client's text frame goes through [Decoder], which yields one [Op] or [*Error] at a time (decode.go, on the scanner of scan.go);
// answers and messages are appended by the Append… functions (encode.go); [AppendMessage] brings every message format to JSON (message.go, msgpack.go).
// [Codes] is the one table of error codes.
//
// It knows no sockets and no groups, imports the standard library only, and allocates nothing in steady state.
package wire
