package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/nats-io/nats.go"
)

// doors are the two ways of one user: a socket, and a native NATS client.
type doors struct {
	t      *testing.T
	socket *socket
	nc     *nats.Conn
	id     string     // as a token of a subject
	denied chan error // what the server does not permit
}

// openDoors comes in by both with one token, by NATS to the first node and by a socket to the second.
func openDoors(t *testing.T, nodes []*node, id, token string, h header) *doors {
	t.Helper()
	d := &doors{t: t, id: id, denied: make(chan error, 100)}
	d.nc = native(t, nodes[0], id, token, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { d.denied <- err }))
	d.socket = dial(t, nodes[1], h)
	return d
}

// hears tells whether each door lets the user hear a group, by what comes of a message to it.
func (d *doors) hears(app *nats.Conn, group string) (bySocket, byNATS bool) {
	d.t.Helper()
	r := d.socket.ask(msg{"op": "group_add", "group": group})
	bySocket = r.op() == "ok"
	if !bySocket && r.code() != "forbidden" {
		d.t.Fatalf("group_add of %s answered %v", group, r)
	}
	sub, err := d.nc.SubscribeSync("gc.g.*." + group)
	if err != nil {
		d.t.Fatal(err)
	}
	defer sub.Unsubscribe()
	if err := d.nc.FlushTimeout(patience); err != nil {
		d.t.Fatal(err)
	}
	if answer := ingress(d.t, app, "gc.in."+group, []byte(`"hear"`)); answer["ok"] != true {
		d.t.Fatalf("gc.in.%s answered %v", group, answer)
	}
	if bySocket {
		d.socket.wantData(group, "hear")
		d.socket.ok(msg{"op": "group_discard", "group": group})
	}
	for {
		_, err := sub.NextMsg(20 * time.Millisecond)
		switch {
		case err == nil:
			return bySocket, true
		case !errors.Is(err, nats.ErrTimeout):
			d.t.Fatalf("wait for %s: %v", group, err)
		}
		select {
		case <-d.denied:
			return bySocket, false
		default:
		}
	}
}

// says tells whether each door lets the user send to a group.
func (d *doors) says(group string) (bySocket, byNATS bool) {
	d.t.Helper()
	r := d.socket.ask(msg{"op": "group_send", "group": group, "data": 1})
	bySocket = r.op() == "ok"
	if !bySocket && r.code() != "forbidden" {
		d.t.Fatalf("group_send to %s answered %v", group, r)
	}
	reply := d.nc.NewRespInbox()
	sub := subscribe(d.t, d.nc, reply)
	defer sub.Unsubscribe()
	if err := d.nc.PublishRequest("gc.uin."+d.id+"."+group, reply, []byte(`1`)); err != nil {
		d.t.Fatal(err)
	}
	for {
		m, err := sub.NextMsg(20 * time.Millisecond)
		switch {
		case err == nil && strings.HasPrefix(string(m.Data), `{"ok":true`):
			return bySocket, true
		case err == nil:
			d.t.Fatalf("gc.uin.%s.%s answered %s", d.id, group, m.Data)
		case !errors.Is(err, nats.ErrTimeout):
			d.t.Fatalf("wait for the answer to %s: %v", group, err)
		}
		select {
		case <-d.denied:
			return bySocket, false
		default:
		}
	}
}

// TestBothDoorsGrantTheSame: whatever a user's grants are made of, each group is heard and spoken to by both doors or by neither.
func TestBothDoorsGrantTheSame(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2, conf{"grants": []conf{
		{"to": "authenticated", "join": []string{"news.{kind}"}, "subscribe": []string{"chat.>", "team.*.board", "own.{id}"}, "publish": []string{"chat.*", "own.{id}"},
			"deny": []string{"chat.private.>", "chat.*.secret", "team.x.board"}},
		{"to": "user:root", "subscribe": []string{">"}, "publish": []string{">"}},
		{"to": "user:nobody", "deny": []string{">"}},
	}})
	app := service(t, nodes[0])
	groups := []string{
		"chat", "chat.1", "chat.1.2", "chat.private", "chat.private.1", "chat.1.secret", "chat.secret", "team.a.board", "team.x.board", "team.board", "team.a.b.board",
		"own.ann", "own.root", "own", "news.user", "news.staff", "user.ann", "user.root", "extra.1", "extra.2", "other",
	}
	for id, want := range map[string]struct{ hears, says string }{
		"ann": {"chat.1 chat.1.2 chat.private chat.secret team.a.board own.ann news.user user.ann extra.1", "chat.1 chat.private chat.secret own.ann extra.2"},
		"root": {"chat chat.1 chat.1.2 chat.private chat.secret team.a.board team.board team.a.b.board own.ann own.root own news.user news.staff user.ann user.root extra.1 extra.2 other",
			"chat chat.1 chat.1.2 chat.private chat.secret team.a.board team.board team.a.b.board own.ann own.root own news.user news.staff user.ann user.root extra.1 extra.2 other"},
		"nobody": {"", ""},
	} {
		t.Run(id, func(t *testing.T) {
			var claims jwt.MapClaims
			if id == "ann" {
				claims = jwt.MapClaims{"gatecast": map[string]any{"subscribe": []string{"extra.1"}, "publish": []string{"extra.2"}}}
			}
			tok := token(t, id, claims)
			d := openDoors(t, nodes, id, tok, bearer(tok))
			var hears, says []string
			for _, group := range groups {
				socket, nats := d.hears(app, group)
				if socket != nats {
					t.Errorf("%s hears %s by its socket: %v, by NATS: %v", id, group, socket, nats)
				}
				if socket {
					hears = append(hears, group)
				}
				if socket, nats = d.says(group); socket != nats {
					t.Errorf("%s says something to %s by its socket: %v, by NATS: %v", id, group, socket, nats)
				}
				if socket {
					says = append(says, group)
				}
			}
			if got := strings.Join(hears, " "); got != want.hears {
				t.Errorf("%s hears %s, want %s", id, got, want.hears)
			}
			if got := strings.Join(says, " "); got != want.says {
				t.Errorf("%s speaks to %s, want %s", id, got, want.says)
			}
		})
	}
}

// TestBothDoorsCloseTogether: what ends a user's socket ends its NATS connection too, on another node, and who is refused by one is
// refused by the other. The log has the times; they are no condition, for the machine may be busy.
func TestBothDoorsCloseTogether(t *testing.T) {
	heavy(t)
	t.Parallel()
	p := newPair(t, siteOptions{release: releases[1]}, nil)
	nodes := []*node{p.b, p.a} // a says why over the socket
	ids := map[string]string{"ada": p.create("ada", password, nil), "eve": p.create("eve", password, nil)}
	people := p.people
	for _, test := range []struct {
		name, user string
		code       int
		end        func(b *browser)
		back       bool // may it come in again
	}{
		{"logout", "ada", 4401, func(b *browser) { b.logout() }, false},
		{"disconnect", "ada", 4410, func(*browser) { people.do(map[string]any{"do": "disconnect", "username": "ada"}) }, true},
		{"changed password", "eve", 4401, func(*browser) {
			people.do(map[string]any{"do": "password", "username": "eve", "password": password})
			people.do(map[string]any{"do": "revalidate", "username": "eve"})
		}, false},
		{"deactivation", "eve", 4401, func(*browser) {
			people.do(map[string]any{"do": "set", "username": "eve", "is_active": false})
			people.do(map[string]any{"do": "revalidate", "username": "eve"})
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b, session := p.login(test.user)
			gone := make(chan struct{})
			d := openDoors(t, nodes, ids[test.user], session, cookieHeader(p.a, session))
			d.nc.SetClosedHandler(func(*nats.Conn) { close(gone) })
			test.end(b)
			began := time.Now()
			d.socket.wantClosed(test.code)
			select {
			case <-gone:
			case <-time.After(patience):
				t.Fatal("the NATS connection lives on")
			}
			t.Logf("both had ended after %v", time.Since(began))
			again, err := nats.Connect("nats://"+p.b.nats, nats.Token(session), nats.NoReconnect(), nats.Timeout(patience))
			if err == nil {
				again.Close()
			}
			if (err == nil) != test.back {
				t.Errorf("a native client with that login again: %v, want in = %v", err, test.back)
			}
		})
	}
}

// TestNativeGrantsFollowAReload: a native user's permissions are fixed when it connects. When the grants change it is thrown out and comes back by itself,
// to what it may now.
func TestNativeGrantsFollowAReload(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", nil)
	denied, back := make(chan error, 10), make(chan struct{}, 10)
	nc, err := nats.Connect("nats://"+n.nats, nats.Token(token(t, "kim")), nats.CustomInboxPrefix("_INBOX_kim"), nats.ReconnectWait(20*time.Millisecond),
		nats.MaxReconnects(-1), nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case denied <- err:
			default:
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	old := subscribe(t, nc, "gc.g.*.chat.1")
	violated(t, nc, denied, func() error { _, err := nc.SubscribeSync("gc.g.*.news.1"); return err }, "subscribe to news.1")
	n.reload(conf{"grants": []conf{{"to": "authenticated", "subscribe": []string{"news.>"}, "publish": []string{"news.>"}}}})
	select {
	case <-back:
	case <-time.After(patience):
		t.Fatal("the native user was not thrown out")
	}
	heard := subscribe(t, nc, "gc.g.*.news.2")
	for _, group := range []string{"chat.1", "news.2"} {
		n.groupSend(group, group)
	}
	if m, err := heard.NextMsg(patience); err != nil || string(m.Data) != `"news.2"` {
		t.Errorf("heard %v, %v, want news.2", m, err)
	}
	if m, err := old.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("heard %q on %s, which it may not hear any more", m.Data, m.Subject)
	}
}

// TestNativeExpiry: a native user's connection ends with its token.
func TestNativeExpiry(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", nil)
	tok := token(t, "kim", jwt.MapClaims{"exp": time.Now().Add(6 * time.Second).Unix()})
	gone := make(chan struct{})
	native(t, n, "kim", tok, nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
	s := dial(t, n, bearer(tok))
	s.wantClosed(4401)
	select {
	case <-gone:
	case <-time.After(patience):
		t.Error("the NATS connection outlives the token")
	}
}

// TestServiceIsLimited: a service speaks and hears as its credential says, and whatever that says, nothing of the server's own.
func TestServiceIsLimited(t *testing.T) {
	t.Parallel()
	const limited = "a-token-of-the-limited-service"
	n := startNode(t, "a", conf{"broker.services": []conf{
		{"name": "app", "token": serviceToken},
		{"name": "limited", "token": limited, "publish": []string{"gc.in.room.>"}, "subscribe": []string{"gc.g.*.room.>"}},
	}})
	member := dialUser(t, n, "kim")
	member.add("room.1")
	member.add("chat.1")
	denied := make(chan error, 100)
	nc := natsConn(t, n, nats.Token(limited), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	heard := subscribe(t, nc, "gc.g.*.room.>")
	if answer := ingress(t, nc, "gc.in.room.1", []byte(`"by the limited one"`)); answer["ok"] != true {
		t.Fatalf("gc.in.room.1 answered %v", answer)
	}
	member.wantData("room.1", "by the limited one")
	if m, err := heard.NextMsg(patience); err != nil || string(m.Data) != `"by the limited one"` {
		t.Fatalf("heard %v, %v", m, err)
	}
	for _, subject := range []string{
		"gc.in.chat.1", "gc.in.user.kim", "gc.uin.kim.room.1", "gc.g.00.room.1", "gc.h.00.room.1", "gc.ctl.disconnect", "gc.ctl.revalidate", "gc.ctl.group_add", "gc.ctl.hello",
		"$SYS.REQ.SERVER.PING", "$JS.API.INFO", "_INBOX.x", "_INBOX_kim.x",
	} {
		violated(t, nc, denied, func() error { return nc.Publish(subject, []byte(`{"user":"kim"}`)) }, "publish to "+subject)
	}
	for _, subject := range []string{
		"gc.g.*.>", "gc.g.*.chat.1", "gc.>", ">", "gc.in.room.>", "gc.uin.>", "gc.ctl.>", "$SYS.>", "$JS.>", "_INBOX_kim.>", "_INBOX_*.>",
	} {
		violated(t, nc, denied, func() error { _, err := nc.SubscribeSync(subject); return err }, "subscribe to "+subject)
	}
	member.quiet()
	if !nc.IsConnected() {
		t.Error("the service was thrown out for asking too much")
	}
	// Nothing else may be said in the config either.
	for _, subject := range []string{"$SYS.>", "gc.g.*.room.>", "gc.ctl.hello", "_INBOX_kim.>"} {
		c := nodeConf(t, "bad", conf{"broker.services": []conf{{"name": "bad", "token": limited, "publish": []string{subject}}}})
		dir := t.TempDir()
		if code, out := cli(t, dir, "config", "check", "-config", c.write(t, dir)); code == 0 {
			t.Errorf("config check accepts a service that publishes to %s: %s", subject, fmt.Sprint(out))
		}
	}
}
