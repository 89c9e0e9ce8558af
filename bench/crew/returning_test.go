//go:build linux

package crew

import (
	"testing"
	"time"
)

func TestLostClientsDialAgainLaterEachTime(t *testing.T) {
	r := newReturning(2)
	now := int64(1e9)
	r.lose(1, now)
	if _, at, ok := r.next(now - 1); ok || at < now || at >= now+int64(firstBackoff) {
		t.Errorf("the first dial is %v after the loss, want below %v", time.Duration(at-now), firstBackoff)
	}
	longest := time.Duration(0)
	for try := range 200 {
		_, at, ok := r.next(now - 1)
		if ok {
			t.Fatalf("try %d was due before it was lost", try)
		}
		longest = max(longest, time.Duration(at-now))
		now = at
		if client, _, ok := r.next(now); !ok || client != 1 {
			t.Fatalf("try %d: client %d, %v", try, client, ok)
		}
		r.lose(1, now)
	}
	if longest <= firstBackoff || longest >= mostBackoff {
		t.Errorf("the longest wait of 200 is %v, want between %v and %v", longest, firstBackoff, mostBackoff)
	}
	if r.away.Load() != 1 {
		t.Errorf("%d are away, want 1", r.away.Load())
	}
	r.ready(1, now+5)
	r.ready(0, now+5) // was never away
	if len(r.back) != 1 || r.back[0] != (Return{1e9, now + 5}) || r.away.Load() != 0 {
		t.Errorf("back: %v, away %d", r.back, r.away.Load())
	}
}
