package loop

import (
	"strings"
	"testing"
)

func TestFrameHasRoomAndOneReference(t *testing.T) {
	for _, n := range []int{0, 1, 64, 65, 1000, 64 << 10, 64<<10 + 1, 1 << 20} {
		f := NewFrame(n)
		if len(f.B) != 0 || cap(f.B) < n {
			t.Errorf("NewFrame(%d): len %d cap %d", n, len(f.B), cap(f.B))
		}
		f.Retain()
		f.Release()
		f.Release()
		if !panics(func() { f.Release() }) {
			t.Errorf("NewFrame(%d): releasing twice did not panic", n)
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestReleasedBytesShowThemselvesInDebugBuilds(t *testing.T) {
	f := frameOf("secret")
	b := f.B
	f.Release()
	if frameDebug && string(b) == "secret" {
		t.Error("released bytes are still readable in a debug build")
	}
}

func TestAGrownFrameFindsItsPool(t *testing.T) {
	f := NewFrame(10)
	f.B = append(f.B, strings.Repeat("x", 3000)...)
	f.Release() // into the class below its capacity
	for range 100 {
		if f := NewFrame(2048); cap(f.B) < 2048 {
			t.Fatalf("NewFrame(2048) has room for %d", cap(f.B))
		}
	}
}
