package load

import "runtime/debug"

// Quietly keeps the garbage collector away while times are taken: it stops all goroutines, and on a busy machine the one that must
// stop may be without a core for milliseconds. What a run allocates meanwhile is little; the limit is for when it is not.
func Quietly() (again func()) {
	const enough = 4 << 30
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(enough)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}
