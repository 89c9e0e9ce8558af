package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// startTickets starts a site and three nodes of a cluster that take its tickets; the third answers refusals by HTTP.
func startTickets(t *testing.T, extra conf) (*site, []*node) {
	t.Helper()
	natsA := freeAddr(t)
	s := newSite(t, siteOptions{release: releases[1], nats: "nats://" + natsA})
	s.serve()
	c := conf{
		"authn.chain": []string{"django", "ticket"}, "authn.carriers": []string{"cookie", "header", "subprotocol", "query", "message"},
		"authn.jwt.secret": nil, "authn.cache_ttl": "30s", "log.level": "debug",
		"grants": []conf{
			{"to": "authenticated", "subscribe": []string{"chat.>"}, "publish": []string{"chat.>"}},
			{"to": "perm:auth.add_user", "join": []string{"adders"}}, {"to": "perm:auth.delete_user", "join": []string{"deleters"}},
		},
	}
	routes := []string{"nats://" + freeAddr(t), "nats://" + freeAddr(t), "nats://" + freeAddr(t)}
	var nodes []*node
	for i, name := range []string{"a", "b", "c"} {
		own := extra.over(c.over(s.gatecastConf().over(clusterConf(routes, i))))
		switch name {
		case "a":
			own["broker.listen"] = natsA
		case "c":
			own["authn.reject"] = "http"
		}
		nodes = append(nodes, launchNode(t, name, own))
	}
	for _, n := range nodes {
		n.waitReady()
		n.waitPeers(3)
	}
	ready := time.Now().Unix()
	eventually(t, patience, func() string { return "the next second did not begin" }, func() bool {
		return time.Now().Unix() > ready // a node vouches for tickets from the second after it began
	})
	return s, nodes
}

func (s *site) tickets(username string, count int, options ...any) []string {
	order := map[string]any{"do": "tickets", "username": username, "count": count}
	for i := 0; i+1 < len(options); i += 2 {
		order[options[i].(string)] = options[i+1]
	}
	var tickets []string
	for _, ticket := range s.people.do(order)["tickets"].([]any) {
		tickets = append(tickets, ticket.(string))
	}
	return tickets
}

func byQuery(ticket string) string { return "/ws?token=" + url.QueryEscape(ticket) }

// TestTickets: a ticket of the real site opens one socket of a cluster, by any carrier, and ends with the session it was made in.
func TestTickets(t *testing.T) {
	heavy(t)
	t.Parallel()
	s, nodes := startTickets(t, nil)
	ada := s.create("ada", password, map[string]any{"perms": []string{"auth.add_user"}})
	var all []string
	t.Cleanup(func() {
		for _, n := range nodes {
			for _, ticket := range all {
				if strings.Contains(n.logs.String(), ticket[strings.LastIndex(ticket, ":")+1:]) {
					t.Errorf("the log of node %s shows a ticket", n.name)
				}
			}
		}
	})
	page := func(b *browser) string {
		var answer struct{ Ticket string }
		if err := json.Unmarshal([]byte(b.get("/ticket/")), &answer); err != nil {
			t.Fatal(err)
		}
		all = append(all, answer.Ticket)
		return answer.Ticket
	}

	t.Run("a session's", func(t *testing.T) {
		b := s.browser()
		b.login("ada", password)
		first := page(b)
		sock := dialRaw(t, nodes[0], byQuery(first), nil)
		w := sock.must("welcome")
		if groups := w["groups"].([]any); w.str("user") != ada || len(groups) != 2 || groups[1] != "adders" || w.num("expires") == 0 {
			t.Errorf("welcome is %v, want user %s in adders, until the session ends", w, ada)
		}
		for _, n := range nodes[:2] {
			refusedClose(t, n, byQuery(first), nil, 4401, "unauthorized")
			n.logs.waitLine(t, 0, "handshake refused", "ticket_used")
		}
		refusedHTTP(t, nodes[2], byQuery(first), nil, http.StatusUnauthorized)
		unused := page(b)
		b.logout()
		sock.wantClosed(4401)
		refusedClose(t, nodes[1], byQuery(unused), nil, 4401, "unauthorized")
	})

	t.Run("carriers", func(t *testing.T) {
		tickets := s.tickets("ada", 3)
		all = append(all, tickets...)
		dir := t.TempDir()
		path := nodes[1].conf.write(t, dir)
		for range 2 { // it tells who that is, and uses nothing up
			if code, out := cli(t, dir, "session", "check", "-config", path, "-token", tickets[0]); code != 0 || !strings.Contains(out, `accepted: user "`+ada+`"`) {
				t.Errorf("session check -token ends with %d and says\n%s", code, out)
			}
		}
		dial(t, nodes[1], bearer(tickets[0])).leave()
		dial(t, nodes[1], header{"Sec-WebSocket-Protocol: gatecast.v1, bearer64." + base64.RawURLEncoding.EncodeToString([]byte(tickets[1]))}).leave()
		sock := dialRaw(t, nodes[1], "/ws", nil)
		sock.ok(msg{"op": "auth", "token": tickets[2]})
		sock.must("welcome")
		sock.refused("unauthorized", msg{"op": "auth", "token": tickets[2]})
		refusedClose(t, nodes[1], "/ws", bearer(tickets[0][:len(tickets[0])-3]+"AAA"), 4401, "unauthorized")
	})

	t.Run("by NATS", func(t *testing.T) {
		b := s.browser()
		b.login("ada", password)
		first, unused := page(b), page(b)
		gone := make(chan struct{})
		nc := native(t, nodes[0], ada, first, nats.ClosedHandler(func(*nats.Conn) { close(gone) }))
		sub := subscribe(t, nc, "gc.g.*.adders")
		if answer := ingress(t, service(t, nodes[1]), "gc.in.adders", []byte(`"hi"`)); answer["ok"] != true {
			t.Fatalf("gc.in.adders answered %v", answer)
		}
		if m, err := sub.NextMsg(patience); err != nil || string(m.Data) != `"hi"` {
			t.Fatalf("NextMsg = %v, %v", m, err)
		}
		refused := func(n *node, ticket, reason string) {
			t.Helper()
			if nc, err := nats.Connect("nats://"+n.nats, nats.Token(ticket)); err == nil {
				nc.Close()
				t.Errorf("node %s lets it in, want %s", n.name, reason)
			}
			n.logs.waitLine(t, 0, "native user refused", "reason", reason)
		}
		refused(nodes[0], first, "ticket_used")
		refused(nodes[1], first, "ticket_used")
		b.logout()
		select {
		case <-gone:
		case <-time.After(patience):
			t.Error("the NATS connection outlives its session")
		}
		refused(nodes[1], unused, "revoked")
	})

	t.Run("grants of its own", func(t *testing.T) {
		ticket := s.tickets("ada", 1, "grants", map[string]any{"join": []string{"room.7"}, "publish": []string{"room.7"}})[0]
		sock := dial(t, nodes[0], bearer(ticket))
		sock.groupSend("room.7", "x")
		sock.wantData("room.7", "x")
		sock.refused("forbidden", msg{"op": "group_add", "group": "room.8"})
	})

	t.Run("too old", func(t *testing.T) {
		ticket := s.tickets("ada", 1, "max_age", 1)[0]
		made := time.Now()
		eventually(t, patience, func() string { return "time stands still" }, func() bool { return time.Since(made) > 2*time.Second })
		refusedClose(t, nodes[0], byQuery(ticket), nil, 4401, "unauthorized")
		nodes[0].logs.waitLine(t, 0, "handshake refused", "expired")
	})

	// 60 tickets, each shown to all three nodes at the same moment: none is taken twice.
	t.Run("one of all nodes", func(t *testing.T) {
		tickets := s.tickets("ada", 60)
		accepted := make([]int, len(tickets))
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i, ticket := range tickets {
			for _, n := range nodes {
				wg.Go(func() {
					sock, err := tryDial(n.addr, byQuery(ticket), nil)
					var r *rejected
					if errors.As(err, &r) && r.Status == http.StatusUnauthorized {
						return
					}
					if err != nil {
						t.Errorf("dial: %v", err)
						return
					}
					defer sock.conn.Close()
					sock.t = t
					if m, err := sock.tryNext(time.Now().Add(patience)); err == nil && m.str("op") == "welcome" {
						mu.Lock()
						accepted[i]++
						mu.Unlock()
					}
				})
			}
		}
		wg.Wait()
		once := 0
		for i, n := range accepted {
			if n > 1 {
				t.Errorf("ticket %d opened %d sockets", i, n)
			}
			once += n
		}
		if once < len(tickets)/10 { // some are lost where three claims meet (ADR 21)
			t.Errorf("%d of %d tickets were taken; at one moment some may be lost, not nearly all", once, len(tickets))
		}
		t.Logf("%d of %d tickets, each used on three nodes at once, opened one socket", once, len(tickets))
	})

	t.Run("a node that cannot be asked", func(t *testing.T) {
		tickets := s.tickets("ada", 2)
		nodes[1].signal(sigstop)
		began := time.Now()
		if c := refusedClose(t, nodes[0], byQuery(tickets[0]), nil, 4100, "unavailable"); c.Op["retry"] == nil {
			t.Errorf("ended with %v, want a retry hint", c)
		}
		t.Logf("refused after %v", time.Since(began))
		nodes[1].signal(sigcont)
		nodes[0].waitPeers(3)
		refusedClose(t, nodes[0], byQuery(tickets[0]), nil, 4401, "unauthorized")
	})

	t.Run("a node that begins after a logout", func(t *testing.T) {
		s.create("bob", password, nil)
		b := s.browser()
		b.login("bob", password)
		before, after := page(b), page(b)
		dialRaw(t, nodes[1], byQuery(before), nil).must("welcome")
		unused := page(b)
		nodes[1].kill()
		b.logout()
		nodes[1] = nodes[1].again()
		nodes[1].waitPeers(3)
		refusedClose(t, nodes[1], byQuery(unused), nil, 4401, "unauthorized")
		nodes[1].logs.waitLine(t, 0, "handshake refused", "revoked")
		refusedClose(t, nodes[1], byQuery(after), nil, 4401, "unauthorized")
		refusedClose(t, nodes[1], byQuery(before), nil, 4401, "unauthorized")
		sock := dialRaw(t, nodes[1], byQuery(s.tickets("ada", 1)[0]), nil) // the others vouch for this one
		sock.must("welcome")
	})
}
