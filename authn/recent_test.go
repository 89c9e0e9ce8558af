package authn

import (
	"fmt"
	"testing"
	"time"
)

func TestRecentRowsAreBounded(t *testing.T) {
	r, now := recentRows{limit: 3}, time.Unix(1700000000, 0)
	for i := range 10 {
		r.of(fmt.Sprint(i), now, time.Second)
	}
	if len(r.users) != 3 || r.users["9"] == nil || r.users["6"] != nil {
		t.Errorf("%d users are kept, want the last 3", len(r.users))
	}
	for i := range 1000 { // one that is forgotten again and again
		r.drop("x")
		r.of("x", now.Add(time.Duration(i)), time.Second)
	}
	if len(r.queue) > 100 {
		t.Errorf("%d places are taken by what is forgotten", len(r.queue))
	}
	first := r.of("x", now, time.Second)
	if r.of("x", now.Add(time.Second/2), time.Second) != first || r.of("x", now.Add(2*time.Second), time.Second) == first {
		t.Error("a user is not kept for a second")
	}
	if r.prune(now.Add(time.Hour)); r.users != nil || r.queue != nil {
		t.Error("old users stay")
	}
}
