//go:build linux

package bench

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/proc"
)

// selfPID is the harness.
var selfPID = os.Getpid()

// reading is the state at one moment.
type reading struct {
	at        int64 // by ledger.Now
	server    proc.Usage
	harness   proc.Usage
	processes []proc.Usage // of the harness, one by one
	delivered int64
	connected int
}

// metered is what happened between two readings.
type metered struct {
	elapsed         time.Duration
	server, harness proc.Usage
	now             proc.Usage // the server at the end
	busy            float64    // share of a core that the busiest process of the harness needed
	deliveries      int64
	seconds         []reading // from the first to the last, about a second apart
}

// read reads the costs of the target and of the harness.
func (s *site) read() (r reading, err error) {
	var err1, err2, err3 error
	r.server, err1 = proc.Read(s.in.PIDs()...)
	r.harness, err2 = proc.Read(selfPID)
	r.processes = []proc.Usage{r.harness}
	if s.host != nil {
		var agents []proc.Usage
		agents, err3 = s.host.Usage()
		for _, u := range agents {
			r.harness, r.processes = r.harness.Plus(u), append(r.processes, u)
		}
	}
	r.at = ledger.Now()
	return r, errors.Join(err1, err2, err3)
}

// between is what happened from the first to the last reading.
func between(readings []reading) metered {
	first, last := readings[0], readings[len(readings)-1]
	m := metered{
		elapsed: time.Duration(last.at - first.at), server: last.server.Since(first.server), harness: last.harness.Since(first.harness),
		now: last.server, deliveries: last.delivered - first.delivered, seconds: readings,
	}
	for i, u := range last.processes {
		m.busy = max(m.busy, u.Since(first.processes[i]).CPU.Seconds()/m.elapsed.Seconds())
	}
	return m
}

// meter reads the costs of a target and of the harness when measuring begins, every second, and when it ends.
type meter struct {
	read   func() (reading, error)
	cancel context.CancelFunc
	done   chan struct{} // closed when the readings are complete
	all    []reading
	err    error
}

// startMeter begins to read at from.
func startMeter(ctx context.Context, from int64, take func() (reading, error)) *meter {
	ctx, cancel := context.WithCancel(ctx)
	m := &meter{read: take, cancel: cancel, done: make(chan struct{})}
	go func() { // ends with stop, or with ctx
		defer close(m.done)
		timer := time.NewTimer(time.Duration(from - ledger.Now()))
		defer timer.Stop()
		for next := from; m.err == nil; {
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			m.take()
			next += int64(time.Second)
			timer.Reset(time.Duration(next - ledger.Now()))
		}
	}()
	return m
}

func (m *meter) take() {
	var r reading
	if r, m.err = m.read(); m.err != nil {
		return
	}
	m.all = append(m.all, r)
}

// stop makes the last reading. Without a first one, because measuring never began, nothing was metered.
func (m *meter) stop() (metered, error) {
	m.cancel()
	<-m.done
	if m.err == nil && len(m.all) > 0 {
		m.take()
	}
	if m.err != nil || len(m.all) < 2 {
		return metered{}, m.err
	}
	return between(m.all), nil
}
