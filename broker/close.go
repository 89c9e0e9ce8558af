package broker

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Drain takes no more messages, finishes those in hand, tells the other nodes, and sends NATS clients elsewhere. Publish and Join
// fail with ErrUnavailable from then on; what other nodes publish is delivered until it returns. It does so when ctx ends at the latest.
//
// Clients of the embedded server must go before its ingress does, for nobody else hears what they publish there. The links end
// within lameDuckGrace, before the server closes them.
func (b *Broker) Drain(ctx context.Context) error {
	b.mu.Lock()
	if b.draining || b.closed {
		b.mu.Unlock()
		return nil
	}
	b.draining = true
	b.deaf = b.embedded == nil
	b.mu.Unlock()
	b.decideIngress() // unsubscribes
	err := errors.Join(b.control.flush(ctx), b.waitAnswers(ctx))
	left := make(chan struct{})
	if b.embedded != nil {
		if !b.spawn(func() { // ends within lameDuck, or with the server's shutdown; Close waits
			defer close(left)
			b.embedded.LameDuckShutdown()
		}) {
			return ErrUnavailable // Close runs beside
		}
		err = errors.Join(err, b.seeOff(ctx))
		b.mu.Lock()
		b.deaf = true
		b.mu.Unlock()
		b.decideIngress() // unsubscribes
		err = errors.Join(err, b.control.flush(ctx))
	}
	b.mu.Lock()
	b.serving = false
	b.why = "draining"
	b.relay.setServing(false)
	done := b.failAll(ErrUnavailable)
	b.leave()
	b.mu.Unlock()
	done.call()
	err = errors.Join(err, b.relay.flush(ctx), b.control.flush(ctx)) // messages, then the answers about them
	if b.embedded == nil {
		return err
	}
	b.relay.stop()
	b.control.stop()
	select {
	case <-left:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
	}
	return err
}

// seeOff disconnects all services and native users once the server takes no new ones, and what they asked is answered.
func (b *Broker) seeOff(ctx context.Context) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for b.embedded.Addr() != nil { // nil when the listener is closed
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-b.ctx.Done():
			return ErrUnavailable
		}
	}
	err := b.control.flush(ctx)                  // what they sent is handled
	err = errors.Join(err, b.control.flush(ctx)) // and answered
	written := time.Now().Add(lameDuckGrace / 4) // a client that does not read has had its time
	for b.unwritten() && time.Now().Before(written) && ctx.Err() == nil {
		<-ticker.C
	}
	for _, cid := range b.shutDoor() {
		b.embedded.DisconnectClientByID(cid)
	}
	return err
}

// unwritten says whether the server still has bytes for any client.
func (b *Broker) unwritten() bool {
	z, err := b.embedded.Connz(&server.ConnzOptions{Limit: 1 << 20})
	if err != nil {
		return false // shutting down
	}
	for _, c := range z.Conns {
		if c.Pending > 0 {
			return true
		}
	}
	return false
}

// waitAnswers returns when the questions and requests in hand are answered.
func (b *Broker) waitAnswers(ctx context.Context) error {
	for _, slots := range []chan struct{}{b.requested, b.asked} {
		if err := takeAll(ctx, slots); err != nil {
			return err
		}
	}
	return nil
}

// takeAll returns when all of slots were free.
func takeAll(ctx context.Context, slots chan struct{}) error {
	taken := 0
	defer func() {
		for range taken {
			<-slots
		}
	}()
	for ; taken < cap(slots); taken++ {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Close ends everything: it says goodbye, closes the links, and shuts the embedded server down. It may be called again, but not by the handler.
func (b *Broker) Close() error {
	b.close.Do(func() {
		b.mu.Lock()
		b.closed = true
		b.serving = false
		b.relay.setServing(false)
		b.coalesce.Stop()
		done := b.failAll(ErrUnavailable)
		saying := b.leave()
		b.mu.Unlock()
		done.call()
		if saying {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			b.relay.flush(ctx)
			cancel()
		}
		b.cancel()
		b.workMu.Lock()
		b.ended = true
		b.workMu.Unlock()
		b.relay.stop()
		b.control.stop()
		b.endMeeting()
		if b.embedded != nil {
			b.embedded.Shutdown()
			b.embedded.WaitForShutdown()
		}
		b.work.Wait()
		if b.storeLock != nil {
			b.storeLock.Close() // unlocks
		}
	})
	return nil
}
