package server

import (
	"runtime"
	"testing"
)

func TestAQuietNodeGivesBackWhatIsWorthIt(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name        string
		now, before heap
		scattered   uint64
		want        bool
	}{
		{"garbage and quiet", heap{allocated: 200 * mb, live: 10 * mb, held: 15 * mb}, heap{allocated: 199 * mb}, 0, true},
		{"garbage, but busy", heap{allocated: 200 * mb, live: 10 * mb, held: 15 * mb}, heap{allocated: 100 * mb}, 0, false},
		{"hardly any", heap{allocated: 200 * mb, live: 10 * mb, held: 11 * mb}, heap{allocated: 199 * mb}, 0, false},
		{"little beside what lives", heap{allocated: 200 * mb, live: 800 * mb, held: 850 * mb}, heap{allocated: 199 * mb}, 0, false},
		{"what a trim left", heap{allocated: 200 * mb, live: 10 * mb, held: 15 * mb}, heap{allocated: 199 * mb}, 4 * mb, false},
		{"much beyond that", heap{allocated: 200 * mb, live: 10 * mb, held: 17 * mb}, heap{allocated: 199 * mb}, 4 * mb, true},
		{"less held than lived at the last collection", heap{allocated: 200 * mb, live: 10 * mb, held: 9 * mb}, heap{allocated: 199 * mb}, 0, false},
	} {
		if got := worthTrimming(test.now, test.before, test.scattered); got != test.want {
			t.Errorf("%s: worthTrimming = %v, want %v", test.name, got, test.want)
		}
	}
}

func TestATrimThatReturnedLittleIsNotRepeated(t *testing.T) {
	const mb = 1 << 20
	before := heap{live: 10 * mb, held: 19 * mb}
	if got := leftBy(before, heap{live: 10 * mb, held: 18 * mb}); got != 8*mb {
		t.Errorf("after a trim of 1 MB %d bytes count as scattered, want all 8 MB that are left", got)
	}
	if got := leftBy(before, heap{live: 10 * mb, held: 15 * mb}); got != 0 {
		t.Errorf("after a trim of 4 MB %d bytes count as scattered, want none", got)
	}
}

func TestPrunedBytesLiveUntilTheNextCollection(t *testing.T) {
	const mb = 1 << 20
	n := &Node{chain: testConfig(t, "auto").Chain}
	n.pruned.Store(4 * mb)
	now := heap{live: 10 * mb, collections: 7}
	if n.pruneHeap(&now, heap{collections: 7}); now.live != 6*mb {
		t.Errorf("%d MB live, want 6 of 10 when 4 were pruned since the last collection", now.live/mb)
	}
	now = heap{live: 5 * mb, collections: 8}
	if n.pruneHeap(&now, heap{collections: 7}); now.live != 5*mb {
		t.Errorf("%d MB live, want all 5 that a collection has found since", now.live/mb)
	}
	var first, second heap
	first.read(heapSamples())
	runtime.GC()
	if second.read(heapSamples()); second.collections <= first.collections {
		t.Errorf("%d collections after %d and one more", second.collections, first.collections)
	}
}
