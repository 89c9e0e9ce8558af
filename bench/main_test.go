//go:build linux

package bench

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/bench/agent"
	"github.com/gatecast/gatecast/bench/target"
)

// TestMain is also the process of a raw server and of an agent: the harness runs its own program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == target.RawCommand || os.Args[1] == agent.Command) {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}
