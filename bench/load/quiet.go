//go:build linux

package load

import (
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Quietly keeps the garbage collector away while times are taken: it stops all goroutines, and on a busy machine the one that must
// stop may be without a core for milliseconds. What a run allocates meanwhile is little; the limit is for when it is not.
func Quietly() (again func()) {
	enough := int64(4 << 30)
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) == nil { // the server needs room too
		enough = min(enough, int64(uint64(machine.Totalram)*uint64(machine.Unit)/4))
	}
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(enough)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
