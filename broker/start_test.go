package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats.go"
)

func TestValidateSaysWhatWouldBeRight(t *testing.T) {
	for want, change := range map[string]func(o *broker.Options){
		"":                                 func(o *broker.Options) {},
		"broker.namespace":                 func(o *broker.Options) { o.Namespace = "a.b" },
		"broker.name":                      func(o *broker.Options) { o.Name = "a b" },
		"broker.shards":                    func(o *broker.Options) { o.Shards = 0 },
		"broker.user_interest":             func(o *broker.Options) { o.UserInterest = "some" },
		"broker.max_payload":               func(o *broker.Options) { o.MaxPayload = 10 },
		"cert and key go together":         func(o *broker.Options) { o.TLS.Cert = "x" },
		"needs TLS":                        func(o *broker.Options) { o.Listen = "0.0.0.0:4222" },
		"broker.listen \"x\"":              func(o *broker.Options) { o.Listen = "x" },
		"the port must be":                 func(o *broker.Options) { o.Listen = "127.0.0.1:99999" },
		"are for broker.url":               func(o *broker.Options) { o.Token = "x" },
		"broker.url \"http://x\"":          func(o *broker.Options) { o.URL = "http://x" },
		"leave the credentials out":        func(o *broker.Options) { o.URL = "nats://a:b@x" },
		"choose one of":                    func(o *broker.Options) { o.URL, o.Token, o.CredsFile = "nats://x", "t", "f" },
		"broker.services: with broker.url": func(o *broker.Options) { o.URL, o.Services = "nats://x", []broker.Service{{}} },
		"broker.cluster.token":             func(o *broker.Options) { o.Cluster.Listen = "127.0.0.1:0" },
		"broker.cluster.listen is empty":   func(o *broker.Options) { o.Cluster.Routes = []string{"nats://x:1"} },
		"broker.cluster.routes \"x:1\"":    func(o *broker.Options) { cluster(o, "x:1") },
		"use nats://host:port":             func(o *broker.Options) { cluster(o, "nats://host") },
		"cluster.token is sent":            func(o *broker.Options) { cluster(o, "nats://secret@host:1") },
		"port 0 names no node":             func(o *broker.Options) { cluster(o, "nats://host:0") },
		"broker.jetstream.store_dir":       func(o *broker.Options) { o.JetStream.Enabled = true },
		"clustered JetStream needs a name": func(o *broker.Options) { o.JetStream.Enabled, o.JetStream.StoreDir = true, "x"; cluster(o) },
		"broker.services[0].token":         func(o *broker.Options) { o.Services = []broker.Service{{Name: "a", Token: "short"}} },
		"broker.services[0].name":          func(o *broker.Options) { o.Services = []broker.Service{{Name: "gatecast", Token: longToken}} },
		"is used twice": func(o *broker.Options) {
			o.Services = []broker.Service{{Name: "a", Token: longToken}, {Name: "a", Token: longToken}}
		},
		"services may publish gc.in": func(o *broker.Options) { service(o, "gc.g.>", "") },
		"wildcards":                  func(o *broker.Options) { service(o, ">", "") },
		"$… and":                     func(o *broker.Options) { service(o, "", "$SYS.>") },
		"services may hear gc.g":     func(o *broker.Options) { service(o, "", "gc.ctl.>") },
		"no empty token":             func(o *broker.Options) { service(o, "", "gc.g..a") },
	} {
		o := broker.DefaultOptions()
		change(&o)
		err := o.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Validate() = %v, want an error with %q", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret@") {
			t.Errorf("the error shows a credential: %v", err)
		}
	}
}

const longToken = "0123456789abcdef"

func cluster(o *broker.Options, routes ...string) {
	o.Cluster = broker.ClusterOptions{Listen: "127.0.0.1:0", Token: longToken, Routes: routes}
}

func service(o *broker.Options, publish, subscribe string) {
	s := broker.Service{Name: "a", Token: longToken}
	if publish != "" {
		s.Publish = []string{publish}
	}
	if subscribe != "" {
		s.Subscribe = []string{subscribe}
	}
	o.Services = []broker.Service{s}
}

func TestStartErrorsSayTheCause(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	first := brokertest.Options()
	jetstream(&first, dir)
	brokertest.Open(t, first, brokertest.NewRecorder())
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(o *broker.Options){
		"broker.listen: " + taken.Addr().String() + " is taken":         func(o *broker.Options) { o.Listen = taken.Addr().String() },
		"broker.cluster.listen: " + taken.Addr().String() + " is taken": func(o *broker.Options) { cluster(o); o.Cluster.Listen = taken.Addr().String() },
		"is in use by another process":                                  func(o *broker.Options) { jetstream(o, dir) },
		"broker.jetstream.store_dir":                                    func(o *broker.Options) { jetstream(o, file) },
		"broker.tls.cert and key":                                       func(o *broker.Options) { o.TLS.Cert, o.TLS.Key = file, file },
	} {
		o := brokertest.Options()
		change(&o)
		b, err := broker.Open(t.Context(), o, brokertest.NewRecorder(), nil)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open = %v, want an error with %q", err, want)
		}
	}
}

func jetstream(o *broker.Options, dir string) {
	o.JetStream.Enabled, o.JetStream.StoreDir, o.JetStream.Memory, o.JetStream.Disk = true, dir, 1<<20, 1<<20
}

func TestOpenEndsWithItsContext(t *testing.T) {
	slow(t)
	// a listener that accepts and greets like a node that never answers hello
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "INFO {\"server_id\":\"x\",\"server_name\":\"hung\",\"cluster\":\"gatecast\"}\r\n")
			c.Close()
		}
	}()
	defer func() {
		ln.Close()
		<-done
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
	defer cancel()
	b, err := broker.Open(ctx, brokertest.ClusterOptions(0, "nats://"+ln.Addr().String()), brokertest.NewRecorder(), brokertest.Log())
	if err == nil {
		b.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "no answer from hung") {
		t.Errorf("Open = %v, want that hung did not answer", err)
	}
}

func TestDeadRoutesDoNotHoldUpTheFirstNode(t *testing.T) {
	begun := time.Now()
	o := brokertest.ClusterOptions(0, "nats://127.0.0.1:"+freePort(t), "nats://no-such-host.invalid:6222")
	n := brokertest.Open(t, o, brokertest.NewRecorder())
	if took := time.Since(begun); took > brokertest.Within { // and not as long as a node waits for others it hears of
		t.Errorf("took %s", took)
	}
	if err := n.Ready(); err != nil {
		t.Error(err)
	}
}

func TestLeaveLingersAndJoinAgain(t *testing.T) {
	slow(t)
	nodes := brokertest.StartCluster(t, 2)
	a, b := nodes[0], nodes[1]
	a.JoinWait(t, "g")
	a.JoinWait(t, "g")
	barriers := a.Stats().Barriers
	a.Leave("g")
	b.Send(t, "g", "1")
	a.WaitMessages(t, "g", 1)
	a.Leave("g")
	if got := a.Stats(); got.Interest != 1 || got.Memberships != 0 {
		t.Errorf("%d subscriptions and %d memberships, want 1 lingering and 0", got.Interest, got.Memberships)
	}
	a.JoinWait(t, "g") // within the linger: the same subscription
	if got := a.Stats().Barriers; got != barriers {
		t.Errorf("a join while it lingers took a barrier")
	}
	a.Leave("g")
	a.Leave("g") // one too many
	begun := time.Now()
	brokertest.Eventually(t, "unsubscribed", func() bool { return a.Stats().Interest == 0 })
	if took := time.Since(begun); took < time.Second {
		t.Errorf("lingered %s, want 2 s", took)
	}
	joinThenSend(t, "g", 1, a, b) // another group
	a.JoinWait(t, "g")            // a new subscription, its own barrier
	if got := a.Stats().Barriers; got <= barriers {
		t.Error("a join after UNSUB took no barrier")
	}
	b.Send(t, "g", "2")
	a.WaitMessages(t, "g", 2)
}

func TestGoroutinesDoNotGrowWithGroups(t *testing.T) {
	n := brokertest.Start(t)
	before := runtime.NumGoroutine()
	for i := range 10000 {
		n.JoinWait(t, fmt.Sprintf("many.%d", i))
	}
	if after := runtime.NumGoroutine(); after > before+5 {
		t.Errorf("%d goroutines with 10,000 groups, %d before", after, before)
	}
	if got := n.Stats().Interest; got != 10000 {
		t.Errorf("%d subscriptions", got)
	}
	n.Send(t, "many.9999", "1")
	n.WaitMessages(t, "many.9999", 1)
}

func TestExactUserInterest(t *testing.T) {
	var nodes []*brokertest.Node
	for i := range 2 {
		var routes []string
		if i > 0 {
			routes = append(routes, "nats://"+nodes[0].ClusterAddr())
		}
		o := brokertest.ClusterOptions(i, routes...)
		o.UserInterest = "exact"
		nodes = append(nodes, brokertest.Open(t, o, brokertest.NewRecorder()))
	}
	brokertest.WaitCluster(t, nodes...)
	n, other := nodes[0], nodes[1]
	n.JoinWait(t, "user.1")
	other.Send(t, "user.2", "1")
	other.Send(t, "user.1", "1")
	if got := n.WaitMessages(t, "user.1", 1); len(got) != 1 || len(n.Messages("user.2")) != 0 {
		t.Errorf("heard %v and %v", got, n.Messages("user.2"))
	}
}

func TestOwnMembersHearBeforePublishReturns(t *testing.T) {
	for name, n := range map[string]*brokertest.Node{"alone": brokertest.Start(t), "in a cluster": brokertest.StartCluster(t, 2)[0]} {
		t.Run(name, func(t *testing.T) {
			n.JoinWait(t, "own")
			for i := 1; i <= 1000; i++ {
				n.Send(t, "own", fmt.Sprint(i))
				if got := n.Messages("own"); len(got) != i || got[i-1].Data != fmt.Sprint(i) {
					t.Fatalf("%d messages after the %dth was published, the last is %v", len(got), i, got[len(got)-1])
				}
			}
			if err := broker.FlushRelay(t.Context(), n.Broker); err != nil { // what NATS would bring back has come before its PONG
				t.Fatal(err)
			}
			if got := n.Messages("own"); len(got) != 1000 {
				t.Errorf("NATS brought %d of 1000 back once more", len(got)-1000)
			}
		})
	}
}

func TestCutLinksComeBack(t *testing.T) {
	nodes := brokertest.StartCluster(t, 2)
	nodes[0].JoinWait(t, "g")
	for range 3 {
		before := len(nodes[0].Messages("g"))
		reconnects := nodes[0].Stats().Reconnects
		broker.CutLinks(nodes[0].Broker)
		brokertest.Eventually(t, "both links are new", func() bool { return nodes[0].Stats().Reconnects == reconnects+2 && nodes[0].Ready() == nil })
		nodes[0].WaitState(t, true)
		nodes[1].Send(t, "g", "1")
		nodes[0].WaitMessages(t, "g", before+1)
	}
	joinThenSend(t, "after", 50, nodes[0], nodes[1])
}

func TestDrain(t *testing.T) {
	slow(t)
	nodes := brokertest.StartCluster(t, 2)
	nodes[0].JoinWait(t, "g")
	nodes[1].JoinWait(t, "g")
	left := make(chan struct{})
	nc, err := nats.Connect(nodes[0].ClientURL(), nats.Token(brokertest.ServiceToken), nats.NoReconnect(),
		nats.ClosedHandler(func(*nats.Conn) { close(left) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	const n = 1000
	for i := range n {
		if err := nc.Publish("gc.in.g", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, nc)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	begun := time.Now()
	if err := nodes[0].Drain(ctx); err != nil {
		t.Errorf("Drain: %v", err)
	}
	if took := time.Since(begun); took > 2*brokertest.Within { // and not till the end of ctx
		t.Errorf("took %s", took)
	}
	if err := nodes[0].Publish(&broker.Message{Group: []byte("g")}); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Publish while draining: %v", err)
	}
	if nodes[0].Ready() == nil {
		t.Error("ready while draining")
	}
	got := nodes[1].WaitMessages(t, "g", n) // what was in hand went out
	if len(got) != n {
		t.Errorf("%d messages, want %d", len(got), n)
	}
	brokertest.Eventually(t, "forgotten at once", func() bool { return len(nodes[1].Nodes()) == 1 })
	<-left
	if err := errors.Join(nodes[0].Close(), nodes[0].Close()); err != nil {
		t.Error(err)
	}
	if err := nodes[0].TryJoin("x"); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("Join after Close: %v", err)
	}
	if _, err := nodes[0].AskAll(context.Background(), "x", nil); err == nil {
		t.Error("AskAll after Close")
	}
}
