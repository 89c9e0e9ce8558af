package brokertest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/nats-io/nats-server/v2/server"
)

// ServiceToken and ServiceName are the credential that Options gives to embedded nodes.
const (
	ServiceName  = "django"
	ServiceToken = "0123456789abcdef-service"
	clusterToken = "0123456789abcdef-cluster"
)

// Node is a broker with its handler.
type Node struct {
	*broker.Broker
	*Recorder
}

// Options returns those of an embedded broker on any free port, with one service.
func Options() broker.Options {
	o := broker.DefaultOptions()
	o.Listen = "127.0.0.1:0"
	o.Services = []broker.Service{{Name: ServiceName, Token: ServiceToken, Subscribe: []string{"gc.g.>"}}}
	return o
}

// ClusterOptions returns those of node i of a cluster, with routes to the others.
func ClusterOptions(i int, routes ...string) broker.Options {
	o := Options()
	o.Name = fmt.Sprintf("n%d", i+1)
	o.Cluster = broker.ClusterOptions{Listen: "127.0.0.1:0", Routes: routes, Token: clusterToken}
	return o
}

// Log returns a logger that writes to standard error if BROKER_LOG is set, else nothing.
func Log() *slog.Logger {
	if os.Getenv("BROKER_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Open opens a broker with r as its handler and closes it at the end of the test.
func Open(t testing.TB, o broker.Options, r *Recorder) *Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, err := broker.Open(ctx, o, r, Log())
	if err != nil {
		t.Fatalf("Open(%s): %v", o.Name, err)
	}
	t.Cleanup(func() { b.Close() })
	return &Node{Broker: b, Recorder: r}
}

// Start opens one embedded broker.
func Start(t testing.TB) *Node {
	t.Helper()
	return Open(t, Options(), NewRecorder())
}

// StartCluster opens n embedded brokers with routes to those before, and returns when all know each other.
func StartCluster(t testing.TB, n int) []*Node {
	t.Helper()
	var nodes []*Node
	var routes []string
	for i := range n {
		node := Open(t, ClusterOptions(i, routes...), NewRecorder())
		routes = append(routes, "nats://"+node.ClusterAddr())
		nodes = append(nodes, node)
	}
	WaitCluster(t, nodes...)
	return nodes
}

// StartExternal opens n brokers on one NATS address.
func StartExternal(t testing.TB, url, token string, n int) []*Node {
	t.Helper()
	var nodes []*Node
	for i := range n {
		o := broker.DefaultOptions()
		o.Name, o.URL, o.Token = fmt.Sprintf("x%d", i+1), url, token
		nodes = append(nodes, Open(t, o, NewRecorder()))
	}
	WaitCluster(t, nodes...)
	return nodes
}

// WaitCluster waits until every node sees all of them ready.
func WaitCluster(t testing.TB, nodes ...*Node) {
	t.Helper()
	for _, n := range nodes {
		Eventually(t, n.Name()+" sees all nodes", func() bool {
			ready := 0
			for _, i := range n.Nodes() {
				if i.Ready {
					ready++
				}
			}
			return ready == len(nodes)
		})
	}
}

// StartNATS starts a plain nats-server; port 0 takes any free one. Its token is ServiceToken.
func StartNATS(t testing.TB, port int, adjust func(*server.Options)) *server.Server {
	t.Helper()
	if port == 0 {
		port = server.RANDOM_PORT
	}
	o := &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, Authorization: ServiceToken}
	if adjust != nil {
		adjust(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatalf("NewServer: %v", err)
	}
	s.Start()
	if !s.ReadyForConnections(Within) {
		t.Fatal("nats-server is not ready")
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

// JoinWait joins and waits for ready.
func (n *Node) JoinWait(t testing.TB, group string) {
	t.Helper()
	if err := n.TryJoin(group); err != nil {
		t.Fatalf("Join(%q) on %s: %v", group, n.Name(), err)
	}
}

// TryJoin joins and returns what ready was called with.
func (n *Node) TryJoin(group string) error {
	done := make(chan error, 1)
	n.Join(group, func(err error) { done <- err })
	return <-done
}

// Send publishes a JSON text.
func (n *Node) Send(t testing.TB, group, json string) {
	t.Helper()
	if err := n.Publish(&broker.Message{Group: []byte(group), Data: []byte(json)}); err != nil {
		t.Fatalf("Publish(%q) on %s: %v", group, n.Name(), err)
	}
}
