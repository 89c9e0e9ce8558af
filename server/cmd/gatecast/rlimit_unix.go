//go:build unix

package main

import "syscall"

// openFiles is how many files this process may have open. (Go raises the soft limit to the hard one at start.)
func openFiles() (limit uint64, ok bool) {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0, false
	}
	return uint64(r.Cur), true
}
