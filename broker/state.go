package broker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// onRelayUp tells a new connection what this node hears, then meets the others.
func (b *Broker) onRelayUp(serverInfo) {
	b.relay.append(func(buf []byte) []byte {
		buf = appendSub(buf, b.sub.relayInbox+">", "", sidInbox)
		buf = appendSub(buf, b.sub.sync+nodeToken(b.o.Name), "", sidSync)
		buf = appendSub(buf, b.sub.hello, "", sidHello)
		buf = appendSub(buf, b.sub.beat, "", sidBeat)
		buf = appendSub(buf, b.sub.bye, "", sidBye)
		if b.wildcard {
			buf = appendSub(buf, b.sub.users, "", sidUsers)
		}
		return buf
	})
	b.resubscribe()
	b.beginMeeting()
}

func (b *Broker) onRelayDown(err error) {
	b.endMeeting()
	b.mu.Lock()
	b.serving = false
	b.why = "no link to NATS"
	if err != nil {
		b.why += ": " + err.Error()
	}
	clear(b.peers) // met again by the hello of the next connection
	done := b.failAll(ErrUnavailable)
	b.mu.Unlock()
	done.call()
	b.decideIngress()
	b.tell()
}

// serve lets this node publish, join and take ingress.
func (b *Broker) serve(ctx context.Context) {
	b.mu.Lock()
	if ctx.Err() != nil || b.refused != "" || b.closed || b.draining {
		b.mu.Unlock()
		return
	}
	b.meeting = nil
	b.serving, b.why, b.waitingFor = true, "", ""
	b.relay.setServing(true)
	b.beat(time.Now())
	b.mu.Unlock()
	b.decideIngress()
	flushCtx, cancel := context.WithTimeout(ctx, answerWithin)
	_ = b.control.flush(flushCtx) // who is told that this node serves finds the ingress open; without the link Ready says so
	cancel()
	if b.opened.CompareAndSwap(false, true) {
		b.stateMu.Lock()
		b.told = true
		b.stateMu.Unlock()
		b.openErr <- nil
	}
	b.tell()
}

// refuse ends this node's service for good: it is not of this cluster.
func (b *Broker) refuse(why string) {
	b.mu.Lock()
	if b.refused != "" {
		b.mu.Unlock()
		return
	}
	b.refused, b.why, b.serving = why, why, false
	b.relay.setServing(false)
	done := b.failAll(ErrUnavailable)
	b.mu.Unlock()
	b.log.Error("this node may not serve", "reason", why)
	done.call()
	b.fatal(errors.New(why))
	b.tell()
}

// onDenied is told what NATS does not let this node do, which would otherwise be missing in silence.
func (b *Broker) onDenied(what string) {
	b.fatal(fmt.Errorf("broker.url: NATS says %q: let this login publish and subscribe to %s.> and _INBOX.>, with allow_responses: true", what, b.o.Namespace))
}

// fatal ends Open.
func (b *Broker) fatal(err error) {
	if !b.opened.Load() {
		select {
		case b.openErr <- err:
		default:
		}
	}
}

func (b *Broker) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refused != "" {
		return errors.New(b.refused)
	}
	return nil
}

// tell calls Handler.State if it has something new to say.
func (b *Broker) tell() {
	b.stateMu.Lock()
	defer b.stateMu.Unlock()
	b.mu.Lock()
	up, why, quiet := b.serving, b.why, b.closed || b.draining || !b.opened.Load()
	b.mu.Unlock()
	if quiet || up == b.told {
		return
	}
	b.told = up
	if up {
		why = "connected"
	}
	b.h.State(up, why)
}

// How often tick looks. A node that is alone has nobody to lose and no barrier to wait for, and a process that wakes from sleep pays 0.3 ms of
// CPU each time: Go's monitor thread naps in steps of 20 µs until it believes that the process sleeps again.
const (
	tickEvery  = 100 * time.Millisecond
	tickAlone  = time.Second
	sweepEvery = 2 * time.Second
)

// tick does what time asks for.
func (b *Broker) tick() {
	every := tickEvery
	if b.alone() {
		every = tickAlone
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var routesAt, sweepAt time.Time
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		case <-b.poked:
		}
		now := time.Now()
		b.watchPeers(now)
		b.expireBarriers(now)
		b.unsubscribe(now, int(every/tickEvery))
		b.decideIngress()
		if b.embedded == nil {
			continue
		}
		if b.o.Cluster.Listen != "" && now.Sub(routesAt) >= watchRoutes {
			routesAt = now
			b.onRoutes()
		}
		if now.Sub(sweepAt) >= sweepEvery {
			sweepAt = now
			b.sweep()
		}
	}
}

// poke makes tick run at once.
func (b *Broker) poke() {
	select {
	case b.poked <- struct{}{}:
	default:
	}
}

// spawn runs f on a goroutine that Close waits for; after Close it does not, and returns false.
func (b *Broker) spawn(f func()) bool {
	b.workMu.Lock()
	defer b.workMu.Unlock()
	if b.ended {
		return false
	}
	b.work.Go(f)
	return true
}
