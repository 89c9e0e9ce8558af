package gatecast

import (
	"errors"
	"testing"
	"time"
)

func TestMayRetryFollowsTheProtocol(t *testing.T) {
	hint := &retryRange{time.Second, 2 * time.Second}
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"a normal closure", &CloseError{Code: 1000}, false},
		{"going away", &CloseError{Code: 1001}, true},
		{"a protocol error", &CloseError{Code: 1002}, false},
		{"a close frame without a code", &CloseError{Code: 1005}, false},
		{"a cut connection", &CloseError{Code: 1006}, true},
		{"a message too big", &CloseError{Code: 1009}, false},
		{"an internal error", &CloseError{Code: 1011}, true},
		{"a restart", &CloseError{Code: 1012}, true},
		{"a code of the backend", &CloseError{Code: 3999}, false},
		{"overloaded", &CloseError{Code: 4100}, true},
		{"drain", &CloseError{Code: 4200}, true},
		{"the last of the retry codes", &CloseError{Code: 4299}, true},
		{"a native protocol error", &CloseError{Code: 4400}, false},
		{"unauthorized", &CloseError{Code: 4401}, false},
		{"any code with a hint", &CloseError{Code: 4404, retry: hint}, true},
		{"the network", errors.New("connection refused"), true},
		{"HTTP 401", &HandshakeError{Status: 401}, false},
		{"HTTP 404", &HandshakeError{Status: 404}, false},
		{"HTTP 429", &HandshakeError{Status: 429}, true},
		{"HTTP 503", &HandshakeError{Status: 503}, true},
	} {
		if _, got := mayRetry(tt.err); got != tt.want {
			t.Errorf("after %s: retry = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRetrierWaitsEverLongerUpToItsMax(t *testing.T) {
	r := retrier{min: 100 * time.Millisecond, max: 3 * time.Second}
	for i := range 200 {
		ceiling := r.max
		if i < 5 {
			ceiling = r.min << i
		}
		wait, ok := r.next(&CloseError{Code: 1006})
		if !ok || wait < 0 || wait > ceiling {
			t.Fatalf("attempt %d: wait %v, %v, want at most %v", i, wait, ok, ceiling)
		}
	}
	r.lived(stable - 1)
	if r.failures == 0 {
		t.Error("a connection that lived for a moment reset the backoff")
	}
	r.lived(stable)
	if r.failures != 0 {
		t.Error("a stable connection did not reset the backoff")
	}
}

func TestRetrierKeepsInsideTheHint(t *testing.T) {
	r := retrier{min: time.Hour, max: time.Hour}
	spread := make(map[time.Duration]bool)
	for range 100 {
		wait, ok := r.next(&CloseError{Code: 4200, retry: &retryRange{time.Second, 2 * time.Second}})
		if !ok || wait < time.Second || wait > 2*time.Second {
			t.Fatalf("wait = %v, %v, want between 1 and 2 s", wait, ok)
		}
		spread[wait] = true
	}
	if len(spread) < 50 {
		t.Errorf("100 waits had only %d values: no jitter", len(spread))
	}
}

func TestRetryAfterIsSpread(t *testing.T) {
	r := retrier{min: time.Millisecond, max: time.Millisecond}
	wait, ok := r.next(&HandshakeError{Status: 503, RetryAfter: 2 * time.Second})
	if !ok || wait < 2*time.Second || wait > 4*time.Second {
		t.Errorf("wait = %v, %v, want between 2 and 4 s", wait, ok)
	}
}
