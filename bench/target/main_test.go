//go:build linux

package target

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the processes that targets make of this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		serve := map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
			RawCommand: ServeRaw, NATSCommand: ServeNATS,
		}[os.Args[1]]
		if serve != nil {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if err := serve(ctx, os.Args[2:], os.Stdout, os.Stderr); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := os.RemoveAll(builtIn); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}))
}

// missing skips the test for want of a program, or fails it where skipping is forbidden.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if os.Getenv("GATECAST_TEST_NO_SKIP") == "1" {
		t.Fatalf("GATECAST_TEST_NO_SKIP=1 forbids skipping: %s", text)
	}
	fmt.Fprintf(os.Stderr, "SKIP %s: %s\n", t.Name(), text)
	t.Skip(text)
}
