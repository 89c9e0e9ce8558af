package broker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"
)

// Open starts the embedded server or connects to o.URL, meets the other nodes, and returns when this node may serve. h may be
// called before it returns. The caller must Close the Broker.
func Open(ctx context.Context, o Options, h Handler, log *slog.Logger) (*Broker, error) {
	return open(ctx, o, h, log, nil)
}

// open lets tests change what is not in Options.
func open(ctx context.Context, o Options, h Handler, log *slog.Logger, adjust func(*Broker)) (*Broker, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := newBroker(o, h, log)
	if adjust != nil {
		adjust(b)
	}
	if err := b.start(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func newBroker(o Options, h Handler, log *slog.Logger) *Broker {
	if o.Name == "" {
		o.Name = makeName()
	}
	b := &Broker{
		o: o, h: h, instance: random(8), started: time.Now(), wildcard: o.UserInterest == "wildcard", nodeToken: random(32),
		groups: map[string]*interest{}, barriers: map[uint64]*barrier{}, peers: map[string]*peer{}, givenUp: map[string]*lostPeer{}, routeSums: map[string]uint64{},
		visitors: map[uint64]*visitor{}, checking: map[uint64]bool{}, openErr: make(chan error, 1), asked: make(chan struct{}, maxConcurrent), requested: make(chan struct{}, maxConcurrent),
		poked: make(chan struct{}, 1), resolveEvery: resolveEvery, why: "starting",
	}
	b.log = log.With("node", o.Name)
	b.sub = newSubjects(o.Namespace, o.Name, b.instance)
	b.nodeKey = sha256.Sum256([]byte(b.nodeToken))
	for _, s := range o.Services {
		b.serviceKeys = append(b.serviceKeys, sha256.Sum256([]byte(s.Token)))
	}
	b.routes = routes{o: &b.o, log: b.log, lookup: lookupAddrs, known: map[string][]netip.Addr{}}
	b.questions.open = map[uint64]chan Answer{}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.coalesce = time.AfterFunc(time.Hour, b.onCoalesced)
	b.coalesce.Stop()
	b.relay, b.control = newLink("relay", b.log), newLink("control", b.log)
	b.relay.msg, b.relay.up, b.relay.down = b.onRelay, b.onRelayUp, b.onRelayDown
	b.control.msg, b.control.up, b.control.down = b.onControl, b.onControlUp, func(error) {}
	b.relay.denied, b.control.denied = b.onDenied, b.onDenied
	return b
}

func (b *Broker) start(ctx context.Context) error {
	if b.o.URL == "" {
		if err := b.startServer(); err != nil {
			return err
		}
		b.relay.dial, b.control.dial = b.dialPipe("relay"), b.dialPipe("control")
	} else {
		p, err := newPool(&b.o)
		if err != nil {
			return err
		}
		b.relay.dial, b.control.dial = b.dialPool("relay", p), b.dialPool("control", p)
		b.relay.alive, b.control.alive = true, true
	}
	dialCtx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for _, l := range []*link{b.control, b.relay} {
		if err := l.start(dialCtx); err != nil {
			if b.o.URL != "" {
				return fmt.Errorf("broker.url: %w", err)
			}
			return fmt.Errorf("embedded NATS: %w", err)
		}
	}
	b.spawn(b.tick) // ends with Close
	if b.embedded != nil && len(b.o.Cluster.Routes) > 0 {
		b.spawn(b.keepRoutes) // ends with Close
	}
	select {
	case err := <-b.openErr:
		return err
	case <-ctx.Done():
		b.mu.Lock()
		waiting := b.waitingFor
		b.mu.Unlock()
		return fmt.Errorf("broker: no answer from %s: %w", waiting, ctx.Err())
	}
}

// makeName makes a name of the host's and a random part, for nodes that come and go.
func makeName() string {
	host, _ := os.Hostname()
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, host)
	host = strings.Trim(host[:min(len(host), 48)], "-")
	if host == "" {
		host = "node"
	}
	return host + "-" + random(4)
}

// random returns n random bytes in hex.
func random(n int) string {
	buf := make([]byte, n)
	rand.Read(buf)
	return hex.EncodeToString(buf)
}
