//go:build linux

package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/load"
	"github.com/gatecast/gatecast/bench/proc"
	"github.com/gatecast/gatecast/bench/swarm"
)

// told is a crew that says of itself what a test has it say, one after the other, and the last for ever.
type told struct {
	crew.Crew
	states []crew.State
	asked  int
	tally  crew.Tally
}

func (c *told) State() crew.State {
	c.asked++
	return c.states[min(c.asked, len(c.states))-1]
}

func (c *told) Receive(int64, func(int64))           {}
func (c *told) Stop() error                          { return c.State().Err }
func (c *told) Balance([]uint32) (crew.Tally, error) { return c.tally, nil }

// published is a publisher that is done.
type published struct {
	publisher
	sent []uint32
}

func (p published) Open(_ context.Context, _ load.Schedule, _ int, alive func() error) error {
	return alive()
}
func (p published) Sent() []uint32 { return p.sent }
func (p published) Last() int64    { return 0 }
func (p published) Lag() *hdrhistogram.Histogram {
	return load.NewHistogram()
}

// TestSilenceCountsWhileReceiversLook: receivers that have no core for longer than the patience lose nothing by that.
func TestSilenceCountsWhileReceiversLook(t *testing.T) {
	const patience = time.Millisecond // gather looks every 5 ms
	away := crew.State{Delivered: 9, Last: 1, Quiet: patience}
	for _, tt := range []struct {
		name   string
		states []crew.State
		all    bool
	}{
		{"they do not look, and then have all", []crew.State{away, away, away, away, away, {Delivered: 10, Last: 1}}, true},
		{"they look, and nothing comes", []crew.State{away, {Delivered: 9, Last: 1, Quiet: 2*patience + 1}, {Delivered: 10, Last: 1}}, false},
		{"something came, and then nothing", []crew.State{away, {Delivered: 9, Last: 2}, {Delivered: 9, Last: 2, Quiet: patience + 1}, {Delivered: 10, Last: 2}}, false},
	} {
		c, o := &told{states: tt.states}, quick()
		o.Patience = patience
		d := &delivery{site: &site{o: o}, crew: c, pub: published{sent: []uint32{10}}, sizes: []int{1}}
		if err := d.gather(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all := c.asked >= len(tt.states); all != tt.all {
			t.Errorf("%s: it ended after %d of %d looks", tt.name, c.asked, len(tt.states))
		}
	}
}

func TestWhatReceiversHaveNotReadIsNoFaultOfTheTarget(t *testing.T) {
	o := quick()
	d := &delivery{site: &site{o: o}, pub: published{}, cutOff: time.Minute}
	tally := crew.Tally{Counts: ledger.Counts{Expected: 1000, Delivered: 900, Lost: 100, Duplicated: 1}}
	for _, tt := range []struct {
		unread          int64
		target, harness string
	}{
		{0, "1 of 1000 messages duplicated; overloaded: 100 of 1000 messages had not arrived 1m0s", ""},
		{10 * int64(o.Size), "1 of 1000 messages duplicated; overloaded: 100 of 1000 messages had not arrived 1m0s", ""},
		{100 * int64(o.Size), "1 of 1000 messages duplicated", "the receivers fell behind: 100 of 1000 messages were not read 1m0s"},
	} {
		tally.Unread = tt.unread
		target, harness := d.faults(tally)
		for _, f := range []struct{ got, want string }{{strings.Join(target, "; "), tt.target}, {strings.Join(harness, "; "), tt.harness}} {
			if !strings.HasPrefix(f.got, f.want) || (f.got == "") != (f.want == "") {
				t.Errorf("%d bytes unread: %q, want %q", tt.unread, f.got, f.want)
			}
		}
	}
}

// TestLossesOfReceiversThatDidNotReadAreNoFaultOfTheTarget: if more came meanwhile than their sockets take. A loss that cannot be
// explained so is the target's, whatever the machine did.
func TestLossesOfReceiversThatDidNotReadAreNoFaultOfTheTarget(t *testing.T) {
	tally := crew.Tally{Counts: ledger.Counts{Expected: 2200, Delivered: 2100, Lost: 100}} // 100 a second to each
	for _, tt := range []struct {
		name    string
		size    int
		window  int
		away    time.Duration
		harness bool
	}{
		{"they read all the time", 16000, 0, 10 * time.Millisecond, false},
		{"they did not read for a second, in which 1.6 MB came", 16000, 0, time.Second, true},
		{"they did not read for a second, in which 10 KB came", 100, 0, time.Second, false},
		{"they never read, and 11 KB came in all", 100, 0, time.Hour, false},
		{"no more than a few were in flight", 100, 16, time.Minute, false},
		{"many were in flight, and they read all the time", 16000, 16, 10 * time.Millisecond, false},
	} {
		o := quick()
		o.Size, o.Window = tt.size, tt.window
		d := &delivery{site: &site{o: o}, pub: published{}}
		tally.Away = tt.away
		target, harness := d.faults(tally)
		if len(target)+len(harness) != 1 || (len(harness) == 1) != tt.harness {
			t.Errorf("%s: target %q, harness %q", tt.name, target, harness)
		}
	}
}

// TestAConnectionOfWhoDidNotReadMayBeClosed: that says nothing of the target. Otherwise it ends the measurement.
func TestAConnectionOfWhoDidNotReadMayBeClosed(t *testing.T) {
	for away, harness := range map[time.Duration]bool{time.Second: true, time.Millisecond: false} {
		c := &told{states: []crew.State{{Err: fmt.Errorf("client 3: %w", swarm.ErrClosed)}}}
		c.tally = crew.Tally{Counts: ledger.Counts{Expected: 2200}, Away: away}
		o := quick()
		o.Size = 16000
		d := &delivery{site: &site{o: o, in: elsewhere{}}, crew: c, pub: published{}, sizes: []int{10, 10}}
		tally, m, err := d.publish(t.Context())
		if (err == nil) != harness {
			t.Errorf("away for %v: %v", away, err)
			continue
		}
		if err == nil {
			run := d.result(tally, m)
			if len(run.Faults) > 0 || len(run.Harness) != 1 || !strings.Contains(run.Harness[0], "closed a connection") {
				t.Errorf("away for %v: target %q, harness %q", away, run.Faults, run.Harness)
			}
		}
	}
}

// TestAMeterThatComesLateIsNoFaultOfTheTarget: what was delivered before the first reading is not delivered after it.
func TestAMeterThatComesLateIsNoFaultOfTheTarget(t *testing.T) {
	o := quick()
	d := &delivery{site: &site{o: o}, crew: &told{states: []crew.State{{Last: 1}}}, pub: published{}, from: 1e9}
	for _, tt := range []struct {
		late            time.Duration
		target, harness string
	}{
		{time.Millisecond, "nothing was delivered in the time measured", ""},
		{o.Duration - time.Millisecond, "", "the harness did not come to read the costs before the run was over"},
	} {
		first := reading{at: d.from + int64(tt.late), processes: make([]proc.Usage, 1)}
		last := first
		last.at += int64(time.Second)
		tally := crew.Tally{Times: crew.Times{Response: load.NewHistogram()}}
		run := d.result(tally, between([]reading{first, last}))
		if target, harness := strings.Join(run.Faults, "; "), strings.Join(run.Harness, "; "); target != tt.target || harness != tt.harness {
			t.Errorf("%v late: target %q, harness %q, want %q and %q", tt.late, target, harness, tt.target, tt.harness)
		}
	}
}
