package ledger

import (
	"bytes"
	"testing"
)

var full = Stamp{Run: 0xfedcba98, Group: 0x12345678, Publisher: 0xabcd, Seq: 0xffffffff, Due: 1<<62 + 3, Sent: 1<<62 + 4}

func TestStampIsReadBack(t *testing.T) {
	b := full.Append(nil)
	if len(b) != StampSize {
		t.Fatalf("stamp has %d bytes, want %d", len(b), StampSize)
	}
	text := append([]byte(`{"op":"message","data":"gc1:`), b...) // a mark before the stamp does not hide it
	text = append(append(text, `xx"}`...), full.Append(nil)...)
	for i := range 2 {
		s, rest, ok := Find(text)
		if !ok || s != full {
			t.Fatalf("Find, stamp %d = %+v, %v, want %+v", i, s, ok, full)
		}
		text = rest
	}
	if s, _, ok := Find(text); ok {
		t.Errorf("Find after the last = %+v, want none", s)
	}
}

func TestStampThatIsCutIsNone(t *testing.T) {
	b := full.Append(nil)
	for n := range b {
		if s, _, ok := Find(b[:n]); ok {
			t.Errorf("Find in %d bytes = %+v, want none", n, s)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("gc1:"), uint32(1))
	f.Add(full.Append(nil), uint32(2))
	f.Fuzz(func(t *testing.T, noise []byte, seq uint32) {
		Find(noise)
		if bytes.Contains(noise, []byte(mark)) {
			return
		}
		want := Stamp{Seq: seq}
		if s, _, ok := Find(want.Append(noise)); !ok || s != want {
			t.Errorf("Find after %q = %+v, %v, want %+v", noise, s, ok, want)
		}
	})
}
