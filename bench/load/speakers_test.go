//go:build linux

package load

import (
	"errors"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/ledger"
)

// said is what clients sent: the stamps of each write.
type said struct {
	clients []int
	writes  [][]ledger.Stamp
}

func (s *said) send(client int, frames []byte) error {
	var stamps []ledger.Stamp
	for len(frames) > 0 { // frames of up to 125 bytes: two bytes of header, four of mask
		size := int(frames[1] & 0x7f)
		payload := append([]byte(nil), frames[6:6+size]...)
		for i := range payload {
			payload[i] ^= frames[2+i&3]
		}
		stamp, _, _ := ledger.Find(payload)
		stamps, frames = append(stamps, stamp), frames[6+size:]
	}
	s.clients, s.writes = append(s.clients, client), append(s.writes, stamps)
	return nil
}

func speakers(t *testing.T, batch int, send func(int, []byte) error) *Speakers {
	t.Helper()
	p, err := OpenSpeakers(SpeakerOptions{Clients: 3, Send: send, Codec: codec.Raw{}, Run: 7, Size: 100, Batch: batch})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func alive() error { return nil }

func TestSpeakersTakeTurns(t *testing.T) {
	var got said
	p := speakers(t, 2, got.send)
	s := Schedule{Start: ledger.Now(), Rate: 10000}
	if err := p.Open(t.Context(), s, 9, alive); err != nil {
		t.Fatal(err)
	}
	next := make([]uint32, 3)
	for k, stamps := range got.writes {
		if got.clients[k] != k%3 {
			t.Errorf("write %d is by client %d, want %d", k, got.clients[k], k%3)
		}
		if want := min(2, 9-2*k); len(stamps) != want {
			t.Errorf("write %d has %d messages, want %d", k, len(stamps), want)
		}
		for _, stamp := range stamps {
			due := s.Due(2 * k)
			if stamp.Run != 7 || int(stamp.Group) != k%3 || stamp.Seq != next[k%3] || stamp.Due-due > 1 || due-stamp.Due > 1 || stamp.Sent < stamp.Due {
				t.Errorf("write %d says %+v, want number %d of group %d, due %d", k, stamp, next[k%3], k%3, due)
			}
			next[k%3]++
		}
	}
	if sent := p.Sent(); len(got.writes) != 5 || sent[0] != 4 || sent[1] != 3 || sent[2] != 2 {
		t.Errorf("%d writes, sent %v, want 5 and 4, 3, 2", len(got.writes), sent)
	}
	if n := p.Lag().TotalCount(); n != 5 {
		t.Errorf("the lag of %d writes is known, want 5", n)
	}
}

func TestSpeakersKeepTheirWindow(t *testing.T) {
	var got said
	p := speakers(t, 1, got.send)
	completed := 0
	err := p.Window(t.Context(), 4, 50*time.Millisecond, func() int { return completed }, func() error {
		if inFlight := len(got.writes) - completed; inFlight != 4 {
			t.Errorf("%d in flight when it waits, want 4", inFlight)
		}
		completed++
		p.Completed()
		return nil
	})
	if err != nil || len(got.writes) < 4 {
		t.Errorf("%d writes, %v", len(got.writes), err)
	}
}

func TestSpeakersStopWhenTheyCannotSend(t *testing.T) {
	broken := errors.New("broken")
	p := speakers(t, 1, func(int, []byte) error { return broken })
	if err := p.Open(t.Context(), Schedule{Start: ledger.Now(), Rate: 1000}, 5, alive); !errors.Is(err, broken) {
		t.Errorf("Open = %v, want %v", err, broken)
	}
	if _, err := OpenSpeakers(SpeakerOptions{Clients: 1, Size: 10}); err == nil {
		t.Error("a payload too small for a stamp is accepted")
	}
}

func TestSpeakingAllocatesNothing(t *testing.T) {
	p := speakers(t, 4, func(int, []byte) error { return nil })
	if n := testing.AllocsPerRun(100, func() { _ = p.say(1, 4) }); n != 0 {
		t.Errorf("a write allocates %v times, want 0", n)
	}
}
