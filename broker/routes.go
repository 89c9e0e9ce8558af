package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	resolveEvery = 5 * time.Second
	lookupWithin = 2 * time.Second // for one name
	probeEvery   = time.Second
	probeWithin  = time.Second
	watchRoutes  = 250 * time.Millisecond
)

// routes feeds the embedded server with one explicit route for every address behind broker.cluster.routes. nats-server would take one
// address of a name at random, and gives up on peers it only heard of: a cluster cut in two then stays in two (nats-server #2577).
type routes struct {
	o      *Options
	log    *slog.Logger
	lookup func(ctx context.Context, host string) ([]netip.Addr, error) // tests replace it
	port   int                                                          // of this node's cluster address

	last []string // addresses the server has, sorted; owned by the resolver goroutine after Open

	mu    sync.Mutex
	known map[string][]netip.Addr // what a host last resolved to
}

// resolve returns host:port of every other node's cluster address. A host that does not resolve now is where it was last.
func (r *routes) resolve(ctx context.Context) []string {
	var work sync.WaitGroup
	for _, s := range r.o.Cluster.Routes {
		work.Go(func() { // ends within lookupWithin
			u, err := parseRoute(s)
			if err != nil {
				return // Validate refused it
			}
			ctx, cancel := context.WithTimeout(ctx, lookupWithin)
			defer cancel()
			addrs, err := r.lookup(ctx, u.Hostname())
			if err != nil {
				r.log.Debug("route not resolved", "route", s, "err", err)
				return
			}
			r.mu.Lock()
			r.known[u.Hostname()] = addrs
			r.mu.Unlock()
		})
	}
	work.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	own := ownAddrs()
	for _, s := range r.o.Cluster.Routes {
		u, err := parseRoute(s)
		if err != nil {
			continue
		}
		port, _ := strconv.Atoi(u.Port())
		for _, a := range r.known[u.Hostname()] {
			a = a.Unmap()
			if port == r.port && r.isSelf(a, own) {
				continue
			}
			all = append(all, netip.AddrPortFrom(a, uint16(port)).String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// isSelf says whether this node's cluster listener has address a.
func (r *routes) isSelf(a netip.Addr, own map[netip.Addr]bool) bool {
	host, _, _ := net.SplitHostPort(r.o.Cluster.Listen)
	if listen, err := netip.ParseAddr(host); err == nil && !listen.IsUnspecified() {
		return listen.Unmap() == a
	}
	return own[a]
}

func ownAddrs() map[netip.Addr]bool {
	own := map[netip.Addr]bool{}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own[p.Addr().Unmap()] = true
		}
	}
	return own
}

func lookupAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// urls turns addresses into what nats-server takes.
func (r *routes) urls(addrs []string) []*url.URL {
	out := make([]*url.URL, len(addrs))
	for i, a := range addrs {
		out[i] = &url.URL{Scheme: "nats", Host: a, User: url.UserPassword(routeUser, r.o.Cluster.Token)}
	}
	return out
}

// keepRoutes resolves again and again until Close, and tells the server of changes. nats-server closes the route of an address that
// is taken away, so an address stays while a node is there, whatever DNS says.
func (b *Broker) keepRoutes() {
	ticker := time.NewTicker(b.resolveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		}
		addrs := b.keepLive(b.routes.resolve(b.ctx))
		if len(addrs) == 0 || slices.Equal(addrs, b.routes.last) {
			continue
		}
		b.log.Info("cluster routes changed", "routes", addrs)
		if err := b.reloadRoutes(addrs); err != nil {
			b.log.Warn("cluster routes not changed", "err", err)
			continue
		}
		b.routes.last = addrs
	}
}

// keepLive adds to addrs those of the last look that have a route, or where a node greets.
func (b *Broker) keepLive(addrs []string) []string {
	gone := slices.DeleteFunc(slices.Clone(b.routes.last), func(a string) bool { return slices.Contains(addrs, a) })
	if len(gone) == 0 {
		return addrs
	}
	z, err := b.embedded.Routez(&server.RoutezOptions{})
	if err != nil {
		return b.routes.last // shutting down
	}
	connected := map[string]bool{}
	for _, r := range z.Routes {
		connected[net.JoinHostPort(r.IP, strconv.Itoa(r.Port))] = true
	}
	kept := make([]bool, len(gone))
	var work sync.WaitGroup
	for i, a := range gone {
		work.Go(func() { // ends within probeWithin
			name := ""
			if !connected[a] {
				name, _ = b.probe(b.ctx, a)
			}
			kept[i] = connected[a] || name != ""
		})
	}
	work.Wait()
	for i, a := range gone {
		if kept[i] {
			addrs = append(addrs, a)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// onRoutes compares the server's routes with those of the last look: a new or vanished one means that interest may have been
// unknown on either side for a moment. It runs every watchRoutes.
func (b *Broker) onRoutes() {
	z, err := b.embedded.Routez(&server.RoutezOptions{})
	if err != nil {
		return
	}
	now := map[string]uint64{}
	for _, r := range z.Routes {
		now[r.RemoteName] += r.Rid * 0x9e3779b97f4a7c15 // a sum that changes when any of its connections does
	}
	b.mu.Lock()
	for name, sum := range now {
		if b.routeSums[name] != sum {
			b.greet()
			b.syncAgain(nodeToken(name))
		}
	}
	for name := range b.routeSums {
		if _, ok := now[name]; !ok {
			b.greet()
			b.syncAgain(nodeToken(name)) // the server says at once if nobody is there any more
		}
	}
	b.routeSums = now
	b.routeCount = len(z.Routes)
	b.mu.Unlock()
}

// probes ask the addresses of the cluster who is there, before nats-server has its routes: whoever greets must answer our hello
// before this node serves.
type probes struct {
	b      *Broker
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	round int               // complete rounds
	found map[string]string // address -> node name
	bad   error
}

func (b *Broker) newProbes() *probes {
	ctx, cancel := context.WithCancel(b.ctx)
	p := &probes{b: b, cancel: cancel, found: map[string]string{}}
	if b.embedded == nil {
		p.round = 1
		return p
	}
	p.work.Go(func() { p.run(ctx) }) // ends with stop
	return p
}

func (p *probes) stop() {
	p.cancel()
	p.work.Wait()
}

func (p *probes) run(ctx context.Context) {
	for ctx.Err() == nil {
		addrs := p.b.routes.resolve(ctx)
		var work sync.WaitGroup
		for _, a := range addrs {
			work.Go(func() {
				name, err := p.b.probe(ctx, a)
				p.mu.Lock()
				defer p.mu.Unlock()
				delete(p.found, a)
				if name != "" {
					p.found[a] = name
				}
				if err != nil && ctx.Err() == nil {
					p.bad = err
				}
			})
		}
		work.Wait()
		p.mu.Lock()
		p.round++
		p.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(probeEvery):
		}
	}
}

func (p *probes) finished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.round > 0
}

func (p *probes) fatal() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bad
}

func (p *probes) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, n := range p.found {
		names = append(names, n)
	}
	return names
}

// misfit returns err if it is of TLS itself, which waiting does not cure.
func misfit(err error) error {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var remote *net.OpError // crypto/tls wraps the other side's alert in one
	switch {
	case errors.As(err, &verification), errors.As(err, &unknown), errors.As(err, &record), errors.As(err, &alert):
		return err
	case errors.As(err, &remote) && remote.Op == "remote error":
		return err
	}
	return nil
}

// probe reads the INFO that a route listener sends first. It returns "" for nobody there, and an error for what can never work.
func (b *Broker) probe(ctx context.Context, addr string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", nil
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(probeWithin))
	if config := b.serverOpts.Cluster.TLSConfig; config != nil {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(addr)
		conn = tls.Client(conn, config)
	}
	var f frame
	if err := newReader(conn).next(&f); err != nil || f.op != opInfo {
		if err := misfit(err); err != nil {
			return "", fmt.Errorf("broker.tls: the node at %s and this one do not agree: set broker.tls with certificates of one authority on every node: %w", addr, err)
		}
		if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
			b.log.Warn("a cluster address takes connections but does not greet: is that node hung, or is broker.tls set on one side only?", "route", addr)
		}
		return "", nil
	}
	var info struct {
		serverInfo
		Cluster string `json:"cluster"`
	}
	if json.Unmarshal(f.body, &info) != nil {
		return "", nil
	}
	switch {
	case info.ServerID == b.embedded.ID():
		return "", nil
	case info.ClientID != 0:
		return "", fmt.Errorf("broker.cluster.routes: %s is the client port of a NATS server; give that node's broker.cluster.listen (by default port 6222)", addr)
	case info.ServerName == b.o.Name:
		return "", fmt.Errorf("broker.cluster.routes: at %s there is another node named %s already; broker.name must be unique", addr, b.o.Name)
	case info.Cluster != "" && info.Cluster != clusterName:
		return "", fmt.Errorf("broker.cluster.routes: %s is of NATS cluster %q, not one of Gatecast's nodes; use broker.url to connect to it", addr, info.Cluster)
	}
	return info.ServerName, nil
}
