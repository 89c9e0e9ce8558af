package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestNativeUser: a user with a JWT connects as a NATS client, hears its groups on the live lane and speaks
// through uin, both within its grants.
func TestNativeUser(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, nil)
	a, b := nodes[0], nodes[1]
	id := "kim@example.com"
	tokenID := "kim=2540example=252Ecom" // escape(quote(id)), written out by hand
	violations := make(chan error, 100)
	nc := native(t, a, tokenID, token(t, id), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	sub := subscribe(t, nc, "gc.g.*.chat.>")

	member := dialUser(t, b, "ada")
	member.add("chat.7")
	member.groupSend("chat.7", "from a socket")
	m, err := sub.NextMsg(patience)
	if err != nil {
		t.Fatalf("the native user hears nothing: %v", err)
	}
	if !strings.HasSuffix(m.Subject, ".chat.7") || string(m.Data) != `"from a socket"` {
		t.Fatalf("heard %q on %s", m.Data, m.Subject)
	}
	if got := m.Header.Get("Gc-From"); got != "ada" {
		t.Errorf("Gc-From is %q, want ada", got)
	}
	member.wantData("chat.7", "from a socket")

	// Speaking: as a publish and as a request; who spoke is set by the node, not by the speaker.
	out := nats.NewMsg("gc.uin." + tokenID + ".chat.7")
	out.Data = []byte(`"from NATS"`)
	out.Header.Set("Gc-From", "root")
	out.Header.Set("Gc-Exclude", member.conID)
	out.Header.Set("Gc-Conn", member.conID)
	if err := nc.PublishMsg(out); err != nil {
		t.Fatal(err)
	}
	if got := member.wantData("chat.7", "from NATS").str("from"); got != id {
		t.Errorf("from is %q, want %q", got, id)
	}
	if answer := ingress(t, nc, "gc.uin."+tokenID+".chat.7", []byte(`{"n":1}`)); answer["ok"] != true {
		t.Errorf("uin answered %v, want ok", answer)
	}
	member.wantData("chat.7", map[string]any{"n": 1})
	if answer := ingress(t, nc, "gc.uin."+tokenID+".chat.7", []byte(`{"n":`)); answer["ok"] != false || answer["code"] != "bad_request" {
		t.Errorf("uin answered %v to half a JSON object, want bad_request", answer)
	}

	// What is not granted: neither heard nor said.
	for _, subject := range []string{
		">", "gc.>", "gc.g.>", "gc.g.*.>", "gc.g.*.secret", "gc.g.*.user.>", "gc.g.*.user.ada", "gc.in.>", "gc.uin.>", "gc.ctl.>", "gc.ctl.hello",
		"gc.g.*.chat", "gc.g.*.*.7", "gc.h.>", "gc.g.*.room", "$SYS.>", "$JS.>", "_INBOX.>", "_INBOX_ada.>", "_INBOX_*.>", "*", "*.*.*.chat.>",
	} {
		violated(t, nc, violations, func() error { _, err := nc.SubscribeSync(subject); return err }, "subscribe to "+subject)
	}
	for _, subject := range []string{
		"gc.in.chat.7", "gc.uin.ada.chat.7", "gc.uin." + tokenID + ".secret", "gc.g.00.chat.7", "gc.g.01.chat.7", "gc.ctl.drain", "gc.ctl.disconnect",
		"gc.ctl.hello", "gc.h.00.chat.7", "$JS.API.INFO", "$SYS.REQ.SERVER.PING", "_INBOX.x", "_INBOX_ada.x", "gc.uin." + tokenID + ".chat.private.1",
	} {
		violated(t, nc, violations, func() error { return nc.Publish(subject, []byte(`1`)) }, "publish to "+subject)
	}
	member.quiet()
	if !nc.IsConnected() {
		t.Error("the native user was thrown out for asking too much")
	}
}

// violated does what must be refused and waits for the server's word about it.
func violated(t testing.TB, nc *nats.Conn, violations <-chan error, do func() error, what string) {
	t.Helper()
	if err := do(); err != nil {
		return
	}
	select {
	case err := <-violations:
		if !errors.Is(err, nats.ErrPermissionViolation) && !strings.Contains(strings.ToLower(fmt.Sprint(err)), "permission") {
			t.Errorf("%s: %v, want a permissions violation", what, err)
		}
	case <-time.After(patience):
		t.Errorf("%s: allowed", what)
	}
}

// TestNativeRefused: who has no good token gets no connection, and the refusal is counted.
func TestNativeRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", nil)
	for name, opts := range map[string][]nats.Option{
		"nothing":         nil,
		"garbage":         {nats.Token("garbage")},
		"wrong signature": {nats.Token(token(t, "kim") + "x")},
		"expired":         {nats.Token(token(t, "kim", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}))},
		"wrong password":  {nats.UserInfo("app", "wrong-password-0123456789")},
		"no password":     {nats.UserInfo("app", "")},
		"route user":      {nats.UserInfo("gatecast", clusterToken)},
	} {
		nc, err := nats.Connect("nats://"+n.nats, append(opts, nats.NoReconnect(), nats.Timeout(patience))...)
		if err == nil {
			nc.Close()
			t.Errorf("%s: connected", name)
			continue
		}
		if !errors.Is(err, nats.ErrAuthorization) && !strings.Contains(err.Error(), "uthoriz") {
			t.Errorf("%s: %v, want an authorization error", name, err)
		}
	}
	log := n.logs.String()
	for _, secret := range []string{"wrong-password-0123456789", token(t, "kim")[:30]} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows the credential %q", secret)
		}
	}
}

// TestDenyThroughBothDoors: allowed chat.> but denied chat.private.>, a user hears nothing of the latter by any
// pattern, and says nothing to it.
func TestDenyThroughBothDoors(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, nil)
	app := service(t, nodes[1])
	violations := make(chan error, 100)
	nc := native(t, nodes[0], "kim", token(t, "kim"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case violations <- err:
		default:
		}
	}))
	var subs []*nats.Subscription
	for _, p := range []string{
		"gc.g.*.chat.>", "gc.g.*.chat.*", "gc.g.*.chat.*.*", "gc.g.*.chat.*.>", "gc.g.*.chat.private.>", "gc.g.*.chat.private.*", "gc.g.*.chat.private.1",
		"gc.g.00.chat.>", "gc.g.*.chat.*.1", "gc.*.*.chat.private.1", "*.*.*.chat.private.>", "gc.>", ">",
	} {
		if sub, err := nc.SubscribeSync(p); err == nil {
			subs = append(subs, sub)
		}
		if sub, err := nc.QueueSubscribeSync(p, "q"); err == nil {
			subs = append(subs, sub)
		}
	}
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	heard := subs[0] // gc.g.*.chat.>
	s := dialUser(t, nodes[0], "kim")
	s.add("chat.open")
	for _, name := range []string{"chat.private.1", "chat.private.a.b", "chat.private.x"} {
		s.refused("forbidden", msg{"op": "group_add", "group": name})
		s.refused("forbidden", msg{"op": "group_send", "group": name, "data": 1})
	}
	// The fence: private messages, then an open one that must arrive by both doors.
	for _, name := range []string{"chat.private.1", "chat.private.a.b", "chat.private.x"} {
		if answer := ingress(t, app, "gc.in."+name, []byte(`"private"`)); answer["ok"] != true {
			t.Fatalf("ingress answered %v", answer)
		}
	}
	if answer := ingress(t, app, "gc.in.chat.open", []byte(`"open"`)); answer["ok"] != true {
		t.Fatalf("ingress answered %v", answer)
	}
	s.wantData("chat.open", "open")
	s.quiet()
	m, err := heard.NextMsg(patience)
	if err != nil {
		t.Fatalf("the native user does not hear chat.open: %v", err)
	}
	if string(m.Data) != `"open"` {
		t.Errorf("heard %q on %s", m.Data, m.Subject)
	}
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	for _, sub := range subs {
		for {
			n, _, err := sub.Pending()
			if err != nil || n == 0 {
				break
			}
			m, err := sub.NextMsg(time.Second)
			if err != nil {
				break
			}
			if strings.Contains(m.Subject, "private") {
				t.Errorf("%s heard %q on %s", sub.Subject, m.Data, m.Subject)
			}
		}
	}
}

// TestNoDeputy: a reply subject is where a node would publish with its own rights. Only inboxes are answered.
func TestNoDeputy(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		nodes := startCluster(t, 2, nil)
		a := nodes[0]
		testNoDeputy(t, nodes, service(t, a), native(t, a, "kim", token(t, "kim")), subscribe(t, spy(t, nodes[1]), "gc.g.*.>"))
	})
	t.Run("external", func(t *testing.T) {
		port := freePort(t)
		startOrders(t, role(t, "broker", strconv.Itoa(port)))
		nodes := []*node{startNode(t, "a", externalConf(port)), startNode(t, "b", externalConf(port))}
		for _, n := range nodes {
			n.waitPeers(2)
			n.nats = fmt.Sprintf("127.0.0.1:%d", port)
		}
		// Here one credential may do everything, so that the spy sees every subject there is.
		a := nodes[0]
		testNoDeputy(t, nodes, service(t, a), service(t, a, nats.CustomInboxPrefix("_INBOX_kim")), subscribe(t, service(t, a), ">"))
	})
}

func testNoDeputy(t *testing.T, nodes []*node, app, kim *nats.Conn, heard *nats.Subscription) {
	before := nodes[0].metrics()
	victim := dialUser(t, nodes[1], "victim")
	victim.add("room.victim")
	member := dialUser(t, nodes[1], "member")
	member.add("room.target")
	// Each way to ask, with the reply subjects that it may not name.
	bad := []string{
		"gc.ctl.drain", "gc.ctl.disconnect", "gc.ctl.hello", "gc.ctl.sync.b", "gc.g.00.room.victim", "gc.g.07.room.victim", "gc.in.room.victim",
		"gc.uin.kim.room.victim", "gc.h.00.room.victim", "gc.ch.x", "gc.asgi.x", "$JS.API.STREAM.CREATE.X", "$JS.API.INFO", "$SYS.REQ.SERVER.PING",
		"_INBOX", "_INBOXX.y", "_inbox.y", "foo", "foo.bar", "_INBOX_ada.abc", "_INBOX_kimberly.abc",
	}
	asks := []struct {
		nc      *nats.Conn
		subject string
		body    string
		bad     []string
	}{
		{app, "gc.in.room.target", `{"user":"nobody"}`, append([]string{"_INBOX_kim.x"}, bad...)},
		{app, "gc.ctl.revalidate", `{"user":"nobody"}`, append([]string{"_INBOX_kim.x"}, bad...)},
		{kim, "gc.uin.kim.room.target", `{"user":"nobody"}`, append([]string{"_INBOX.abc"}, bad...)},
	}
	asked := map[string]bool{}
	for _, ask := range asks {
		for _, reply := range ask.bad {
			m := nats.NewMsg(ask.subject)
			m.Reply, m.Data = reply, []byte(ask.body)
			if err := ask.nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
			asked[reply] = true
		}
	}
	// The fence: honest requests behind all of these are answered, so the others were handled.
	for _, ask := range asks {
		if answer := ingress(t, ask.nc, ask.subject, []byte(ask.body)); answer["ok"] != true {
			t.Fatalf("%s answered %v", ask.subject, answer)
		}
	}
	// An answer says ok; none was put anywhere but into an inbox that may have it.
	for end := time.Now().Add(patience); ; {
		m, err := heard.NextMsg(500 * time.Millisecond)
		if err != nil {
			if !errors.Is(err, nats.ErrTimeout) || time.Now().After(end) {
				t.Fatal(err)
			}
			break
		}
		if asked[m.Subject] && strings.Contains(string(m.Data), `"ok"`) {
			t.Errorf("an answer %q was put on %s", m.Data, m.Subject)
		}
		if time.Now().After(end) {
			break // heartbeats go on for ever
		}
		if strings.HasPrefix(m.Subject, "gc.ctl.") && time.Until(end) < patience-3*time.Second {
			break
		}
	}
	victim.quiet()
	for _, n := range nodes {
		if status, body, err := n.get("/readyz"); err != nil || status != 200 {
			t.Errorf("node %s: %d %s %v; was it drained?", n.name, status, body, err)
		}
	}
	grown := func() (total float64) {
		for _, n := range nodes {
			total += n.metrics().sum(metricBadReplies)
		}
		return total - before.sum(metricBadReplies)
	}
	eventually(t, patience, func() string { return fmt.Sprintf("%s grew by %v", metricBadReplies, grown()) }, func() bool { return grown() > 0 })
}

// metricBadReplies counts requests whose reply subject is no inbox of the asker.
const metricBadReplies = "gatecast_broker_refused_replies_total"
