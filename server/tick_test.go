package server

import (
	"testing"
	"time"

	"github.com/gatecast/gatecast/server/loop"
)

// A ping is answered within 10 s, however far apart pings are.
func TestAnUnansweredPingIsLookedAtInTime(t *testing.T) {
	for _, ping := range []time.Duration{5 * time.Second, 25 * time.Second, time.Minute} {
		c := testConfig(t, loop.ModeAuto)
		c.Server.Ping = ping
		n, _ := startAlone(t, c)
		dial(t, n, "/ws", "a").want(`{"op":"welcome"}`)
		n.onLoops(func(o *owner) {
			for slot, c := range o.loggedIn() {
				c.flags |= flagPinged
				c.pinged = o.loop.Now()
				o.attend(slot, c)
				if most := c.pinged + pongWait + 1; o.due[slot] > most {
					t.Errorf("ping = %v: looked at in %d s, want %d at most", ping, o.due[slot]-c.pinged, most-c.pinged)
				}
			}
		})
	}
}
