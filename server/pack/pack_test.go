package pack

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// someText is now and then too long for a piece.
func someText(r *rand.Rand) []byte {
	b := make([]byte, r.IntN(40))
	switch r.IntN(50) {
	case 0:
		b = make([]byte, 300+r.IntN(200))
	case 1:
		b = make([]byte, 70_000)
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestTextsStayUntilTheyAreDropped(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var texts Texts
	var names []Text
	model := map[Text][]byte{}
	for i := range 50_000 {
		if len(names) > 0 && r.IntN(100) < 40+i/2500 { // grows, then shrinks
			k := r.IntN(len(names))
			name := names[k]
			if got := texts.Get(name); !bytes.Equal(got, model[name]) {
				t.Fatalf("step %d: Get(%d) = %d bytes, want %d others", i, name, len(got), len(model[name]))
			}
			texts.Drop(name)
			delete(model, name)
			names = slices.Delete(names, k, k+1)
			continue
		}
		b := someText(r)
		name := texts.Put(b)
		if (name == 0) != (len(b) == 0) {
			t.Fatalf("step %d: Put of %d bytes = %d", i, len(b), name)
		}
		if name == 0 {
			continue
		}
		if _, used := model[name]; used {
			t.Fatalf("step %d: name %d is in use", i, name)
		}
		model[name], names = b, append(names, name)
	}
	for name, want := range model {
		if got := texts.Get(name); !bytes.Equal(got, want) {
			t.Fatalf("Get(%d) = %q, want %q", name, got, want)
		}
	}
	if texts.Len() != len(model) {
		t.Fatalf("Len = %d, want %d", texts.Len(), len(model))
	}
	for name := range model {
		texts.Drop(name)
	}
	if len(texts.chunks) != 0 || texts.Len() != 0 {
		t.Fatalf("%d chunks are left of nothing", len(texts.chunks))
	}
}

func TestADroppedTextMakesRoomForAnother(t *testing.T) {
	var texts Texts
	keep := texts.Put([]byte("keep"))
	for range 100_000 {
		texts.Drop(texts.Put([]byte("a text of some length")))
	}
	if len(texts.chunks) != 1 {
		t.Fatalf("%d chunks for two texts", len(texts.chunks))
	}
	if got := texts.Get(keep); string(got) != "keep" {
		t.Fatalf("Get = %q", got)
	}
}

func TestAnIndexFindsWhatIsInIt(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	type entry struct{ hash, ref uint32 }
	var x Index
	var model []entry
	count := func(e entry) (n int) {
		x.Find(e.hash, func(ref uint32) bool {
			if ref == e.ref {
				n++
			}
			return false
		})
		return n
	}
	want := func(e entry) (n int) {
		for _, m := range model {
			if m == e {
				n++
			}
		}
		return n
	}
	some := func() entry { // hashes that meet at both ends of the table, and equal entries
		h := uint32(r.IntN(40)) << 3
		switch r.IntN(3) {
		case 0:
			h = ^h
		case 1:
			h = r.Uint32()
		}
		return entry{h, uint32(r.IntN(4))}
	}
	for i := range 60_000 {
		e := some()
		if len(model) > 0 && r.IntN(100) < 45+i/6000 {
			k := r.IntN(len(model))
			e = model[k]
			x.Drop(e.hash, e.ref)
			model = slices.Delete(model, k, k+1)
		} else {
			x.Put(e.hash, e.ref)
			model = append(model, e)
		}
		if i%16 == 0 || len(model) < 50 {
			if got, n := count(e), want(e); got != n {
				t.Fatalf("step %d: %v is there %d times, want %d", i, e, got, n)
			}
		}
		if x.Len() != len(model) {
			t.Fatalf("step %d: Len = %d, want %d", i, x.Len(), len(model))
		}
	}
	for _, e := range model {
		if ref, ok := x.Find(e.hash, func(ref uint32) bool { return ref == e.ref }); !ok || ref != e.ref {
			t.Fatalf("%v is lost", e)
		}
	}
	x.Drop(1, 2) // of nothing
	for _, e := range model {
		x.Drop(e.hash, e.ref)
	}
	if x.Len() != 0 || x.slots != nil {
		t.Fatalf("%d entries in %d slots are left of nothing", x.Len(), len(x.slots))
	}
}

func TestAnIndexShrinks(t *testing.T) {
	var x Index
	for i := range uint32(10_000) {
		x.Put(i*2654435761, i)
	}
	if full := len(x.slots); full > 2*10_000 {
		t.Fatalf("%d slots for 10,000 entries", full)
	}
	for i := range uint32(9_990) {
		x.Drop(i*2654435761, i)
	}
	if len(x.slots) > 100 {
		t.Fatalf("%d slots for 10 entries", len(x.slots))
	}
	for i := uint32(9_990); i < 10_000; i++ {
		if _, ok := x.Find(i*2654435761, func(ref uint32) bool { return ref == i }); !ok {
			t.Fatalf("%d is lost", i)
		}
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	var x Index
	var texts Texts
	name := texts.Put([]byte("chat.7"))
	x.Put(7, uint32(name))
	want := []byte("chat.7")
	if n := testing.AllocsPerRun(100, func() {
		x.Find(7, func(ref uint32) bool { return bytes.Equal(texts.Get(Text(ref)), want) })
	}); n != 0 {
		t.Fatalf("%v allocations, want none", n)
	}
}
