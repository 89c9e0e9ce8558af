//go:build linux

package bench

import (
	"os"
	"runtime"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/bench/agent"
	"github.com/gatecast/gatecast/bench/flooder"
	"github.com/gatecast/gatecast/bench/target"
)

// asProgram in the environment makes this test the program.
const asProgram = "GATECAST_BENCH_AS_PROGRAM"

// TestMain is also the process of a raw server, of a bare loop, of an agent and of a flooder: the harness runs its own program again.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	if len(os.Args) > 1 && slices.Contains([]string{target.RawCommand, target.BareCommand, agent.Command, flooder.Command}, os.Args[1]) {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	// As moreProcs, for several runs at a time: who waits for a socket in a system call keeps a P from others for milliseconds.
	runtime.GOMAXPROCS(4 * minProcs)
	goleak.VerifyTestMain(m)
}
