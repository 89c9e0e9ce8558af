//go:build !linux

package bench

import (
	"fmt"
	"io"
)

// Main says that the harness needs Linux: its clients are epoll, its figures are from /proc.
func Main(_ []string, _, stderr io.Writer) int {
	fmt.Fprintln(stderr, "gatecast bench: needs Linux")
	return 3
}
