//go:build linux

package agent

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/gatecast/gatecast/bench/ledger"
)

// clock is how another machine's clock differs from this one's, in nanoseconds.
type clock struct {
	ahead int64 // to be added to this machine's times
	doubt int64 // half the shortest round trip
}

// roundTrips is how many are made to find the shortest.
const roundTrips = 64

// machine names whose clock this process has: the boot of the kernel, and the time namespace.
func machine() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Sprintf("unknown-%d", os.Getpid())
	}
	namespace, _ := os.Readlink("/proc/self/ns/time") // none before Linux 5.6
	return strings.TrimSpace(string(boot)) + namespace
}

// readClock asks the host for its time and believes the fastest answer.
func readClock(ctx context.Context, conn *nats.Conn) (clock, error) {
	best, shortest := clock{}, int64(math.MaxInt64)
	for range roundTrips {
		asked := ledger.Now()
		m, err := conn.RequestWithContext(ctx, clockSubject, nil)
		heard := ledger.Now()
		if err != nil {
			return clock{}, fmt.Errorf("ask the coordinator for its time: %w", err)
		}
		there, err := strconv.ParseInt(string(m.Data), 10, 64)
		if err != nil {
			return clock{}, fmt.Errorf("the coordinator's time: %w", err)
		}
		if trip := heard - asked; trip < shortest {
			best, shortest = clock{ahead: there - (asked + trip/2), doubt: (trip + 1) / 2}, trip
		}
	}
	return best, nil
}

// since is the doubt about times between two looks at a clock: those of both, and by how much it went another way.
func (c clock) since(before clock) int64 {
	drift := c.ahead - before.ahead
	return max(c.doubt, before.doubt) + max(drift, -drift)
}
