//go:build linux

package live

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// IsTerminal says whether w is a terminal that understands cursor movements.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// usualColumns is the width of a terminal that does not tell.
const usualColumns = 80

// columns is how wide the terminal is now.
func columns(w io.Writer) int {
	switch t := w.(type) {
	case interface{ Columns() int }: // of a test
		return t.Columns()
	case *os.File:
		if size, err := unix.IoctlGetWinsize(int(t.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return usualColumns
}
