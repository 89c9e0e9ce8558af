//go:build linux

package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The range of a histogram, in nanoseconds, and its precision in decimal digits.
const (
	Shortest = int64(time.Microsecond)
	Longest  = int64(60 * time.Second)
	Digits   = 3
)

// NewHistogram returns an empty histogram of nanoseconds: a microsecond to a minute, three digits.
func NewHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(Shortest, Longest, Digits) }

// Record enters a duration; one out of range is entered at the range's end, so that it is never missing.
func Record(h *hdrhistogram.Histogram, ns int64) { _ = h.RecordValue(min(max(ns, Shortest), Longest)) }
