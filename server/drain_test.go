package server

import (
	"context"
	"testing"
	"time"

	"github.com/gatecast/gatecast/server/loop"
)

func TestADrainIsEvenWhateverHoldsItUp(t *testing.T) {
	const total, window = 1500, 10 * time.Second
	for _, tt := range []struct {
		name   string
		stalls map[time.Duration]time.Duration // when, for how long
		done   time.Duration                   // at the latest
	}{
		{"nothing", nil, window},
		{"a loop that blocks", map[time.Duration]time.Duration{4 * time.Second: 900 * time.Millisecond}, window},
		{"again and again", map[time.Duration]time.Duration{time.Second: time.Second, 3 * time.Second: time.Second, 5 * time.Second: time.Second}, window + time.Second},
		{"at the end", map[time.Duration]time.Duration{9 * time.Second: 2 * time.Second}, 12 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &drainWalk{begun: true, total: total}
			type moment struct {
				at    time.Duration
				ended int
			}
			var ends []moment
			at := time.Duration(0)
			for d.ended < total && at < 2*window {
				at += drainStep
				for when, long := range tt.stalls {
					if d.at < when && at >= when {
						at += long
					}
				}
				due := d.advance(at, window)
				ends = append(ends, moment{at, due - d.ended})
				d.ended = due
			}
			if at > tt.done+drainStep {
				t.Errorf("the last conn left after %v, want %v", at, tt.done)
			}
			const bin, most = 100 * time.Millisecond, 3 * total * 0.01
			for i, first := range ends {
				within := 0
				for _, e := range ends[i:] {
					if e.at >= first.at+bin {
						break
					}
					within += e.ended
				}
				if within > most {
					t.Fatalf("%d conns left within 100 ms of %v, want %v at most", within, first.at, most)
				}
			}
		})
	}
	if d := (&drainWalk{begun: true, total: total}); d.advance(0, 0) != total {
		t.Error("without a window not all leave at once")
	}
	if d := (&drainWalk{begun: true, total: total}); d.advance(window+catchUp, window) != total {
		t.Errorf("%v after the window some are left", catchUp)
	}
}

func TestADrainHandsOverWhatWasPublishedFirst(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := testConfig(t, mode)
		c.Drain.Window = 0
		n, b := startAlone(t, c)
		s := dial(t, n, "/ws", "a")
		s.want(`{"op":"welcome"}`)
		s.send(`{"op":"group_add","id":1,"group":"chat.1"}`)
		s.want(`{"op":"ok","id":1}`)
		b.mu.Lock()
		b.onTheWay = message("chat.1", `"late"`)
		b.mu.Unlock()
		left := make(chan error, 1)
		go func() { left <- n.Leave(context.Background()) }() // ends when s is closed
		s.want(`{"op":"message","group":"chat.1","data":"late"}`)
		s.want(`{"op":"close","code":4200,"retry":[0,5000]}`)
		s.Close()
		if err := <-left; err != nil {
			t.Errorf("Leave: %v", err)
		}
	})
}

func TestADrainWithoutTheBrokerGoesOn(t *testing.T) {
	c := testConfig(t, loop.ModeAuto)
	c.Drain.Window = 0
	n, b := startAlone(t, c)
	s := dial(t, n, "/ws", "a")
	s.want(`{"op":"welcome"}`)
	b.setDown(true)
	left := make(chan error, 1)
	go func() { left <- n.Leave(context.Background()) }() // ends when s is closed
	s.want(`{"op":"close","code":4200}`)
	s.Close()
	if err := <-left; err != nil {
		t.Errorf("Leave: %v", err)
	}
}
