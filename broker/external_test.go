package broker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func TestExternalBrokerLostAndRestored(t *testing.T) {
	s := brokertest.StartNATS(t, 0, nil)
	port := s.Addr().(*net.TCPAddr).Port
	nodes := brokertest.StartExternal(t, s.ClientURL(), brokertest.ServiceToken, 2)
	groups := []string{"chat.1", "chat.2", "a..b"}
	for _, g := range groups {
		nodes[0].JoinWait(t, g)
	}
	nodes[0].JoinWait(t, "left")
	nodes[0].Leave("left") // lingers

	s.Shutdown()
	s.WaitForShutdown()
	for _, n := range nodes {
		n.WaitState(t, false)
		if err := n.Publish(&broker.Message{Group: []byte("chat.1"), Data: []byte("1")}); !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("Publish = %v, want ErrUnavailable", err)
		}
		if err := n.TryJoin("chat.3"); !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("Join = %v, want ErrUnavailable", err)
		}
		if n.Ready() == nil {
			t.Error("ready without a broker")
		}
		if a, err := n.AskAll(t.Context(), "disconnect", nil); !errors.Is(err, broker.ErrUnavailable) {
			t.Errorf("AskAll = %v, %v; want ErrUnavailable", a, err)
		}
	}
	nodes[0].Leave("chat.2")
	nodes[0].Leave("a..b")

	brokertest.StartNATS(t, port, nil)
	for _, n := range nodes {
		n.WaitState(t, true)
	}
	brokertest.WaitCluster(t, nodes...)
	nodes[1].Send(t, "chat.1", `"back"`)
	if got := nodes[0].WaitMessages(t, "chat.1", 1); got[0].Data != `"back"` {
		t.Errorf("got %+v", got)
	}
	joinThenSend(t, "again", 50, nodes[0], nodes[1])
	for _, n := range nodes {
		brokertest.Eventually(t, "ready again", func() bool { return n.Ready() == nil })
		if n.Stats().Reconnects < 2 {
			t.Errorf("%s: %d reconnects", n.Name(), n.Stats().Reconnects)
		}
	}
	nc := dialService(t, s.ClientURL())
	brokertest.Eventually(t, "the ingress is back", func() bool {
		answer, err := nc.Request("gc.in.chat.1", []byte("2"), brokertest.Within)
		return err == nil && string(answer.Data) == `{"ok":true}`
	})
	nodes[0].WaitMessages(t, "chat.1", 2)
}

// What a lost connection had still to deliver is no echo to NATS, for another connection sent it.
func TestOwnMessagesComeOnceWhenTheLinkComesBack(t *testing.T) {
	s := brokertest.StartNATS(t, 0, nil)
	w := newSlowWay(t, s.Addr().String(), "late")
	near, far := openExternal(t, w.url(), "near"), openExternal(t, s.ClientURL(), "far")
	brokertest.WaitCluster(t, near, far)
	near.JoinWait(t, "g")
	far.JoinWait(t, "g")
	near.Send(t, "g", `"late"`)
	<-w.caught
	broker.CutRelay(near.Broker)
	near.WaitState(t, false)
	near.WaitState(t, true)
	brokertest.WaitCluster(t, near, far)
	w.let()
	far.WaitMessages(t, "g", 1)
	far.Send(t, "g", `"end"`)
	got := near.WaitMessages(t, "g", 2)
	if len(got) != 2 || got[0].Data != `"late"` || got[1].Data != `"end"` {
		t.Errorf("the publisher's node got %+v, want each once", got)
	}
}

// slowWay passes TCP connections on to a server. What one sends from a word on it keeps until let is called, and the server's side open.
type slowWay struct {
	ln     net.Listener
	word   []byte
	caught chan struct{} // closed when the word has come
	let    func()        // may be called again
	gone   chan struct{} // closed by let
	all    sync.WaitGroup
}

func newSlowWay(t *testing.T, target, word string) *slowWay {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &slowWay{ln: ln, word: []byte(word), caught: make(chan struct{}), gone: make(chan struct{})}
	w.let = sync.OnceFunc(func() { close(w.gone) })
	w.all.Go(func() { // ends with the listener
		for {
			from, err := ln.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				from.Close()
				continue
			}
			w.all.Go(func() { // ends with the server's side
				io.Copy(from, to)
				from.Close()
			})
			w.all.Go(func() { // ends with the node's side, and let
				w.pass(to, from)
				to.Close()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		w.let()
		w.all.Wait()
	})
	return w
}

func (w *slowWay) url() string { return "nats://" + w.ln.Addr().String() }

func (w *slowWay) pass(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if bytes.Contains(buf[:n], w.word) {
			close(w.caught)
			<-w.gone
		}
		to.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

func TestExternalClusterOfServers(t *testing.T) {
	// each node at another server: the barrier crosses their routes
	first := brokertest.StartNATS(t, 0, func(o *server.Options) {
		o.Cluster = server.ClusterOpts{Name: "x", Host: "127.0.0.1", Port: server.RANDOM_PORT}
	})
	second := brokertest.StartNATS(t, 0, func(o *server.Options) {
		o.Cluster = server.ClusterOpts{Name: "x", Host: "127.0.0.1", Port: server.RANDOM_PORT}
		o.Routes = server.RoutesFromStr("nats://" + first.ClusterAddr().String())
	})
	brokertest.Eventually(t, "routes", func() bool { return first.NumRoutes() > 0 && second.NumRoutes() > 0 })
	var nodes []*brokertest.Node
	for i, s := range []*server.Server{first, second, first} {
		o := broker.DefaultOptions()
		o.Name, o.URL, o.Token = fmt.Sprintf("x%d", i+1), s.ClientURL(), brokertest.ServiceToken
		nodes = append(nodes, brokertest.Open(t, o, brokertest.NewRecorder()))
	}
	brokertest.WaitCluster(t, nodes...)
	joinThenSend(t, "a", 300, nodes[0], nodes[1])
	joinThenSend(t, "b", 300, nodes[1], nodes[2])
}

func TestIngressHasOneHolder(t *testing.T) {
	s := brokertest.StartNATS(t, 0, nil)
	nc := dialService(t, s.ClientURL())
	open := func(name string) *brokertest.Node {
		o := broker.DefaultOptions()
		o.Name, o.URL, o.Token = name, s.ClientURL(), brokertest.ServiceToken
		return brokertest.Open(t, o, brokertest.NewRecorder())
	}
	holder := func(n *brokertest.Node, want string) {
		t.Helper()
		brokertest.Eventually(t, want+" holds the ingress alone", func() bool {
			for _, i := range n.Nodes() {
				if i.Ingress != (i.Name == want) {
					return false
				}
			}
			return true
		})
	}
	m := open("m")
	m.JoinWait(t, "g")
	holder(m, "m")
	z := open("z")
	holder(z, "m")
	// a newcomer with a lower name changes nothing: nothing is lost or out of order
	newcomer := make(chan *brokertest.Node, 1)
	go func() { newcomer <- open("a") }() // ends with Open
	sent := 0
	var a *brokertest.Node
	for more := 100; more > 0; sent++ {
		answer, err := nc.Request("gc.in.g", fmt.Append(nil, sent), brokertest.Within)
		if err != nil || string(answer.Data) != `{"ok":true}` {
			t.Fatalf("message %d: %v", sent, err)
		}
		if a == nil {
			select {
			case a = <-newcomer:
			default:
			}
		} else {
			more--
		}
	}
	holder(a, "m")
	for i, r := range m.WaitMessages(t, "g", sent) {
		if r.Data != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, r.Data)
		}
	}
	if got := m.Stats().IngressOK; got != uint64(sent) {
		t.Errorf("m handled %d, want %d", got, sent)
	}
	m.Close()
	holder(a, "a") // the lowest when nobody holds
	holder(z, "a")
	z.JoinWait(t, "h")
	brokertest.Eventually(t, "a answers", func() bool {
		answer, err := nc.Request("gc.in.h", []byte("1"), brokertest.Within)
		return err == nil && string(answer.Data) == `{"ok":true}`
	})
	z.WaitMessages(t, "h", 1)
}

// A node that has lost its relay link knows no others, so it must not speak for them.
func TestOnlyServingNodesSpeakForAll(t *testing.T) {
	s := brokertest.StartNATS(t, 0, nil)
	nc := dialService(t, s.ClientURL())
	p := newFakePeer(t, s.ClientURL())
	n := openExternal(t, s.ClientURL(), "x1")
	ask := func() error {
		_, err := nc.Request("gc.ctl.disconnect", nil, brokertest.Within)
		return err
	}
	brokertest.Eventually(t, "the verbs are heard", func() bool { return ask() == nil })
	p.ghost.Store(true) // the next meeting does not end
	broker.CutRelay(n.Broker)
	n.WaitState(t, false)
	brokertest.Eventually(t, "nobody hears the verbs", func() bool { return errors.Is(ask(), nats.ErrNoResponders) })
	if a, err := n.AskAll(t.Context(), "disconnect", nil); !errors.Is(err, broker.ErrUnavailable) {
		t.Errorf("AskAll = %v, %v; want ErrUnavailable", a, err)
	}
	p.ghost.Store(false)
	n.WaitState(t, true)
	brokertest.Eventually(t, "the verbs are heard again", func() bool { return ask() == nil })
	if a, err := n.AskAll(t.Context(), "disconnect", nil); err != nil || len(a) != 2 {
		t.Errorf("AskAll = %v, %v; want two answers", a, err)
	}
}

// fakePeer is a node that beats, and answers what it is told to.
type fakePeer struct {
	nc     *nats.Conn
	silent atomic.Bool
	asked  atomic.Int64
	quiet  atomic.Bool // no heartbeats either
	ghost  atomic.Bool // its answers to hello name a node that nobody has seen
}

func newFakePeer(t *testing.T, url string) *fakePeer {
	p := &fakePeer{nc: dialService(t, url)}
	card := map[string]any{"v": broker.ProtocolVersion, "name": "fake", "id": "f1", "shards": 32, "started": 1, "ready": true}
	body, _ := json.Marshal(card)
	card["peers"] = []string{"ghost"}
	haunted, _ := json.Marshal(card)
	p.silent.Store(true)
	answer := func(m *nats.Msg) {
		p.asked.Add(1)
		if !p.silent.Load() {
			m.Respond(nil)
		}
	}
	if _, err := p.nc.Subscribe("gc.ctl.sync.fake", answer); err != nil {
		t.Fatal(err)
	}
	if _, err := p.nc.Subscribe("gc.ctl.hello", func(m *nats.Msg) {
		if p.ghost.Load() {
			m.Respond(haunted)
		} else {
			m.Respond(body)
		}
	}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() { // ends with the test
		defer close(stopped)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				if !p.quiet.Load() {
					p.nc.Publish("gc.ctl.beat", body)
				}
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	flush(t, p.nc)
	return p
}

func openExternal(t *testing.T, url, name string) *brokertest.Node {
	t.Helper()
	o := broker.DefaultOptions()
	o.Name, o.URL, o.Token = name, url, brokertest.ServiceToken
	return brokertest.Open(t, o, brokertest.NewRecorder())
}

func TestSilentPeer(t *testing.T) {
	slow(t)
	s := brokertest.StartNATS(t, 0, nil)
	p := newFakePeer(t, s.ClientURL())
	n := openExternal(t, s.ClientURL(), "x1")
	if got := len(n.Nodes()); got != 2 {
		t.Fatalf("%d nodes at the end of Open, want 2: the peer answered hello", got)
	}

	// several adds wait for one barrier; all are told of the timeout, and none is left
	begun := time.Now()
	results := make(chan error, 10)
	for range 4 {
		n.Join("slow", func(err error) { results <- err })
	}
	if got := n.Stats(); got.PendingJoins != 1 || got.Memberships != 4 || got.Interest != 1 {
		t.Errorf("while pending: %d pending, %d memberships, %d subscriptions; want 1, 4, 1", got.PendingJoins, got.Memberships, got.Interest)
	}
	if len(results) != 0 {
		t.Error("an add that found the count above 0 did not wait")
	}
	for range 4 {
		if err := <-results; !errors.Is(err, broker.ErrTimeout) {
			t.Errorf("got %v, want ErrTimeout", err)
		}
	}
	if took := time.Since(begun); took < 2900*time.Millisecond || took > brokertest.Within {
		t.Errorf("timed out after %s, want 3 s", took)
	}
	if got := n.Stats(); got.Memberships != 0 || got.Interest != 0 || got.PendingJoins != 0 || got.BarrierTimeouts != 1 {
		t.Errorf("not undone: %+v", got)
	}
	nc := dialService(t, s.ClientURL())
	nc.Publish("gc.in.slow", []byte("1"))
	flush(t, nc)

	// a second add while pending is ready with the first
	n.Join("both", func(err error) { results <- err })
	brokertest.Eventually(t, "the peer is asked", func() bool { return p.asked.Load() >= 2 })
	n.Join("both", func(err error) { results <- err })
	if len(results) != 0 {
		t.Fatal("ready without the barrier")
	}
	p.silent.Store(false)
	n.JoinWait(t, "other") // its own barrier is answered; the earlier one still waits
	p.nc.Publish("gc.ctl.bye", []byte(`{"v":1,"name":"fake","id":"f1"}`))
	for range 2 {
		if err := <-results; err != nil {
			t.Errorf("a peer that left holds up an add: %v", err)
		}
	}
	if got := len(n.Messages("slow")); got != 0 {
		t.Errorf("a group that was undone delivered %d messages", got)
	}
}

func TestPeerThatStopsBeatingIsForgotten(t *testing.T) {
	slow(t)
	s := brokertest.StartNATS(t, 0, nil)
	p := newFakePeer(t, s.ClientURL())
	n := openExternal(t, s.ClientURL(), "x1")
	p.quiet.Store(true)
	brokertest.Eventually(t, "forgotten", func() bool { return len(n.Nodes()) == 1 })
	if got := n.Stats().PeersLost; got != 1 {
		t.Errorf("%d lost, want 1", got)
	}
	n.JoinWait(t, "g") // waits for nobody
	p.silent.Store(false)
	p.quiet.Store(false)
	brokertest.Eventually(t, "met again", func() bool { return len(n.Nodes()) == 2 })
}

// A node that hung may first answer a hello that was said before it was given up, and could not tell it so.
func TestAPeerThatAnswersAnOldHelloIsToldThatItWasGivenUp(t *testing.T) {
	slow(t)
	s := brokertest.StartNATS(t, 0, nil)
	p := newFakePeer(t, s.ClientURL())
	hellos := make(chan *nats.Msg, 100)
	if _, err := p.nc.ChanSubscribe("gc.ctl.hello", hellos); err != nil {
		t.Fatal(err)
	}
	flush(t, p.nc)
	n := openExternal(t, s.ClientURL(), "x1")
	old := <-hellos
	p.quiet.Store(true)
	brokertest.Eventually(t, "given up", func() bool { return len(n.Nodes()) == 1 })
	for len(hellos) > 0 {
		<-hellos
	}
	old.Respond([]byte(fmt.Sprintf(`{"v":%d,"name":"fake","id":"f1","shards":32,"started":1,"ready":true}`, broker.ProtocolVersion)))
	brokertest.Eventually(t, "a hello that tells it", func() bool {
		select {
		case m := <-hellos:
			return strings.Contains(string(m.Data), `"gave_up":["f1"]`)
		default:
			return false
		}
	})
}

// The rights that operations.md names are enough: nodes also answer users in their own inboxes, which no pattern of NATS covers.
func TestExternalLoginWithTheDocumentedRights(t *testing.T) {
	s := brokertest.StartNATS(t, 0, func(o *server.Options) {
		o.Authorization = ""
		gc := &server.SubjectPermission{Allow: []string{"gc.>", "_INBOX.>"}}
		o.Users = []*server.User{
			{Username: "gatecast", Password: "p", Permissions: &server.Permissions{Publish: gc, Subscribe: gc,
				Response: &server.ResponsePermission{MaxMsgs: server.DEFAULT_ALLOW_RESPONSE_MAX_MSGS, Expires: server.DEFAULT_ALLOW_RESPONSE_EXPIRATION}}},
			{Username: "ada", Password: "p", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"gc.uin.42.chat.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"gc.g.*.chat.>", "_INBOX_42.>"}}}},
		}
	})
	o := broker.DefaultOptions()
	o.URL, o.User, o.Password = s.ClientURL(), "gatecast", "p"
	b, err := broker.Open(t.Context(), o, brokertest.NewRecorder(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo("ada", "p"), nats.CustomInboxPrefix("_INBOX_42"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	brokertest.Eventually(t, "a user's message is answered", func() bool {
		answer, err := nc.Request("gc.uin.42.chat.7", []byte("1"), time.Second)
		return err == nil && string(answer.Data) == `{"ok":true}`
	})
}

func TestExternalStartErrors(t *testing.T) {
	slow(t)
	s := brokertest.StartNATS(t, 0, nil)
	narrow := brokertest.StartNATS(t, 0, func(o *server.Options) {
		o.Authorization = ""
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Subscribe: &server.SubjectPermission{Allow: []string{"other.>"}},
		}}}
	})
	o := broker.DefaultOptions()
	o.URL, o.User, o.Password = narrow.ClientURL(), "u", "p"
	if b, err := broker.Open(t.Context(), o, brokertest.NewRecorder(), nil); err == nil || !strings.Contains(err.Error(), "subscribe to gc.> and _INBOX.>, with allow_responses: true") {
		if err == nil {
			b.Close()
		}
		t.Errorf("a login without permissions: Open = %v", err)
	}
	for name, c := range map[string]struct {
		url, token, want string
	}{
		"nobody there": {"nats://127.0.0.1:" + freePort(t), "x", "connection refused"},
		"wrong token":  {s.ClientURL(), "wrong", "refused the login"},
		"no TLS there": {strings.Replace(s.ClientURL(), "nats:", "tls:", 1), brokertest.ServiceToken, "TLS"},
	} {
		o := broker.DefaultOptions()
		o.URL, o.Token = c.url, c.token
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		b, err := broker.Open(ctx, o, brokertest.NewRecorder(), nil)
		cancel()
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "broker.url") {
			t.Errorf("%s: Open = %v, want an error of broker.url with %q", name, err, c.want)
		}
	}
}
