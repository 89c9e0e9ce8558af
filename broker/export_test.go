package broker

import (
	"context"
	"net/netip"
	"time"
)

// Doors for package broker_test, which may use brokertest.
var OpenWith = open

// SetLookup replaces the resolver of routes, asked again every time interval.
func SetLookup(b *Broker, interval time.Duration, lookup func(ctx context.Context, host string) ([]netip.Addr, error)) {
	b.routes.lookup, b.resolveEvery = lookup, interval
}

// SetClock has a node tell the others that it began by a clock that is ahead, of which they see no other time.
func SetClock(b *Broker, ahead time.Duration) { b.started = b.started.Add(ahead) }

// Kill ends the embedded server without a word to the other nodes.
func Kill(b *Broker) {
	b.embedded.Shutdown()
	b.embedded.WaitForShutdown()
}

// CutLinks closes the connections of both links, as a failing network does.
func CutLinks(b *Broker) { cut(b.relay, b.control) }

// CutRelay closes that of the relay link.
func CutRelay(b *Broker) { cut(b.relay) }

func cut(links ...*link) {
	for _, l := range links {
		l.mu.Lock()
		if l.conn != nil {
			l.conn.Close()
		}
		l.mu.Unlock()
	}
}

// FlushRelay returns when NATS has taken all that the relay link wrote, and this node all that came back before.
func FlushRelay(ctx context.Context, b *Broker) error { return b.relay.flush(ctx) }

// Unheard says that this node takes itself for the only one who hears what it publishes.
func Unheard(b *Broker) bool { return b.unheard() }
