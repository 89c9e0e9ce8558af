//go:build linux

package agent

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the process of an agent: the host runs its own program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Command { // agent -join ADDRESS -name NAME
		if err := Join(context.Background(), os.Args[3], os.Args[5]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
