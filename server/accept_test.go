package server

import (
	"strconv"
	"testing"
)

func TestThoseRefusedTogetherComeBackApart(t *testing.T) {
	seen := map[int]bool{}
	for range 1000 {
		seconds, err := strconv.Atoi(retryAfter()[1])
		if err != nil || seconds < 1 || seconds > 5 {
			t.Fatalf("Retry-After %q, want 1 to 5", retryAfter()[1])
		}
		seen[seconds] = true
	}
	if len(seen) != 5 {
		t.Errorf("1,000 refusals were told to come back after %v seconds, want any of 5", seen)
	}
}
