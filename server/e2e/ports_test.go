package e2e

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// nextPort walks ports below the ephemeral range (32768 and up on Linux), so that no client socket of a busy
// test can take a port between its choice and its use. The start depends on the process, for two runs at once.
var nextPort atomic.Uint32

func init() { nextPort.Store(uint32(12000 + os.Getpid()%180*100)) }

// freePort returns a TCP port of 127.0.0.1 that nothing listens on.
func freePort(t testing.TB) int {
	t.Helper()
	for range 5000 {
		port := 12000 + int(nextPort.Add(1)-12000)%18000
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		ln.Close()
		return port
	}
	t.Fatal("no free port between 12000 and 30000")
	return 0
}

func freeAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}
