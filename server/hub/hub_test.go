package hub

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func slots(ms []Member) []uint32 {
	var out []uint32
	for _, m := range ms {
		out = append(out, m.Slot)
	}
	slices.Sort(out)
	return out
}

func TestAddAndDiscardReportTheFirstAndTheLastMember(t *testing.T) {
	h := New()
	if added, first := h.Add("chat.7", 3, ByClient); !added || !first {
		t.Fatalf("Add of the first member = %v, %v, want true, true", added, first)
	}
	if added, first := h.Add("chat.7", 3, ByClient); added || first {
		t.Fatalf("Add of a member again = %v, %v, want false, false", added, first)
	}
	if added, first := h.Add("chat.7", 9, ByClient); !added || first {
		t.Fatalf("Add of a second member = %v, %v, want true, false", added, first)
	}
	if got := slots(h.Members([]byte("chat.7"))); !slices.Equal(got, []uint32{3, 9}) {
		t.Fatalf("Members = %v, want [3 9]", got)
	}
	if removed, last := h.Discard([]byte("chat.7"), 3); !removed || last {
		t.Fatalf("Discard of one of two = %v, %v, want true, false", removed, last)
	}
	if removed, last := h.Discard([]byte("chat.7"), 3); removed || last {
		t.Fatalf("Discard of a non-member = %v, %v, want false, false", removed, last)
	}
	if removed, last := h.Discard([]byte("chat.7"), 9); !removed || !last {
		t.Fatalf("Discard of the last = %v, %v, want true, true", removed, last)
	}
	if g, m := h.Len(); g != 0 || m != 0 {
		t.Fatalf("Len = %d groups, %d members, want none", g, m)
	}
}

func TestAStrongerReasonKeepsAMembership(t *testing.T) {
	h := New()
	h.Add("g", 1, ByClient)
	h.Add("g", 1, ByBackend)
	h.Add("g", 1, ByClient)
	if how, ok := h.Has([]byte("g"), 1); !ok || how != ByBackend {
		t.Fatalf("Has = %v, %v, want ByBackend, true", how, ok)
	}
}

// TestMembersStandInTheOrderOfJoining, whatever their slots are; the last takes the place of one that left.
func TestMembersStandInTheOrderOfJoining(t *testing.T) {
	h := New()
	order := func() (slots []uint32) {
		for _, m := range h.Members([]byte("g")) {
			slots = append(slots, m.Slot)
		}
		return slots
	}
	for _, slot := range []uint32{7, 3, 9, 1} {
		h.Add("g", slot, ByClient)
	}
	if got := order(); !slices.Equal(got, []uint32{7, 3, 9, 1}) {
		t.Errorf("Members = %v, want those that joined in their order", got)
	}
	h.Discard([]byte("g"), 3)
	if got := order(); !slices.Equal(got, []uint32{7, 1, 9}) {
		t.Errorf("Members = %v, want the last in the place of the one that left", got)
	}
	h.Drop(9, nil)
	if got := order(); !slices.Equal(got, []uint32{7, 1}) {
		t.Errorf("Members = %v, want the two that are left", got)
	}
}

// TestAgainstAModel drives the hub and plain maps with the same random changes.
func TestAgainstAModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	h, model := New(), map[string]map[uint32]bool{}
	for i := range 200_000 {
		name, slot := fmt.Sprint("g", r.IntN(40)), uint32(r.IntN(300))
		switch op := r.IntN(10); {
		case op < 6:
			_, first := h.Add(name, slot, ByClient)
			if want := len(model[name]) == 0; first != want {
				t.Fatalf("step %d: first = %v, want %v", i, first, want)
			}
			if model[name] == nil {
				model[name] = map[uint32]bool{}
			}
			model[name][slot] = true
		case op < 9:
			removed, last := h.Discard([]byte(name), slot)
			want := model[name][slot]
			delete(model[name], slot)
			if removed != want || last != (want && len(model[name]) == 0) {
				t.Fatalf("step %d: Discard = %v, %v, want %v", i, removed, last, want)
			}
		default:
			h.Drop(slot, func(name []byte) {
				if delete(model[string(name)], slot); len(model[string(name)]) != 0 {
					t.Fatalf("step %d: %s was called empty, has %d", i, name, len(model[string(name)]))
				}
			})
			for _, members := range model {
				delete(members, slot)
			}
		}
	}
	total := 0
	for name, members := range model {
		var want []uint32
		for slot := range members {
			want = append(want, slot)
			if _, ok := h.Has([]byte(name), slot); !ok {
				t.Fatalf("%d is not in %s", slot, name)
			}
		}
		slices.Sort(want)
		if got := slots(h.Members([]byte(name))); !slices.Equal(got, want) {
			t.Fatalf("Members(%s) = %v, want %v", name, got, want)
		}
		total += len(want)
	}
	if _, got := h.Len(); got != total {
		t.Fatalf("Len = %d members, want %d", got, total)
	}
	for slot := range uint32(300) {
		n := 0
		for range h.GroupsOf(slot) {
			n++
		}
		if n != h.Count(slot) {
			t.Fatalf("Count(%d) = %d, GroupsOf has %d", slot, h.Count(slot), n)
		}
		h.Drop(slot, func([]byte) {})
	}
	if g, m := h.Len(); g != 0 || m != 0 {
		t.Fatalf("after dropping all: %d groups, %d members", g, m)
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	h := New()
	for slot := range uint32(100) {
		h.Add("chat.7", slot, ByClient)
	}
	name := []byte("chat.7")
	if n := testing.AllocsPerRun(100, func() {
		for range h.Members(name) {
		}
		h.Has(name, 7)
	}); n != 0 {
		t.Fatalf("Members and Has allocate %v times, want 0", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		h.Discard(name, 7)
		h.Add("chat.7", 7, ByClient)
	}); n != 0 {
		t.Fatalf("leaving and joining again allocates %v times, want 0", n)
	}
}

func BenchmarkMembers(b *testing.B) {
	h := New()
	for slot := range uint32(5000) {
		h.Add("chat.7", slot, ByClient)
	}
	name, sum := []byte("chat.7"), uint32(0)
	for b.Loop() {
		for _, m := range h.Members(name) {
			sum += m.Slot
		}
	}
	_ = sum
}
