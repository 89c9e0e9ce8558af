package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats.go"
)

// joinThenSend joins on one node and publishes on the other the moment the join is done, n times.
func joinThenSend(t *testing.T, prefix string, n int, a, b *brokertest.Node) {
	t.Helper()
	for i := range n {
		group := fmt.Sprintf("%s.%d", prefix, i)
		a.JoinWait(t, group)
		b.Send(t, group, "1")
	}
	for i := range n {
		a.WaitMessages(t, fmt.Sprintf("%s.%d", prefix, i), 1)
	}
}

func TestBarrier(t *testing.T) {
	slow(t)
	nodes := brokertest.StartCluster(t, 3)

	t.Run("2,000 joins, one after another", func(t *testing.T) {
		joinThenSend(t, "serial", 2000, nodes[0], nodes[1])
	})

	t.Run("2,000 joins, 50 in flight, on all nodes at once", func(t *testing.T) {
		var work sync.WaitGroup
		for i := range 50 {
			work.Go(func() {
				joinThenSend(t, fmt.Sprintf("flight.%d", i), 40, nodes[i%3], nodes[(i+1)%3])
			})
		}
		work.Wait()
	})

	t.Run("while nodes join, and from the new ones", func(t *testing.T) {
		var stop atomic.Bool
		var work sync.WaitGroup
		for i := range 2 {
			work.Go(func() {
				for n := 0; !stop.Load(); n++ {
					joinThenSend(t, fmt.Sprintf("grow.%d.%d", i, n), 10, nodes[i], nodes[2])
				}
			})
		}
		// groups joined before a node starts, and while it does, hear what it publishes as soon as it may
		var routes []string
		for _, n := range nodes {
			routes = append(routes, "nats://"+n.ClusterAddr())
		}
		for i := 3; i < 6; i++ {
			before := fmt.Sprintf("before.%d", i)
			nodes[0].JoinWait(t, before)
			n := brokertest.Open(t, brokertest.ClusterOptions(i, routes...), brokertest.NewRecorder())
			n.Send(t, before, "1")
			nodes[0].WaitMessages(t, before, 1)
			joinThenSend(t, fmt.Sprintf("new.%d", i), 50, nodes[1], n)
			joinThenSend(t, fmt.Sprintf("old.%d", i), 50, n, nodes[1])
		}
		stop.Store(true)
		work.Wait()
	})

	t.Run("no barrier is left over", func(t *testing.T) {
		for _, n := range nodes {
			if s := n.Stats(); s.PendingJoins != 0 || s.BarrierTimeouts != 0 {
				t.Errorf("%s: %d pending, %d timeouts", n.Name(), s.PendingJoins, s.BarrierTimeouts)
			}
		}
		s := nodes[0].Stats()
		t.Logf("barriers %d, mean %.2f ms, max %.2f ms", s.Barriers, s.BarrierSeconds/float64(s.Barriers)*1e3, s.BarrierMaxSeconds*1e3)
	})
}

func TestKilledPeer(t *testing.T) {
	slow(t)
	nodes := brokertest.StartCluster(t, 3)
	nodes[0].JoinWait(t, "g")
	broker.Kill(nodes[2].Broker)
	begun := time.Now()
	joinThenSend(t, "after", 20, nodes[0], nodes[1])
	t.Logf("joins took %s with a dead peer", time.Since(begun))
	for _, n := range nodes[:2] {
		brokertest.Eventually(t, "the dead node is forgotten", func() bool { return len(n.Nodes()) == 2 })
		t.Logf("%s noticed after %s", n.Name(), time.Since(begun))
		if up := n.States(); len(up) != 0 {
			t.Errorf("%s told its handler %v", n.Name(), up)
		}
	}
}

func TestGoodbyeIsHeardAtOnce(t *testing.T) {
	nodes := brokertest.StartCluster(t, 2)
	begun := time.Now()
	nodes[1].Close()
	brokertest.Eventually(t, "n2 left", func() bool { return len(nodes[0].Nodes()) == 1 })
	t.Logf("heard after %s", time.Since(begun))
	if lost := nodes[0].Stats().PeersLost; lost != 0 {
		t.Errorf("a node that said goodbye counts as lost")
	}
}

// proxy is a TCP link that can be cut.
type proxy struct {
	ln     net.Listener
	target string
	work   sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newProxy(t *testing.T, target string) *proxy {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: target, conns: map[net.Conn]bool{}}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		ln.Close()
		p.setCut(true)
		p.work.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		c, err := p.ln.Accept()
		if err != nil {
			return
		}
		d, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		if err != nil || p.cut {
			p.mu.Unlock()
			c.Close()
			if err == nil {
				d.Close()
			}
			continue
		}
		p.conns[c], p.conns[d] = true, true
		p.mu.Unlock()
		for _, pair := range [][2]net.Conn{{c, d}, {d, c}} {
			p.work.Go(func() {
				io.Copy(pair[0], pair[1])
				pair[0].Close()
				pair[1].Close()
			})
		}
	}
}

func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for c := range p.conns {
			c.Close()
		}
		clear(p.conns)
	}
}

func TestLostRoute(t *testing.T) {
	slow(t)
	first := brokertest.Open(t, brokertest.ClusterOptions(0), brokertest.NewRecorder())
	p := newProxy(t, first.ClusterAddr())
	second := brokertest.Open(t, brokertest.ClusterOptions(1, "nats://"+p.ln.Addr().String()), brokertest.NewRecorder())
	brokertest.WaitCluster(t, first, second)
	joinThenSend(t, "whole", 20, first, second)

	for round := range 2 {
		hellos := []uint64{first.Stats().Hellos, second.Stats().Hellos}
		p.setCut(true)
		if round == 1 { // long enough for both to be forgotten
			brokertest.Eventually(t, "both are alone", func() bool { return len(first.Nodes()) == 1 && len(second.Nodes()) == 1 })
		}
		joinThenSend(t, fmt.Sprintf("cut.%d", round), 20, first, first)
		joinThenSend(t, fmt.Sprintf("cut.%d", round), 20, second, second)
		p.setCut(false)
		for i, n := range []*brokertest.Node{first, second} {
			brokertest.Eventually(t, n.Name()+" heard hello again", func() bool { return n.Stats().Hellos > hellos[i] && len(n.Nodes()) == 2 })
		}
		for _, n := range []*brokertest.Node{first, second} {
			if round == 0 && n.HasMissed() {
				t.Errorf("%s was never given up, and is told so", n.Name())
			} else if round == 1 {
				brokertest.Eventually(t, n.Name()+" knows that it was given up", n.HasMissed)
			}
		}
		joinThenSend(t, fmt.Sprintf("healed.%d", round), 200, first, second)
		joinThenSend(t, fmt.Sprintf("healed.%d", round), 200, second, first)
		// what was joined while they were apart is heard as well
		second.Send(t, fmt.Sprintf("cut.%d.0", round), `"again"`)
		first.WaitMessages(t, fmt.Sprintf("cut.%d.0", round), 2)
	}
}

// counter checks that each publisher's numbers come in order.
type counter struct {
	next [3]atomic.Int64
	bad  atomic.Pointer[string]
}

func (c *counter) deliver(m *broker.Message) {
	i := int(m.Group[len(m.Group)-1] - '0')
	if want := c.next[i].Add(1) - 1; string(m.Data) != fmt.Sprint(want) {
		bad := fmt.Sprintf("%s: got %s, want %d", m.Group, m.Data, want)
		c.bad.CompareAndSwap(nil, &bad)
	}
}

func TestIngressKeepsOrderOnEveryNode(t *testing.T) {
	const n = 20000
	var counters [3]counter
	var nodes []*brokertest.Node
	var routes []string
	for i := range counters {
		r := brokertest.NewRecorder()
		r.OnDeliver = counters[i].deliver
		node := brokertest.Open(t, brokertest.ClusterOptions(i, routes...), r)
		routes = append(routes, "nats://"+node.ClusterAddr())
		nodes = append(nodes, node)
	}
	brokertest.WaitCluster(t, nodes...)
	for i := range nodes {
		for _, to := range nodes {
			to.JoinWait(t, fmt.Sprintf("numbers.%d", i))
		}
	}
	var work sync.WaitGroup
	for i, node := range nodes {
		nc := dialService(t, node.ClientURL())
		work.Go(func() {
			for k := range n {
				if err := nc.Publish(fmt.Sprintf("gc.in.numbers.%d", i), fmt.Append(nil, k)); err != nil {
					t.Error(err)
					return
				}
				if k%2000 == 1999 { // a loaded machine under the race detector would lose its routes to the flood
					nc.Flush()
					for to := range counters {
						brokertest.Eventually(t, "delivery keeps up", func() bool { return counters[to].next[i].Load() > int64(k-2000) })
					}
				}
			}
			nc.Flush()
		})
	}
	work.Wait()
	for to := range counters {
		for i := range nodes {
			brokertest.Eventually(t, fmt.Sprintf("all of node %d on node %d", i, to), func() bool { return counters[to].next[i].Load() >= n })
		}
		if bad := counters[to].bad.Load(); bad != nil {
			t.Errorf("node %d: %s", to, *bad)
		}
	}
}

func TestNodesThatDoNotFitRefuseToServe(t *testing.T) {
	first := brokertest.Open(t, brokertest.ClusterOptions(0), brokertest.NewRecorder())
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for name, c := range map[string]struct {
		change func(o *broker.Options)
		want   string
	}{
		"other shards": {func(o *broker.Options) { o.Shards = 16 }, "broker.shards"},
		"same name":    {func(o *broker.Options) { o.Name = "n1" }, "broker.name must be unique"},
		"client port": {func(o *broker.Options) {
			o.Cluster.Routes = []string{"nats://" + strings.TrimPrefix(first.ClientURL(), "nats://")}
		}, "client port"},
	} {
		o := brokertest.ClusterOptions(1, "nats://"+first.ClusterAddr())
		c.change(&o)
		b, err := broker.Open(ctx, o, brokertest.NewRecorder(), brokertest.Log())
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open = %v, want an error with %q", name, err, c.want)
		}
	}
	if err := first.Ready(); err != nil {
		t.Errorf("the first node suffered: %v", err)
	}
}

func TestRoutesFollowDNS(t *testing.T) {
	port := freePort(t)
	var known atomic.Pointer[[]netip.Addr]
	known.Store(&[]netip.Addr{})
	lookup := func(context.Context, string) ([]netip.Addr, error) { return *known.Load(), nil }
	var nodes []*brokertest.Node
	for i, addr := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"} {
		o := brokertest.ClusterOptions(i, "nats://nodes.test:"+port)
		o.Cluster.Listen = net.JoinHostPort(addr, port)
		r := brokertest.NewRecorder()
		b, err := broker.OpenWith(t.Context(), o, r, brokertest.Log(), func(b *broker.Broker) { broker.SetLookup(b, 50*time.Millisecond, lookup) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		nodes = append(nodes, &brokertest.Node{Broker: b, Recorder: r})
	}
	// services stay connected through the reload, by token and by name
	lost := make(chan error, 2)
	onLost := nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { lost <- err })
	for _, how := range []nats.Option{nats.Token(brokertest.ServiceToken), nats.UserInfo(brokertest.ServiceName, brokertest.ServiceToken)} {
		nc, err := nats.Connect(nodes[0].ClientURL(), how, onLost, nats.NoReconnect())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		defer func() {
			if err := nc.Publish("gc.in.a", []byte("1")); err != nil {
				t.Errorf("after the reload: %v", err)
			}
			nc.SetDisconnectErrHandler(nil)
		}()
	}
	all := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.4")}
	known.Store(&all)
	brokertest.WaitCluster(t, nodes...)
	joinThenSend(t, "dns", 50, nodes[0], nodes[2])
	select {
	case err := <-lost:
		t.Errorf("a service was disconnected by the reload: %v", err)
	default:
	}
}

func freePort(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return port
}

func TestAskAllSaysWhoDidNotAnswer(t *testing.T) {
	slow(t)
	slow := brokertest.NewRecorder()
	slow.OnAsk = func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	failing := brokertest.NewRecorder()
	failing.OnAsk = func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("no such user") }
	first := brokertest.Open(t, brokertest.ClusterOptions(0), brokertest.NewRecorder())
	second := brokertest.Open(t, brokertest.ClusterOptions(1, "nats://"+first.ClusterAddr()), slow)
	third := brokertest.Open(t, brokertest.ClusterOptions(2, "nats://"+first.ClusterAddr()), failing)
	brokertest.WaitCluster(t, first, second, third)
	begun := time.Now()
	answers, err := first.AskAll(t.Context(), "x", nil)
	if err != nil || len(answers) != 3 {
		t.Fatalf("AskAll = %v, %v", answers, err)
	}
	if took := time.Since(begun); took > brokertest.Within {
		t.Errorf("took %s", took)
	}
	for _, a := range answers {
		switch a.Node {
		case "n1":
			if a.Err != nil {
				t.Errorf("n1: %v", a.Err)
			}
		case "n2":
			if a.Err == nil {
				t.Errorf("n2 did not answer and has no error")
			}
		case "n3":
			if a.Err == nil || a.Err.Error() != "no such user" {
				t.Errorf("n3: %v", a.Err)
			}
		}
	}
}

func TestNodesStartedTogether(t *testing.T) {
	for range 3 {
		var routes, listens []string
		for range 3 {
			addr := "127.0.0.1:" + freePort(t)
			listens = append(listens, addr)
			routes = append(routes, "nats://"+addr) // each node finds itself among its routes
		}
		nodes := make([]*brokertest.Node, 3)
		var work sync.WaitGroup
		for i := range nodes {
			work.Go(func() {
				o := brokertest.ClusterOptions(i, routes...)
				o.Cluster.Listen = listens[i]
				r := brokertest.NewRecorder()
				b, err := broker.Open(t.Context(), o, r, brokertest.Log())
				if err != nil {
					t.Errorf("n%d: %v", i+1, err)
					return
				}
				nodes[i] = &brokertest.Node{Broker: b, Recorder: r}
			})
		}
		work.Wait()
		if t.Failed() {
			return
		}
		brokertest.WaitCluster(t, nodes...)
		for i := range nodes {
			joinThenSend(t, fmt.Sprintf("together.%d", i), 30, nodes[i], nodes[(i+1)%3])
		}
		for _, n := range nodes {
			work.Go(func() { n.Close() }) // and end together
		}
		work.Wait()
	}
}
