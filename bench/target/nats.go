//go:build linux

package target

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gatecast/gatecast/bench/codec"
)

// NATSCommand is the word on our own command line that makes a process a NATS server; see [ServeNATS].
const NATSCommand = "nats-server"

// natsTarget is nats-server's own WebSocket listener, the library of our go.mod in a process of its own.
type natsTarget struct{}

// Name is nats.
func (natsTarget) Name() string { return "nats" }

// About says what it is.
func (natsTarget) About() string {
	return "nats-server's own WebSocket listener, core NATS, subjects as groups; in this program"
}

// Cannot is what NATS has no door for.
func (natsTarget) Cannot(o Options) string {
	switch {
	case noUsers(o) != "":
		return noUsers(o)
	case o.HTTP:
		return "NATS has no HTTP door for publications"
	case o.Nodes > 1 && (o.Moves || o.Speaks):
		return "in a cluster of NATS nothing says when a join has reached the other nodes"
	}
	return ""
}

// Start runs this program again, once a node.
func (natsTarget) Start(ctx context.Context, o Options) (_ Instance, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	routes, err := freeAddrs(max(o.Nodes, 1))
	if err != nil {
		return nil, err
	}
	all := new(nodes)
	defer func() {
		if err != nil {
			err = errors.Join(err, all.abandon())
		}
	}()
	var started []*announced
	defer func() {
		for _, p := range started {
			_ = p.out.Close() // of those whose words nobody came to read
		}
	}()
	for i, addr := range routes {
		args := []string{NATSCommand, "-name", fmt.Sprintf("n%d", i)}
		if o.Nodes > 1 {
			args = append(args, "-cluster", addr.String())
			for _, other := range routes {
				args = append(args, "-route", other.String())
			}
		}
		p, err := startAnnounced(exec.Command(self, args...))
		if err != nil {
			return nil, err
		}
		all.processes, started = append(all.processes, p.process), append(started, p)
	}
	n := &natsInstance{nodes: all}
	for i, p := range started {
		addr, more, err := p.address(ctx)
		if err != nil {
			return nil, err
		}
		if len(more) != 1 {
			return nil, fmt.Errorf("the NATS server says %q after its address, want that of its metrics", more)
		}
		n.addrs = append(n.addrs, addr)
		if i == 0 {
			n.metrics = more[0]
		}
	}
	return n, nil
}

type natsInstance struct {
	*nodes
	addrs   []netip.AddrPort
	metrics string
}

// Addrs are the WebSocket listeners.
func (n *natsInstance) Addrs() []netip.AddrPort { return n.addrs }

// Spec is NATS' protocol.
func (n *natsInstance) Spec() codec.Spec {
	return codec.Spec{Codec: "nats", Host: n.addrs[0].String(), Nodes: len(n.addrs)}
}

// Version is the library's.
func (n *natsInstance) Version() string { return "nats-server " + server.VERSION }

// Metrics are those of Go's runtime in the first node: nats-server itself has none for Prometheus.
func (n *natsInstance) Metrics() (string, string) { return n.metrics, "" }

// natsReady is how long a NATS server may take to listen and to find the others.
const natsReady = 20 * time.Second

// ServeNATS is the process of a NATS server: it prints the addresses of its WebSocket listener and of its metrics and serves
// until ctx ends.
func ServeNATS(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet(NATSCommand, flag.ContinueOnError)
	flags.SetOutput(stderr)
	name := flags.String("name", "n0", "name of the node; n0 answers the clients of the others")
	cluster := flags.String("cluster", "", "address for routes from other nodes; empty = no cluster")
	o := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT,
		NoSigs: true, // they end ctx
		NoLog:  true,
		Websocket: server.WebsocketOpts{
			Host: "127.0.0.1", Port: server.RANDOM_PORT, NoTLS: true, HandshakeTimeout: 10 * time.Second,
		},
	}
	flags.Func("route", "address of a node of the cluster, once each", func(addr string) error {
		_, err := netip.ParseAddrPort(addr)
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: addr})
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.ServerName = *name
	if *cluster != "" {
		addr, err := netip.ParseAddrPort(*cluster)
		if err != nil {
			return err
		}
		o.Cluster = server.ClusterOpts{Name: "bench", Host: addr.Addr().String(), Port: int(addr.Port())}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	defer func() {
		s.Shutdown()
		s.WaitForShutdown()
	}()
	if !s.ReadyForConnections(natsReady) {
		return fmt.Errorf("the NATS server does not listen after %v", natsReady)
	}
	if *cluster != "" {
		conn, err := meet(ctx, s, len(o.Routes)-1, *name == "n0")
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	metrics, stop, err := serveMetrics()
	if err != nil {
		return err
	}
	defer stop()
	addr := strings.TrimPrefix(s.WebsocketURL(), "ws://")
	if _, err := fmt.Fprintln(stdout, addr, metrics); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// meet waits until the server is in touch with so many others and the first node answers [codec.NATSSync] to clients of this one.
func meet(ctx context.Context, s *server.Server, others int, first bool) (_ *nats.Conn, err error) {
	conn, err := nats.Connect("", nats.InProcessServer(s), nats.NoReconnect())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if first {
		if _, err := conn.Subscribe(codec.NATSSync, func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, natsReady, fmt.Errorf("the NATS servers have not met within %v", natsReady))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s.NumRemotes() >= others {
			// Without an answer yet this fails at once: nobody is there to respond.
			if _, err := conn.RequestWithContext(ctx, codec.NATSSync, nil); err == nil {
				return conn, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// serveMetrics serves this process's own metrics until stop is called.
func serveMetrics() (address string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.Handler())
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	done := make(chan struct{})
	go func() { // ends when stop closes the server
		defer close(done)
		_ = s.Serve(ln)
	}()
	return "http://" + ln.Addr().String() + "/metrics", func() { _ = s.Close(); <-done }, nil
}
