package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// revocationConf has nodes that know a login by heart, and look at it again only when they are told.
var revocationConf = conf{
	"authn.cache_ttl": "30s", "authn.revalidate": "1h", "server.limits.conns_per_address": 0, "server.limits.handshakes_per_second": 0,
	"grants": []conf{
		{"to": "authenticated", "subscribe": []string{"chat.>"}, "publish": []string{"chat.>"}},
		{"to": "group:Editors", "join": []string{"desk"}, "subscribe": []string{"drafts.>"}},
		{"to": "perm:auth.add_group", "subscribe": []string{"users"}},
	},
}

// TestRevocation: what Django's signals say of a login reaches its sockets on every node, and once one of them is closed no node takes the old cookie again,
// though every node had the login in its cache. The log has the times, of which `-v` shows the summary; they are no condition, for the machine may be busy.
func TestRevocation(t *testing.T) {
	heavy(t)
	t.Parallel()
	p := newPair(t, siteOptions{release: releases[len(releases)-1], postgres: pgtest.Start(t), atomic: true, apps: "jwt"}, usersConf)
	t.Run("logout", func(t *testing.T) { testLogouts(t, p) })
	t.Run("logout that rolls back", func(t *testing.T) { testLogoutRollsBack(t, p) })
	testChanges(t, p, 40)
	t.Run("tokens", func(t *testing.T) { testUsersOfTokens(t, p) })
	t.Run("users that cannot be asked", func(t *testing.T) { testUsersThatCannotBeAsked(t, p) })
	t.Run("a thousand members", func(t *testing.T) { testThousandMembers(t, p) })
	t.Run("a node that hangs", func(t *testing.T) { testLogoutAtANodeThatHangs(t, p) })
}

// TestRevocationOfOldDjango: the same of the oldest Django there is, and of users with other keys, in another table.
func TestRevocationOfOldDjango(t *testing.T) {
	heavy(t)
	t.Parallel()
	p := newPair(t, siteOptions{release: djangos[0], customUser: true, apps: "jwt"}, usersConf)
	testChanges(t, p, 4)
	t.Run("tokens", func(t *testing.T) { testUsersOfTokens(t, p) })
}

func testChanges(t *testing.T, p *pair, trials int) {
	for _, test := range []struct{ name, reason string }{
		{"password", "hash_mismatch"}, {"deactivation", "inactive"}, {"deletion", "unknown_user"}, {"session", "revoked"},
	} {
		t.Run(test.name, func(t *testing.T) { testEnds(t, p, test.name, test.reason, trials) })
	}
	for _, name := range []string{"permission", "membership"} {
		t.Run(name, func(t *testing.T) { testLosses(t, p, name, trials) })
	}
}

// visitor is a user who is logged in, with a socket on each node.
type visitor struct {
	id, name, session string
	sockets           []*socket
}

// crowd makes users who are logged in at the site; connect gives them their sockets.
func (p *pair) crowd(t *testing.T, name string, count int, more map[string]any) []*visitor {
	t.Helper()
	order := map[string]any{"do": "crowd", "name": name, "count": count}
	for k, v := range more {
		order[k] = v
	}
	var all []*visitor
	for _, one := range p.people.do(order)["people"].([]any) {
		m := msg(one.(map[string]any))
		v := &visitor{id: m.str("id"), name: m.str("name"), session: m.str("session")}
		p.secrets = append(p.secrets, v.session)
		all = append(all, v)
	}
	return all
}

func (v *visitor) connect(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		s := dialSession(t, n, v.session)
		if s.user != v.id {
			t.Fatalf("welcome on node %s says user %q, want %q", n.name, s.user, v.id)
		}
		v.sockets = append(v.sockets, s)
	}
}

// keepsOut dials both nodes with a cookie and returns an error if one of them lets it in, be it for a moment.
func (p *pair) keepsOut(session string) error {
	for _, n := range []*node{p.a, p.b} {
		s, err := tryDial(n.addr, "/ws", cookieHeader(n, session))
		var r *rejected
		if errors.As(err, &r) && r.Status == http.StatusUnauthorized {
			continue
		}
		if err != nil {
			return fmt.Errorf("dial node %s: %w", n.name, err)
		}
		m, err := s.tryNext(time.Now().Add(patience))
		s.conn.Close()
		if err != nil || m.op() != "error" || m.code() != "unauthorized" {
			return fmt.Errorf("node %s answers the old cookie with %v %v, want an error", n.name, m, err)
		}
	}
	return nil
}

// trials are users whose sockets end. If the machine holds a node up, the other does not wait for it for ever, and its log says so: then the old cookie may be
// let in for a moment, which is excused.
type trials struct {
	p       *pair
	a, b    int          // how many lines the nodes' logs had before
	excused atomic.Int32 // users
}

func (p *pair) trials() *trials {
	x := &trials{p: p}
	x.begin()
	return x
}

// begin is to be called before what ends the sockets.
func (x *trials) begin() { x.a, x.b = x.p.a.logs.len(), x.p.b.logs.len() }

// heldUp tells whether a node did not wait for the other since the trials began.
func (x *trials) heldUp() bool {
	onA, _ := x.p.a.logs.since(x.a)
	onB, _ := x.p.b.logs.since(x.b)
	return slices.ContainsFunc(slices.Concat(onA, onB), func(line string) bool { return strings.Contains(line, "did not confirm in time") })
}

// fewExcused fails if more than one in twenty trials was excused; of a few trials one may be.
func (x *trials) fewExcused(t *testing.T, of int) {
	t.Helper()
	if n := int(x.excused.Load()); n > max(1, of/20) {
		t.Errorf("%d of %d trials were excused because a node was held up: that is no accident", n, of)
	}
}

// ends waits until every socket of v is closed with 4401, and comes back at each close at once, to both nodes, which must not let it in. It returns the time of
// the last close.
func (x *trials) ends(v *visitor) (last time.Time, err error) {
	p := x.p
	var mu sync.Mutex
	var wg sync.WaitGroup
	excused := false
	for _, s := range v.sockets {
		wg.Go(func() {
			c, e := s.tryEnd()
			now := time.Now()
			if e == nil && c.Code != 4401 {
				e = fmt.Errorf("ended with %v, want 4401", c)
			}
			excuse := false
			if e == nil {
				if e = p.keepsOut(v.session); e != nil && x.heldUp() {
					p.t.Logf("the machine held a node up for longer than the others wait for it: user %s: %v", v.name, e)
					e, excuse = nil, true
				}
			}
			mu.Lock()
			defer mu.Unlock()
			excused = excused || excuse
			if now.After(last) {
				last = now
			}
			if e != nil {
				err = fmt.Errorf("user %s: %w", v.name, e)
			}
		})
	}
	wg.Wait()
	if excused {
		x.excused.Add(1)
	}
	return last, err
}

// each runs f for every visitor at once, and wants no error.
func each(t *testing.T, all []*visitor, f func(i int, v *visitor) error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, v := range all {
		wg.Go(func() { errs[i] = f(i, v) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// summary logs how long something took, at the median and so on.
func summary(t *testing.T, what string, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	at := func(q float64) time.Duration {
		return took[int(q*float64(len(took)-1)+0.5)].Round(100 * time.Microsecond)
	}
	t.Logf("%s, %d trials: p50 %v, p99 %v, longest %v", what, len(took), at(0.5), at(0.99), at(1))
}

// departure is a logout whose transaction goes on until finish.
type departure struct {
	conn net.Conn
	br   *bufio.Reader
}

// depart asks the site to log a session out, and holds back the last byte of the request.
func (s *site) depart(session string) (*departure, error) {
	conn, err := net.DialTimeout("tcp", s.addr, patience)
	if err != nil {
		return nil, err
	}
	csrf := strings.Repeat("c", 32)
	_, err = fmt.Fprintf(conn, "PUT /leave/ HTTP/1.1\r\nHost: %s\r\nCookie: sessionid=%s; csrftoken=%s\r\nX-CSRFToken: %s\r\nContent-Length: 2\r\nConnection: close\r\n\r\n",
		s.addr, session, csrf, csrf)
	return &departure{conn: conn, br: bufio.NewReader(conn)}, err
}

// finish sends the body: "ok", or "no" for a logout that rolls back. It returns when the site logged the session out, by its clock, which is ours.
func (d *departure) finish(body string) (began time.Time, err error) {
	defer d.conn.Close()
	d.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(d.conn, body); err != nil {
		return began, err
	}
	res, err := http.ReadResponse(d.br, nil)
	if err != nil {
		return began, err
	}
	defer res.Body.Close()
	if body == "no" && res.StatusCode == http.StatusNotFound {
		return began, nil
	}
	var said struct{ Began float64 }
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil || res.StatusCode != http.StatusOK {
		return began, fmt.Errorf("the logout ended with %d %w", res.StatusCode, err)
	}
	return time.UnixMicro(int64(said.Began * 1e6)), nil
}

// rows tells how many of the sessions the site's table has, as others see it.
func (p *pair) rows(all []*visitor) int {
	var keys []string
	for _, v := range all {
		keys = append(keys, v.session)
	}
	return msg(p.people.do(map[string]any{"do": "rows", "sessions": keys})).num("rows")
}

func testLogouts(t *testing.T, p *pair) {
	const trials, batch = 200, 10 // a batch is no larger than the backlog of Django's development server: the next would wait a second for its SYN
	var took []time.Duration
	x := p.trials()
	for b := range trials / batch {
		all := p.crowd(t, fmt.Sprintf("leaver%d-", b), batch, nil)
		departures, ended, times := make([]*departure, batch), make([]time.Time, batch), make([]time.Duration, batch)
		for _, v := range all {
			v.connect(t, p.a, p.b)
		}
		x.begin()
		each(t, all, func(i int, v *visitor) (err error) {
			if departures[i], err = p.depart(v.session); err != nil {
				return err
			}
			ended[i], err = x.ends(v)
			return err
		})
		if rows := p.rows(all); rows != batch {
			t.Fatalf("the table has %d of %d sessions while the logouts' transactions go on: the trial proves nothing", rows, batch)
		}
		each(t, all, func(i int, v *visitor) error {
			for range 3 {
				if err := p.keepsOut(v.session); err != nil {
					return fmt.Errorf("before the commit: %w", err)
				}
			}
			began, err := departures[i].finish("ok")
			if err != nil {
				return err
			}
			times[i] = ended[i].Sub(began)
			if err := p.keepsOut(v.session); err != nil {
				return fmt.Errorf("after the commit: %w", err)
			}
			return nil
		})
		took = append(took, times...)
		if rows := p.rows(all); rows != 0 {
			t.Fatalf("the table has %d sessions after the logouts", rows)
		}
	}
	x.fewExcused(t, trials)
	summary(t, "from the logout in Django to the close on both nodes", took)
}

// A logout that rolls back was told all the same: Gatecast refuses the session, which Django still knows, and takes the next login.
func testLogoutRollsBack(t *testing.T, p *pair) {
	v := p.crowd(t, "stayer", 1, nil)[0]
	v.connect(t, p.a, p.b)
	x := p.trials()
	d, err := p.depart(v.session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.ends(v); err != nil {
		t.Fatal(err)
	}
	if _, err := d.finish("no"); err != nil {
		t.Fatal(err)
	}
	if rows := p.rows([]*visitor{v}); rows != 1 {
		t.Fatalf("the table has %d rows of the session, want it back", rows)
	}
	p.refusedEverywhere(t, withCookie(v.session), "revoked")
	session := p.browser().login(v.name, "a password")
	p.secrets = append(p.secrets, session)
	dialSession(t, p.a, session).leave()
}

func testEnds(t *testing.T, p *pair, name, reason string, trials int) {
	all := p.crowd(t, name, trials, nil)
	times := make([]time.Duration, trials)
	for _, v := range all {
		v.connect(t, p.a, p.b)
	}
	orders := map[string]func(v *visitor) map[string]any{
		"password": func(v *visitor) map[string]any {
			return map[string]any{"do": "password", "username": v.name, "password": "another"}
		},
		"deactivation": func(v *visitor) map[string]any {
			return map[string]any{"do": "set", "username": v.name, "is_active": false}
		},
		"deletion": func(v *visitor) map[string]any { return map[string]any{"do": "delete", "username": v.name} },
		"session":  func(v *visitor) map[string]any { return map[string]any{"do": "flush", "session": v.session} },
	}
	began := make([]time.Time, trials)
	x := p.trials()
	done := make(chan struct{})
	go func() { // ends with its orders; one at a time, for the people command is one process
		defer close(done)
		for i, v := range all {
			began[i] = time.Now()
			p.people.do(orders[name](v))
		}
	}()
	ended := make([]time.Time, trials)
	each(t, all, func(i int, v *visitor) (err error) {
		ended[i], err = x.ends(v)
		return err
	})
	<-done
	x.fewExcused(t, trials)
	for i := range all {
		times[i] = ended[i].Sub(began[i])
	}
	summary(t, "from the change ("+name+") to the close on both nodes", times)
	p.refusedEverywhere(t, withCookie(all[0].session), reason)
}

// testLosses: who loses a right leaves the groups that it gave, and keeps the socket.
func testLosses(t *testing.T, p *pair, name string, trials int) {
	more, groups := map[string]any{"perms": []string{"auth.add_group"}}, []string{"users"}
	if name == "membership" {
		more, groups = map[string]any{"groups": []string{"Editors"}}, []string{"desk", "drafts.1"}
	}
	all := p.crowd(t, name, trials, more)
	var times []time.Duration
	for _, v := range all {
		v.connect(t, p.a, p.b)
		for _, s := range v.sockets {
			s.add("chat.1")
			for _, g := range groups {
				s.add(g)
			}
		}
		order := map[string]any{"do": "take", "username": v.name, "perm": "auth.add_group"}
		if name == "membership" {
			order = map[string]any{"do": "part", "username": v.name, "group": "Editors"}
		}
		began := time.Now()
		p.people.do(order)
		for _, s := range v.sockets {
			gone := map[string]bool{}
			for range groups {
				gone[s.must("group_discarded").str("group")] = true
			}
			for _, g := range groups {
				if !gone[g] {
					t.Fatalf("discarded %v, want %v", gone, groups)
				}
			}
		}
		times = append(times, time.Since(began))
		for _, s := range v.sockets {
			s.refused("forbidden", msg{"op": "group_add", "group": groups[0]})
			s.ok(msg{"op": "group_discard", "group": "chat.1"}) // the conn and what it was granted otherwise are as before
			s.leave()
		}
	}
	summary(t, "from the loss of a "+name+" to group_discarded on both nodes", times)
}

// testThousandMembers: a Django group of 1,000 users, each with a socket, loses a permission.
func testThousandMembers(t *testing.T, p *pair) {
	const members = 1000
	p.people.do(map[string]any{"do": "give", "group": "Crowd", "perm": "auth.add_group"})
	all := p.crowd(t, "member", members, map[string]any{"groups": []string{"Crowd"}})
	enter := func(i int, v *visitor) error {
		n := []*node{p.a, p.b}[i%2]
		s, err := tryDial(n.addr, "/ws", cookieHeader(n, v.session))
		if err != nil {
			return err
		}
		t.Cleanup(func() { s.conn.Close() })
		v.sockets = append(v.sockets, s)
		if r, err := s.tryAsk(msg{"op": "group_add", "group": "users"}); err != nil || r.op() != "ok" {
			return fmt.Errorf("group_add: %v %w", r, err)
		}
		return nil
	}
	for batch := range slices.Chunk(all, 100) { // each is a look-up
		each(t, batch, enter)
	}
	began := time.Now()
	p.people.do(map[string]any{"do": "take", "group": "Crowd", "perm": "auth.add_group"})
	took := make([]time.Duration, members)
	each(t, all, func(i int, v *visitor) error {
		m, err := v.sockets[0].tryFind(func(m msg) bool { return m.op() == "group_discarded" })
		took[i] = time.Since(began)
		if err != nil || m.str("group") != "users" {
			return fmt.Errorf("user %s got %v %w, want group_discarded of users", v.name, m, err)
		}
		return nil
	})
	summary(t, "from the loss of a group's permission to group_discarded", took)
}

// testLogoutAtANodeThatHangs: the site's only address is a node that is stopped. Its logouts go on, and are told when the node goes on; or, if that took so long
// that the nodes had given each other up, they are found by the look at all logins when the nodes meet again.
func testLogoutAtANodeThatHangs(t *testing.T, p *pair) {
	all := p.crowd(t, "patient", 3, nil)
	for _, v := range all {
		v.connect(t, p.a, p.b)
	}
	x := p.trials() // all may be excused: a node is held up
	p.b.signal(sigstop)
	t.Cleanup(func() { p.b.cmd.Process.Signal(sigcont) })
	began := time.Now()
	for _, v := range all { // one after the other: only the first waits
		d, err := p.depart(v.session)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.finish("ok"); err != nil {
			t.Fatalf("while the cluster hangs: %v", err)
		}
	}
	t.Logf("%d logouts while the node hangs took %v", len(all), time.Since(began).Round(time.Millisecond))
	p.b.signal(sigcont)
	each(t, all, func(_ int, v *visitor) error {
		_, err := x.ends(v)
		return err
	})
}
