package authn

import (
	"testing"
	"time"
)

// One session that is revoked again and again, behind one that is remembered for long, costs no memory that grows.
func TestTombstonesOfOneSessionDoNotPileUp(t *testing.T) {
	tomb := newTombstones(100)
	now := time.Unix(1700000000, 0)
	tomb.add([32]byte{1}, now, 14*24*time.Hour)
	for range 10000 {
		now = now.Add(time.Second)
		tomb.add([32]byte{2}, now, time.Hour)
	}
	if n := len(tomb.queue); n > 3*len(tomb.until)+64 {
		t.Errorf("the queue holds %d entries for %d sessions", n, len(tomb.until))
	}
	if c := cap(tomb.queue); c > 1000 {
		t.Errorf("the queue has room for %d", c)
	}
	for _, hash := range [][32]byte{{1}, {2}} {
		if !now.Before(tomb.until[hash]) {
			t.Errorf("session %d is forgotten", hash[0])
		}
	}
	// Each ends at its time and not before.
	now = now.Add(time.Hour + time.Second)
	tomb.add([32]byte{3}, now, time.Hour)
	if _, there := tomb.until[[32]byte{1}]; !there {
		t.Error("the long one is forgotten")
	}
	now = now.Add(14 * 24 * time.Hour)
	tomb.add([32]byte{4}, now, time.Hour)
	if len(tomb.until) != 1 {
		t.Errorf("%d are remembered, want the last alone", len(tomb.until))
	}
}
