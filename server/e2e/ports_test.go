package e2e

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"testing"
)

// Ports of tests are below the ephemeral range (32768 and up on Linux), so that no client socket of a busy test can take one between its choice
// and its use: up to 26000 those of freePort, behind them those of cluster.sh. Where they start depends on the process, for two runs at once.
const firstPort, portsInAll = 12000, 14000

var nextPort atomic.Uint32

func init() { nextPort.Store(uint32(os.Getpid() % 140 * 100)) }

// freePort returns a TCP port of 127.0.0.1 that nothing listens on.
func freePort(t testing.TB) int {
	t.Helper()
	for range 5000 {
		if port := firstPort + int(nextPort.Add(1))%portsInAll; isFree(port) {
			return port
		}
	}
	t.Fatalf("no free port from %d to %d", firstPort, firstPort+portsInAll)
	return 0
}

func isFree(port int) bool {
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	ln.Close()
	return true
}

// clusterOffset returns what cluster.sh may add to its ports, which are 4222 to 8101 without.
func clusterOffset(t testing.TB) int {
	t.Helper()
	const first, step, steps = 22000, 100, 26 // 26222 to 32701
	for i := range steps {
		offset, free := first+(os.Getpid()+i)%steps*step, true
		for _, base := range []int{4222, 6222, 8080, 8081} {
			for n := range 3 {
				free = free && isFree(base+10*n+offset)
			}
		}
		if free {
			return offset
		}
	}
	t.Fatal("no free ports for cluster.sh")
	return 0
}

func freeAddr(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freePort(t))
}
