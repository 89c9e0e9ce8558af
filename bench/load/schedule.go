//go:build linux

package load

import "time"

// Schedule says when publication k is due.
type Schedule struct {
	Start int64   // of publication 0, nanoseconds
	Rate  float64 // publications a second
}

// Due is when publication k should be sent.
func (s Schedule) Due(k int) int64 { return s.Start + int64(float64(k)*1e9/s.Rate) }

// Passed is how many publications are due at now.
func (s Schedule) Passed(now int64) int {
	if now < s.Start {
		return 0
	}
	k := int(float64(now-s.Start) * s.Rate / 1e9)
	for s.Due(k) <= now { // rounding
		k++
	}
	for k > 0 && s.Due(k-1) > now {
		k--
	}
	return k
}

// AllowedLag is the lag of the generator that an open-loop run may have at a percentile: what was asked for, or, if nothing was, a
// millisecond, or a tenth of the response at that percentile where that is more. So the harness's own error is below a tenth of what
// it tells.
func AllowedLag(asked, response time.Duration) time.Duration {
	if asked > 0 {
		return asked
	}
	return max(time.Millisecond, response/10)
}
