package e2e

import (
	"syscall"
	"testing"
	"unsafe"
)

// limitFiles bounds the descriptors of a running process, prlimit(2).
func limitFiles(t testing.TB, pid int, files uint64) {
	t.Helper()
	prlimit := func(set, get *syscall.Rlimit) {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE,
			uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
		if errno != 0 {
			t.Fatalf("prlimit: %v", errno)
		}
	}
	var limit syscall.Rlimit
	prlimit(nil, &limit)
	limit.Cur = files // the hard limit stays
	prlimit(&limit, nil)
}
