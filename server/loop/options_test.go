package loop

import (
	"strings"
	"testing"
	"time"
)

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		want   string // in the error, "" = none
	}{
		"the defaults are good":  {func(*Options) {}, ""},
		"zero means default":     {func(o *Options) { *o = Options{} }, ""},
		"an unknown mode":        {func(o *Options) { o.Mode = "poll" }, `mode "poll" is unknown; use "auto"`},
		"too many loops":         {func(o *Options) { o.Loops = 300 }, "loops = 300"},
		"negative loops":         {func(o *Options) { o.Loops = -1 }, "loops = -1"},
		"a negative buffer":      {func(o *Options) { o.WriteBuffer = -1 }, "write_buffer = -1"},
		"a negative patience":    {func(o *Options) { o.UserTimeout = -time.Second }, "user_timeout"},
		"two faults, two errors": {func(o *Options) { o.Loops, o.Mode = -1, "x" }, "loops"},
	} {
		t.Run(name, func(t *testing.T) {
			o := DefaultOptions()
			c.change(&o)
			err := o.Validate()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("Validate() = %v, want nil", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("Validate() = %v, want %q in it", err, c.want)
			}
		})
	}
	if _, err := New(Options{Mode: "poll"}, nil, nil); err == nil {
		t.Error("New took an unknown mode")
	}
}

func TestIDHoldsItsParts(t *testing.T) {
	for _, c := range []struct {
		loop      int
		slot, gen uint32
	}{{0, 1, 1}, {255, maxSlots - 1, 1<<32 - 1}, {7, 4711, 99}} {
		id := makeID(c.loop, c.slot, c.gen)
		if id.Loop() != c.loop || id.Slot() != c.slot || id.Gen() != c.gen || id == 0 {
			t.Errorf("makeID(%d, %d, %d) = %v", c.loop, c.slot, c.gen, id)
		}
	}
}
