package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/broker"
	"github.com/gatecast/gatecast/broker/brokertest"
	"github.com/nats-io/nats.go"
)

// natives opens a node whose native users are those of the map, by token.
func natives(t *testing.T, users map[string]broker.NativeUser) *brokertest.Node {
	r := brokertest.NewRecorder()
	r.OnAuthenticate = func(_ context.Context, token, _ string, _ *broker.NativeUser) (broker.NativeUser, error) {
		if u, ok := users[token]; ok {
			return u, nil
		}
		return broker.NativeUser{}, errors.New("unknown token")
	}
	o := brokertest.Options()
	o.Services = append(o.Services, broker.Service{Name: "jobs", Token: "0123456789abcdef-jobs"})
	return brokertest.Open(t, o, r)
}

// violations counts permission errors of a connection.
type violations struct{ atomic.Int64 }

func dialUser(t *testing.T, n *brokertest.Node, id, token string) (*nats.Conn, *violations) {
	t.Helper()
	v := &violations{}
	nc, err := nats.Connect(n.ClientURL(), nats.Token(token), nats.NoReconnect(), nats.CustomInboxPrefix("_INBOX_"+id),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { v.Add(1) }))
	if err != nil {
		t.Fatalf("connect as %s: %v", id, err)
	}
	t.Cleanup(nc.Close)
	return nc, v
}

func TestNativeUserHearsAndSaysWhatItMay(t *testing.T) {
	n := natives(t, map[string]broker.NativeUser{
		"alice": {ID: "a.b@x.com", Subscribe: []string{"chat.>", "news"}, Publish: []string{"chat.>"}, Deny: []string{"chat.private.>"}},
		"mute":  {ID: "mute"},
	})
	alice, denied := dialUser(t, n, "a=252Eb=2540x=252Ecom", "alice")
	n.JoinWait(t, "chat.1")

	heard := make(chan string, 1000)
	for _, s := range []string{"gc.g.*.chat.>", "gc.g.*.news", "gc.g.*.user.a=252Eb=2540x=252Ecom", "gc.g.*.chat.*.>", "gc.g.*.chat.private"} {
		if _, err := alice.Subscribe(s, func(m *nats.Msg) { heard <- m.Subject }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := alice.QueueSubscribe("gc.g.*.chat.>", "q", func(m *nats.Msg) { heard <- m.Subject }); err != nil {
		t.Fatal(err)
	}
	flush(t, alice)
	if v := denied.Load(); v != 0 {
		t.Fatalf("%d permission errors for what is allowed", v)
	}
	forbidden := []string{
		">", "*.>", "gc.>", "gc.*.>", "gc.g.>", "gc.g.*.>", "gc.g.*.*", "gc.g.00.other", "gc.g.*.chat.private.>", "gc.g.*.chat.private.x", "gc.g.*.*.private.x",
		"gc.g.*.*.private.>", "gc.in.>", "gc.uin.>", "gc.uin.a=252Eb=2540x=252Ecom.>", "gc.ctl.>", "gc.ctl.hello", "gc.h.>", "$SYS.>", "$JS.API.>",
		"_INBOX.>", "_INBOX_mute.>", "gc.g.*.user.>", "gc.g.*.user.mute", "gc.g.*.other",
	}
	for i, s := range forbidden {
		for q, queue := range []string{"", "q"} {
			var err error
			if queue == "" {
				_, err = alice.Subscribe(s, func(m *nats.Msg) { heard <- "forbidden " + m.Subject })
			} else {
				_, err = alice.QueueSubscribe(s, queue, func(m *nats.Msg) { heard <- "forbidden " + m.Subject })
			}
			if err != nil {
				continue
			}
			flush(t, alice)
			brokertest.Eventually(t, fmt.Sprintf("%s refused (queue %q)", s, queue), func() bool { return denied.Load() >= int64(2*i+q+1) })
		}
	}
	for _, g := range []string{"chat.private.x", "chat.private.x.y", "other", "user.mute", "chat.1", "news", "user.a%2Eb%40x%2Ecom", "chat.private"} {
		n.Send(t, g, "1")
	}
	got := map[string]int{}
	for sum := 0; sum < 8; sum++ { // chat.1: > and queue; news; user; chat.private: exact, > and queue … and the last ends it
		select {
		case s := <-heard:
			got[s[strings.IndexByte(s[5:], '.')+6:]]++
		case <-time.After(brokertest.Within):
			t.Fatalf("heard only %v", got)
		}
		if got["chat.private"] == 3 {
			break
		}
	}
	flush(t, alice)
	for len(heard) > 0 {
		s := <-heard
		got[s[strings.IndexByte(s[5:], '.')+6:]]++
	}
	if want := "map[chat.1:2 chat.private:3 news:1 user.a=252Eb=2540x=252Ecom:1]"; fmt.Sprint(got) != want {
		t.Errorf("heard %v, want %s", got, want)
	}

	// to speak
	request := func(subject string, data string) string {
		m := nats.NewMsg(subject)
		m.Data = []byte(data)
		m.Header.Set("Gc-Id", "1")
		m.Header.Set("Gc-From", "root")
		m.Header.Set("Gc-Exclude", "c-1")
		answer, err := alice.RequestMsg(m, brokertest.Within)
		if err != nil {
			return err.Error()
		}
		return string(answer.Data)
	}
	if got := request("gc.uin.a=252Eb=2540x=252Ecom.chat.1", `"hi"`); got != `{"ok":true}` {
		t.Errorf("publish: %s", got)
	}
	m := n.WaitMessages(t, "chat.1", 2)[1]
	if m.From != "a.b@x.com" || m.ID != "1" || m.Exclude != "" || m.Data != `"hi"` {
		t.Errorf("got %+v: from natives only Gc-Id and Gc-Format count", m)
	}
	before := n.Stats().IngressOK
	violationsBefore := denied.Load()
	refused := []string{
		"gc.uin.a=252Eb=2540x=252Ecom.chat.private.x", "gc.uin.a=252Eb=2540x=252Ecom.news", "gc.uin.mute.chat.1", "gc.in.chat.1", "gc.g.00.chat.1",
		"gc.ctl.disconnect", "gc.ctl.hello", "gc.ctl.drain", "gc.h.00.chat.1", "$JS.API.INFO", "$SYS.REQ.SERVER.PING", "_INBOX.x", "anything",
	}
	for i, s := range refused {
		alice.Publish(s, []byte("1"))
		flush(t, alice)
		brokertest.Eventually(t, s+" refused", func() bool { return denied.Load() >= violationsBefore+int64(i+1) })
	}
	if after := n.Stats().IngressOK; after != before {
		t.Errorf("%d messages went in that should not", after-before)
	}

	mute, muted := dialUser(t, n, "mute", "mute")
	mute.Subscribe("gc.g.*.chat.>", func(*nats.Msg) {})
	mute.Publish("gc.uin.mute.chat.1", []byte("1"))
	flush(t, mute)
	brokertest.Eventually(t, "a user without grants may nothing", func() bool { return muted.Load() == 2 })
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(brokertest.Within); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

func TestNoDeputies(t *testing.T) {
	n := natives(t, map[string]broker.NativeUser{
		"alice": {ID: "alice", Subscribe: []string{"chat.>"}, Publish: []string{"chat.>"}},
		"bob":   {ID: "bob", Subscribe: []string{"chat.>"}},
	})
	n.JoinWait(t, "chat.1")
	n.JoinWait(t, "chat.2")
	alice, _ := dialUser(t, n, "alice", "alice")
	bob, _ := dialUser(t, n, "bob", "bob")
	stolen := make(chan string, 100)
	if _, err := bob.Subscribe("_INBOX_bob.>", func(m *nats.Msg) { stolen <- m.Subject }); err != nil {
		t.Fatal(err)
	}
	flush(t, bob)
	service := dialService(t, n.ClientURL())
	hostile := []string{
		"gc.ctl.drain", "gc.ctl.bye", "gc.ctl.disconnect", "gc.g.00.chat.2", "gc.in.chat.2", "gc.uin.bob.chat.2", "gc.h.00.chat.2",
		"$JS.API.STREAM.CREATE.X", "$SYS.REQ.SERVER.PING", "_INBOX_bob.x", "_INBOX_alice", "_INBOX", "_INBOX.", "_INBOX_.x", "x",
	}
	sent := uint64(0)
	for _, reply := range hostile {
		for _, p := range []struct {
			nc      *nats.Conn
			subject string
		}{
			{alice, "gc.uin.alice.chat.1"}, {service, "gc.in.chat.1"}, {service, "gc.ctl.disconnect"},
		} {
			if strings.HasSuffix(reply, ".") {
				continue // nats-server refuses an empty token
			}
			if err := p.nc.PublishRequest(p.subject, reply, []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
			flush(t, p.nc)
			sent++
		}
	}
	// a user may not use a service's inbox, nor a service a user's
	alice.PublishRequest("gc.uin.alice.chat.1", "_INBOX.x", []byte(`{}`))
	flush(t, alice)
	service.PublishRequest("gc.in.chat.1", "_INBOX_alice.x", []byte(`{}`))
	flush(t, service)
	sent += 2
	brokertest.Eventually(t, "all are counted", func() bool { return n.Stats().RefusedReplies >= sent })
	if got := n.Stats().RefusedReplies; got != sent {
		t.Errorf("refused %d, want %d", got, sent)
	}
	// the next good message is the first to arrive, and the lanes carried nothing else
	n.Send(t, "chat.2", `"end"`)
	n.Send(t, "chat.1", `"end"`)
	for _, g := range []string{"chat.1", "chat.2"} {
		if got := n.WaitMessages(t, g, 1); got[0].Data != `"end"` {
			t.Errorf("%s got %q", g, got[0].Data)
		}
	}
	if len(stolen) != 0 {
		t.Errorf("bob's inbox got %s", <-stolen)
	}
	if err := n.Ready(); err != nil {
		t.Error(err)
	}
}

func TestRevocationReachesNativeUsers(t *testing.T) {
	slow(t)
	users := map[string]broker.NativeUser{
		"alice": {ID: "alice", SessionHash: "s1", Subscribe: []string{"chat.>"}},
		"bob":   {ID: "bob", SessionHash: "s2"},
		"brief": {ID: "brief", Expires: time.Now().Add(3 * time.Second)},
		"late":  {ID: "late", Expires: time.Now().Add(-time.Second)},
		"none":  {},
	}
	n := natives(t, users)
	alice, _ := dialUser(t, n, "alice", "alice")
	bob, _ := dialUser(t, n, "bob", "bob")
	brief, _ := dialUser(t, n, "brief", "brief")
	if got := n.Stats().NativeConns; got != 3 {
		t.Errorf("%d native conns, want 3", got)
	}
	if got := n.DisconnectNative(func(u broker.NativeUser) bool { return u.SessionHash == "s1" }); got != 1 {
		t.Errorf("disconnected %d, want 1", got)
	}
	brokertest.Eventually(t, "alice is out", alice.IsClosed)
	if bob.IsClosed() {
		t.Error("bob was disconnected too")
	}
	brokertest.Eventually(t, "expiry disconnects", brief.IsClosed)
	bob.Close()
	brokertest.Eventually(t, "those who left are forgotten", func() bool { return n.Stats().NativeConns == 0 })
	for _, token := range []string{"late", "none", "unknown", ""} {
		if nc, err := nats.Connect(n.ClientURL(), nats.Token(token)); err == nil {
			nc.Close()
			t.Errorf("token %q was let in", token)
		}
	}
	if got := n.Stats().NativeRefused; got != 4 {
		t.Errorf("refused %d, want 4", got)
	}
}

// A login that is overtaken while it comes in is asked about again, and is in once nothing overtakes it.
func TestALoginThatIsOvertaken(t *testing.T) {
	for name, tt := range map[string]struct {
		overtaken int   // how often
		err       error // of the second look
		in        bool
	}{
		"once":            {1, nil, true},
		"twice":           {2, nil, true},
		"again and again": {1000, nil, false},
		"for good":        {1, errors.New("revoked"), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := brokertest.NewRecorder()
			var n *brokertest.Node
			var mu sync.Mutex
			asked, told := 0, 0 // guarded by mu
			r.OnAuthenticate = func(_ context.Context, token, _ string, overtaken *broker.NativeUser) (broker.NativeUser, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				if again := asked > 1; again != (overtaken != nil) {
					t.Errorf("asked %d times, it is told of %v", asked, overtaken)
				} else if again && overtaken.Login != asked-1 {
					t.Errorf("it is told of login %v, want %d", overtaken.Login, asked-1)
				}
				if asked > 1 && tt.err != nil {
					return broker.NativeUser{}, tt.err
				}
				return broker.NativeUser{ID: "alice", Login: asked}, nil
			}
			r.OnOvertaken = func(u broker.NativeUser) bool {
				if users := n.NativeUsers(); len(users) != 1 || users[0].Login != u.Login { // else a revocation would miss it
					t.Errorf("asked about %v while %v are in", u, users)
				}
				mu.Lock()
				defer mu.Unlock()
				told++
				return told <= tt.overtaken
			}
			n = brokertest.Open(t, brokertest.Options(), r)
			nc, err := nats.Connect(n.ClientURL(), nats.Token("alice"), nats.NoReconnect())
			if err == nil {
				defer nc.Close()
			}
			users := n.NativeUsers()
			if in := err == nil; in != tt.in || in != (len(users) == 1) {
				t.Fatalf("connect: %v, in are %v; want in = %v", err, users, tt.in)
			}
			if tt.in && users[0].Login != tt.overtaken+1 {
				t.Errorf("in is login %v, want %d", users[0].Login, tt.overtaken+1)
			}
			if s := n.Stats(); s.NativeConns != len(users) {
				t.Errorf("it counts %d native conns, want %d", s.NativeConns, len(users))
			}
		})
	}
}

// A revocation that finds a client which has come in, but is not told so yet, closes it.
func TestARevocationBetweenTheLoginAndItsAnswer(t *testing.T) {
	r := brokertest.NewRecorder()
	var n *brokertest.Node
	r.OnAuthenticate = func(context.Context, string, string, *broker.NativeUser) (broker.NativeUser, error) {
		return broker.NativeUser{ID: "alice"}, nil
	}
	r.OnOvertaken = func(broker.NativeUser) bool {
		if got := n.DisconnectNative(func(broker.NativeUser) bool { return true }); got != 1 {
			t.Errorf("disconnected %d, want 1", got)
		}
		return false // it was revoked after this was found out
	}
	n = brokertest.Open(t, brokertest.Options(), r)
	if nc, err := nats.Connect(n.ClientURL(), nats.Token("alice"), nats.NoReconnect()); err == nil {
		defer nc.Close()
		brokertest.Eventually(t, "the end of the client", nc.IsClosed)
	}
	if users := n.NativeUsers(); len(users) != 0 {
		t.Errorf("in are %v", users)
	}
}

func TestServiceCredentials(t *testing.T) {
	n := natives(t, nil)
	for name, c := range map[string]struct {
		how nats.Option
		ok  bool
	}{
		"token":            {nats.Token(brokertest.ServiceToken), true},
		"name and token":   {nats.UserInfo(brokertest.ServiceName, brokertest.ServiceToken), true},
		"another's token":  {nats.UserInfo(brokertest.ServiceName, "0123456789abcdef-jobs"), false},
		"wrong token":      {nats.Token(brokertest.ServiceToken + "x"), false},
		"name alone":       {nats.UserInfo(brokertest.ServiceName, ""), false},
		"the routes' name": {nats.UserInfo("gatecast", "0123456789abcdef-cluster"), false},
		"nothing":          {nats.Name("nobody"), false},
	} {
		nc, err := nats.Connect(n.ClientURL(), c.how)
		if err == nil {
			nc.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok = %v", name, err, c.ok)
		}
	}
	// what a service may by default
	v := &violations{}
	nc, err := nats.Connect(n.ClientURL(), nats.Token("0123456789abcdef-jobs"), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) { v.Add(1) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	want := int64(0)
	for _, s := range []string{"gc.g.>", "gc.g.*.a", "gc.in.>", "gc.ctl.>", "gc.ctl.beat", "_INBOX_alice.>", ">", "$SYS.>"} {
		nc.Subscribe(s, func(*nats.Msg) {})
		want++
	}
	for _, s := range []string{"gc.g.00.a", "gc.h.00.a", "gc.uin.x.a", "gc.ctl.hello", "gc.ctl.beat", "gc.ctl.sync.n", "gc.ctl.ask.n", "gc.ctl.bye", "_INBOX.x", "$JS.API.INFO"} {
		nc.Publish(s, nil)
		want++
	}
	flush(t, nc)
	brokertest.Eventually(t, "all refused", func() bool { return v.Load() >= want })
	if answer, err := nc.Request("gc.ctl.revalidate", []byte(`{}`), brokertest.Within); err != nil || !strings.Contains(string(answer.Data), "revalidate") {
		t.Errorf("revalidate: %v", err)
	}
}

func TestSlowAuthenticationIsRefusedInTime(t *testing.T) {
	slow(t)
	r := brokertest.NewRecorder()
	r.OnAuthenticate = func(ctx context.Context, _, _ string, _ *broker.NativeUser) (broker.NativeUser, error) {
		<-ctx.Done()
		return broker.NativeUser{ID: "x"}, nil
	}
	n := brokertest.Open(t, brokertest.Options(), r)
	begun := time.Now()
	nc, err := nats.Connect(n.ClientURL(), nats.Token("slow"), nats.Timeout(2*brokertest.Within))
	if err == nil {
		nc.Close()
	}
	if !errors.Is(err, nats.ErrAuthorization) { // and not that the client gave up
		t.Errorf("Connect = %v, want a refusal", err)
	}
	t.Logf("refused after %s", time.Since(begun))
}

func TestOddNamesNeedAnExactGrant(t *testing.T) {
	n := natives(t, map[string]broker.NativeUser{
		"wide":  {ID: "wide", Publish: []string{">", "*"}},
		"exact": {ID: "exact", Publish: []string{"a..b"}},
	})
	n.JoinWait(t, "a..b")
	for id, want := range map[string]string{"wide": `{"ok":false,"code":"forbidden"`, "exact": `{"ok":true}`} {
		nc, _ := dialUser(t, n, id, id)
		answer, err := nc.Request("gc.uin."+id+".a=2E=2Eb", []byte("1"), 5*time.Second)
		if err != nil || !strings.HasPrefix(string(answer.Data), want) {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
	}
	if got := n.WaitMessages(t, "a..b", 1); len(got) != 1 || got[0].From != "exact" {
		t.Errorf("got %+v", got)
	}
}

func TestWhoeverSubscribesIsHeard(t *testing.T) {
	n := natives(t, map[string]broker.NativeUser{"alice": {ID: "alice", Subscribe: []string{"chat.>"}}})
	if !broker.Unheard(n.Broker) {
		t.Fatal("a node alone writes to NATS what nobody hears")
	}
	service := func() (*nats.Conn, error) {
		return nats.Connect(n.ClientURL(), nats.UserInfo("jobs", "0123456789abcdef-jobs"))
	}
	user := func() (*nats.Conn, error) {
		return nats.Connect(n.ClientURL(), nats.Token("alice"), nats.CustomInboxPrefix("_INBOX_alice"))
	}
	for i := range 20 {
		who := []func() (*nats.Conn, error){user, service}[i%2]
		nc, err := who()
		if err != nil {
			t.Fatal(err)
		}
		subject := fmt.Sprintf("gc.g.*.chat.%d", i)
		if i%2 == 1 {
			subject = fmt.Sprintf("_INBOX.%d", i) // what this service may hear; that it is there is enough
		}
		sub, err := nc.SubscribeSync(subject)
		if err != nil {
			t.Fatal(err)
		}
		flush(t, nc)
		if broker.Unheard(n.Broker) {
			t.Fatal("a client has subscribed, and the node believes that it is alone")
		}
		n.Send(t, fmt.Sprintf("chat.%d", i), "1")
		if i%2 == 0 {
			if _, err := sub.NextMsg(brokertest.Within); err != nil {
				t.Fatalf("the message right after the subscription: %v", err)
			}
		}
		nc.Close()
	}
	brokertest.Eventually(t, "those who went are forgotten", func() bool { return broker.Unheard(n.Broker) })
}
