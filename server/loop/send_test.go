package loop

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// narrow is a transport whose sockets take as many bytes of a write as the test says.
type narrow struct {
	loop *Loop
	room func() int
	got  map[uint32][]byte
}

func (t *narrow) write(slot uint32, _ *sock, b []byte) (int, error) {
	n := min(len(b), t.room())
	t.got[slot] = append(t.got[slot], b[:n]...)
	return n, nil
}
func (t *narrow) open(uint32, *sock, arrival) error { return nil }
func (t *narrow) watch(uint32, *sock)               {}
func (t *narrow) shutdown(uint32, *sock) bool       { return false }
func (t *narrow) release(uint32, *sock)             {}

// deaf is a Handler that does nothing.
type deaf struct{}

func (deaf) Open(uint32, netip.AddrPort) {}
func (deaf) Read(uint32, []byte)         {}
func (deaf) Closed(uint32, error)        {}
func (deaf) Task(Task)                   {}
func (deaf) Turn()                       {}
func (deaf) Tick(uint32)                 {}

// FuzzOutput drives the output of a few sockets by a program of two bytes an instruction and checks it against plain byte slices:
// every socket gets exactly what was sent to it and not shed, in order, however little a write takes, and no frame stays referenced.
func FuzzOutput(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 8, 0, 9, 3})
	f.Add([]byte{3, 9, 3, 9, 3, 9, 0, 200, 1, 200, 2, 200, 6, 1, 7, 0, 6, 255, 7, 0})
	f.Add([]byte{4, 5, 4, 6, 4, 7, 4, 8, 5, 3, 6, 100, 2, 30, 7, 0, 4, 1, 4, 2, 6, 0, 7, 0, 8, 0, 4, 9, 9, 1, 7, 0})
	f.Add(bytes.Repeat([]byte{4, 1, 4, 2, 2, 40, 7, 0, 6, 77}, 20))
	f.Add(bytes.Repeat([]byte{2, 255, 7, 0, 6, 3, 8, 0, 4, 250}, 30))
	f.Add(bytes.Repeat([]byte{0, 9, 4, 3, 7, 0, 0, 13, 0, 17, 10, 1, 6, 5, 9, 1, 7, 0}, 12))
	f.Add(bytes.Repeat([]byte{6, 0, 4, 3, 4, 4, 4, 5, 7, 0, 10, 1, 10, 9, 9, 1}, 9))
	f.Fuzz(runOutput)
}

const fuzzConns = 4

func runOutput(t *testing.T, program []byte) {
	limit := maxWrite * 4
	l := &Loop{socks: newSlab(), out: newOutput(), handler: deaf{}, start: time.Now(), tick: time.Hour, now: 1}
	tr := &narrow{loop: l, room: func() int { return limit }, got: map[uint32][]byte{}}
	l.raw = tr
	type sent struct {
		b   []byte
		tag uint64
	}
	want := map[uint32][]sent{}
	bytesOf := func(slot uint32) (all []byte) {
		for _, s := range want[slot] {
			all = append(all, s.b...)
		}
		return all
	}
	var frames []*Frame
	var filler byte
	frame := func(n int) *Frame { // no two alike
		f := NewFrame(n)
		for range n {
			filler++
			f.B = append(f.B, filler)
		}
		f.Tag = uint64(filler % 3)
		frames = append(frames, f)
		return f
	}
	last := frame(3)
	for range fuzzConns {
		l.socks.take()
	}
	send := func(slot uint32, f *Frame, how func(uint32, *Frame)) {
		how(slot, f)
		if len(f.B) > 0 {
			want[slot] = append(want[slot], sent{f.B, f.Tag})
		}
	}
	for len(program) >= 2 {
		op, arg := program[0]%11, int(program[1])
		program = program[2:]
		slot := uint32(arg%fuzzConns) + 1
		switch op {
		case 0:
			last = frame(arg*31 + 1)
			send(slot, last, l.Send)
		case 1:
			last = frame(arg*7 + 1)
			send(slot, last, l.SendNow)
		case 2:
			b := frame(arg*3 + 1).B
			l.SendBytes(slot, b)
			want[slot] = append(want[slot], sent{b: b})
		case 3:
			send(slot, last, l.Send)
		case 4: // to all
			last = frame(arg + 1)
			for slot := uint32(1); slot <= fuzzConns; slot++ {
				send(slot, last, l.Send)
			}
		case 5:
			last = frame(arg * 400)
			send(slot, last, l.Send)
		case 6:
			limit = arg * arg
		case 7:
			l.flush()
		case 8:
			l.now++
			l.trim()
		case 9:
			if s := l.socks.at(slot); s.is(isBlocked) {
				l.writable(slot, s)
			}
		case 10: // those of one tag, or the first few of any
			tag, most := uint64(arg/fuzzConns%3), arg/16
			n, offered := 0, 0
			drop := func(of uint64) (out, enough bool) {
				offered++
				return tag == 0 || of == tag, offered > most
			}
			gone := l.Shed(slot, func(f *Frame, _ uint32) (bool, bool) { return drop(f.Tag) })
			at, kept, enough := 0, want[slot][:0:0], false
			offered = 0
			for _, s := range want[slot] {
				out := false
				if !enough && s.tag != 0 && at >= len(tr.got[slot]) {
					out, enough = drop(s.tag)
				}
				if at += len(s.b); out {
					n++
				} else {
					kept = append(kept, s)
				}
			}
			if want[slot] = kept; gone != n {
				t.Fatalf("socket %d: %d frames shed, want %d", slot, gone, n)
			}
		}
		for slot := uint32(1); slot <= fuzzConns; slot++ {
			n, _ := l.Pending(slot)
			if all := len(bytesOf(slot)); len(tr.got[slot])+n != all {
				t.Fatalf("socket %d: %d bytes written and %d pending, want %d in all", slot, len(tr.got[slot]), n, all)
			}
		}
	}
	limit = 1 << 30
	for slot := uint32(1); slot <= fuzzConns; slot++ {
		if s := l.socks.at(slot); s.is(isBlocked) {
			l.writable(slot, s)
		}
	}
	for l.dirty() {
		l.flush()
	}
	for slot := range want {
		if !bytes.Equal(tr.got[slot], bytesOf(slot)) {
			t.Fatalf("socket %d got other bytes than were sent", slot)
		}
	}
	if l.out.inUse != 0 {
		t.Errorf("%d pieces in use with nothing pending", l.out.inUse)
	}
	for i, f := range frames {
		if n := f.refs.Load(); n != 1 {
			t.Errorf("frame %d has %d references, want the caller's", i, n)
		}
		f.Release()
	}
}
