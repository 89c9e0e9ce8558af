package broker

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"strconv"
)

// limitMemory tells the garbage collector of the container's memory limit, nine tenths of it, unless GOMEMLIMIT has told it
// already: nats-server sizes its caches by that, and by the whole machine otherwise.
func limitMemory(log *slog.Logger) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
		if err == nil && n > 0 && n < 1<<50 { // "max", and v1's page-rounded infinity, mean none
			debug.SetMemoryLimit(n / 10 * 9)
			log.Debug("memory limit taken from the container", "bytes", n/10*9)
		}
		return
	}
}
