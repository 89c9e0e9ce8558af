//go:build linux

package bench

import (
	"time"

	"github.com/gatecast/gatecast/bench/crew"
	"github.com/gatecast/gatecast/bench/live"
)

// followEvery is how often the view hears of a crew.
const followEvery = 500 * time.Millisecond

// phase tells the view what is going on. Tests have none.
func (s *site) phase(name string) {
	if s.view != nil {
		s.view.Phase(name)
	}
}

// follow tells the view how far the crew is, until stop. expected is how many deliveries there will be, of how long it takes; 0 =
// unknown.
func (s *site) follow(c crew.Crew, expected int64, of time.Duration) (stop func()) {
	if s.view == nil {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() { // ends with stop
		defer close(ended)
		tick := time.NewTicker(followEvery)
		defer tick.Stop()
		var before reading
		for {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			state := c.State()
			p := live.Progress{
				Connected: state.Connected, Conns: s.o.Conns, Delivered: state.Delivered, Expected: expected, Elapsed: time.Since(began), Of: of,
			}
			now, err := s.read()
			if err == nil && before.at > 0 {
				p.CPU = float64(now.server.Since(before.server).CPU) / float64(now.at-before.at)
				p.RSS = now.server.RSS
			}
			before = now
			s.view.Progress(p)
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
