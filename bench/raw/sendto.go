//go:build linux

package raw

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sendto is one sendto of b that does not block: the system call and nothing else, as the fastest server would make it.
func Sendto(fd int, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
