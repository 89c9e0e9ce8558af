package gatecast

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// stable is how long a connection must have lived for the next loss to count as the first again. A server that welcomes and
// closes at once is thus met ever more rarely.
const stable = 10 * time.Second

// retrier decides whether and when to connect again. Owned by the run loop.
type retrier struct {
	min, max time.Duration
	failures int
}

// next returns the time to wait after err, or ok = false if err forbids another attempt.
func (r *retrier) next(err error) (wait time.Duration, ok bool) {
	hint, ok := mayRetry(err)
	if !ok {
		return 0, false
	}
	if hint != nil {
		return hint.min + jitter(hint.max-hint.min), true
	}
	ceiling := r.max
	if r.failures < 30 { // 2^30 * 1 ns is past a second; larger shifts could overflow
		ceiling = min(r.max, r.min<<r.failures)
		if ceiling <= 0 {
			ceiling = r.max
		}
	}
	r.failures++
	return jitter(ceiling), true
}

// lived is told how long a connection lasted.
func (r *retrier) lived(d time.Duration) {
	if d >= stable {
		r.failures = 0
	}
}

// jitter is full jitter: any time up to d is as likely, so clients that were cut at once come back evenly spread.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d + 1)
}

// mayRetry holds the protocol's rule: reconnect on 1001, 1006, 1011, 1012, 41xx and 42xx; on anything else only if the server sent
// a retry range. HTTP refusals count as their nearest kin: 429 and 5xx pass, others are final.
func mayRetry(err error) (hint *retryRange, ok bool) {
	var closed *CloseError
	if errors.As(err, &closed) {
		if closed.retry != nil {
			return closed.retry, true
		}
		return nil, retryCode(closed.Code)
	}
	var refused *HandshakeError
	if errors.As(err, &refused) {
		if refused.Status != http.StatusTooManyRequests && refused.Status < 500 {
			return nil, false
		}
		if d := refused.RetryAfter; d > 0 {
			return &retryRange{d, 2 * d}, true // the whole crowd was told the same time: spread it
		}
		return nil, true
	}
	return nil, true // the network
}

func retryCode(code int) bool {
	switch code {
	case 1001, 1006, 1011, 1012:
		return true
	}
	return code >= 4100 && code < 4300
}
