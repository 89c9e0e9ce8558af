//go:build linux

package bench

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/bench/target"
)

// TestMain is also the raw server's process: the raw target runs its own program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == target.RawCommand {
		os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}
