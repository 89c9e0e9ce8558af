//go:build linux

package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/crew"
)

func TestEverybodyComesBackAfterAnOutage(t *testing.T) {
	t.Parallel()
	for _, how := range []string{howKill, howDrain} {
		words := lenient(t, "reconnect", "-target", "raw", "-how", how, "-repeat", "1", "-conns", "30", "-rate", "100")
		code, stdout, stderr := command(t, words...)
		if code != exitOK || !strings.Contains(stdout, "back-p99") {
			t.Errorf("%s: exit code %d, want 0\n%s%s", how, code, stdout, stderr)
		}
	}
}

func TestPeakIsOfTheBusiestMoment(t *testing.T) {
	ms := int64(time.Millisecond)
	var back []crew.Return
	for _, at := range []int64{0, 50, 99, 100, 400, 900} { // 3 within 100 ms, from 0 and from 50
		back = append(back, crew.Return{Back: at * ms})
	}
	if got := peak(back); got != 30 {
		t.Errorf("peak = %v a second, want 30", got)
	}
}
