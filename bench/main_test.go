//go:build linux

package bench

import (
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/bench/agent"
	"github.com/gatecast/gatecast/bench/target"
)

// TestMain is also the process of a raw server, of a bare loop and of an agent: the harness runs its own program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{target.RawCommand, target.BareCommand, agent.Command}, os.Args[1]) {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}
