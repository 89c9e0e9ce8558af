// Package benchtest is a WebSocket server that misbehaves on purpose, to prove that the harness notices.
package benchtest
