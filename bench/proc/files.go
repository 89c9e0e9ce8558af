//go:build linux

package proc

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareFiles is what a process needs beside its sockets.
const spareFiles = 64

// MaxConns is how many connections one process may hold here.
func MaxConns() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Max < spareFiles {
		return 0
	}
	return int(min(limit.Max-spareFiles, 1<<20))
}

// RaiseFiles raises this process's limit of descriptors, which its children inherit, as far as it goes, and fails if that is too
// low for so many connections.
func RaiseFiles(conns int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Max < uint64(conns+spareFiles) {
		return fmt.Errorf("%d connections need %d open files and the limit is %d; raise it (ulimit -Hn), lower -conns, or use more -procs", conns, conns+spareFiles, limit.Max)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files: %w", err)
	}
	return nil
}
