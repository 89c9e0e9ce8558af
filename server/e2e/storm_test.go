//go:build linux

package e2e

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatecast/gatecast/authn/django/pgtest"
)

// stormVar is how many sockets TestStorm opens at once; make storm makes it 20,000.
const stormVar = "GATECAST_TEST_STORM"

// What a storm is made of.
const (
	socketsOfSession = 4 // two tabs on each node
	databaseConns    = 8 // of one node
	newcomers        = 20
)

// storm is a site on PostgreSQL, two nodes that trust it, and a crowd for each.
type storm struct {
	*site
	t        *testing.T
	pg       *pgtest.Server
	owner    *sql.DB // the site's database, for its owner
	nodes    []*node // the first may take as much as it can, the second so many handshakes a second
	sessions []string
	count    int // sockets of each node
	crowds   []*orders

	most atomic.Int64 // connections of the nodes that PostgreSQL has had at once
}

// TestStorm: everybody comes back at once, to two nodes. The database is asked by as many connections as it is said to be, once for each
// session and node; what is too much is told when to come back, and comes; in the end all are in. Then the same with a database that
// stops answering in the middle, and with one that dies: who was looked up before is let in, who was not is told to come back, at once when the first have waited, the nodes
// say what is wrong, and nobody has to do anything but to bring the database back.
func TestStorm(t *testing.T) {
	heavy(t)
	t.Parallel()
	all := 2000
	if s := os.Getenv(stormVar); s != "" {
		var err error
		if all, err = strconv.Atoi(s); err != nil || all < 400 || all > 30000 {
			t.Fatalf("%s=%s: it is a number from 400 to 30000", stormVar, s)
		}
	}
	s := newStorm(t, all)
	t.Run("cold", s.cold)
	s.bounded(2 * databaseConns)
	t.Run("database stopped", func(t *testing.T) { s.outage(t, "stopped", s.pg.Pause, s.pg.Resume) })
	s.bounded(4 * databaseConns) // when it goes on it ends those that were given up beside the new ones
	t.Run("database killed", func(t *testing.T) { s.outage(t, "killed", s.pg.Kill, s.pg.Restart) })
	s.bounded(2 * databaseConns)
}

// bounded tells how many connections to the database the nodes have had at most since it was last asked, and bounds them.
func (s *storm) bounded(want int64) {
	most := s.most.Swap(0)
	s.t.Logf("the nodes had %d connections to the database at most", most)
	if most > want || most == 0 {
		s.t.Errorf("the nodes had %d connections to the database at once, want at most %d, and some", most, want)
	}
}

func newStorm(t *testing.T, all int) *storm {
	s := &storm{t: t, pg: pgtest.Start(t), count: all / 2}
	s.site = newSite(t, siteOptions{release: releases[1], postgres: s.pg})
	s.sessions = s.logIn(all/socketsOfSession, "known")
	printed := s.gatecastConf()
	address := printed["authn.django.database"].(string)
	s.owner = openPostgres(t, address)
	// The nodes come as the user of the documentation, who may read the columns that are needed.
	for _, statement := range append([]string{"CREATE ROLE gatecast LOGIN"}, documentedGrants(t)...) {
		if _, err := s.owner.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	printed["authn.django.database"] = strings.Replace(address, "://postgres", "://gatecast", 1)
	s.watch()
	base := conf{
		"authn.chain": []string{"django"}, "authn.carriers": []string{"cookie"}, "authn.jwt.secret": nil, "log.level": "error",
		"authn.cache_ttl": "5m", "authn.revalidate": "0s", // sweeps look at sessions too
		"authn.django.database_conns": databaseConns, "server.ping": "10m",
	}
	routes := []string{"nats://" + freeAddr(t), "nats://" + freeAddr(t)}
	for i, limit := range []int{0, s.count / 10} {
		c := conf{"server.limits.handshakes_per_second": limit}.over(base.over(printed.over(clusterConf(routes, i))))
		s.nodes = append(s.nodes, launchNode(t, string(rune('a'+i)), c))
		s.crowds = append(s.crowds, startOrders(t, role(t, "storm", "")))
	}
	for _, n := range s.nodes {
		n.waitReady()
		n.waitPeers(2)
	}
	return s
}

func openPostgres(t *testing.T, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// documentedGrants are the statements of the documentation for a user of PostgreSQL.
func documentedGrants(t *testing.T) (grants []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/django.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```sql\n")
	block, _, _ = strings.Cut(block, "```")
	for grant := range strings.SplitSeq(block, ";") {
		if grant = strings.TrimSpace(grant); grant != "" {
			grants = append(grants, grant)
		}
	}
	return grants
}

// logIn makes users that are logged in, and returns their session keys.
func (s *storm) logIn(count int, prefix string) (sessions []string) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.manage("crowd", strconv.Itoa(count), "--prefix", prefix)), &sessions); err != nil || len(sessions) != count {
		s.t.Fatalf("manage.py crowd made %d sessions, want %d: %v", len(sessions), count, err)
	}
	return sessions
}

// watch counts the connections of the nodes, many times a second, until the test ends.
func (s *storm) watch() {
	db := openPostgres(s.t, s.pg.URL("postgres"))
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { // ends with the test
		defer close(ended)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			var now int64
			if err := db.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE usename = 'gatecast'`).Scan(&now); err == nil && now > s.most.Load() {
				s.most.Store(now)
			}
		}
	}()
	s.t.Cleanup(func() {
		close(stop)
		<-ended
	})
}

// crowdState is how far a crowd is.
type crowdState struct {
	in, http, close, dropped int
	longest                  float64
}

func (s crowdState) String() string {
	return fmt.Sprintf("%d in, the last after %.1f s; sent away %d by HTTP and %d by a close, %d without a word", s.in, s.longest, s.http, s.close, s.dropped)
}

func stateOf(crowd *orders) crowdState {
	crowd.t.Helper()
	a := crowd.do(map[string]any{"do": "state"})
	n := func(key string) int { f, _ := a[key].(float64); return int(f) }
	longest, _ := a["longest"].(float64)
	return crowdState{n("in"), n("http"), n("close"), n("dropped"), longest}
}

func begin(crowd *orders, n *node, sessions []string, count int) {
	crowd.t.Helper()
	crowd.do(map[string]any{"do": "begin", "addr": n.addr, "sessions": sessions, "count": count})
}

// waitIn waits until that many of each crowd are in, and tells how long.
func waitIn(t *testing.T, crowds []*orders, count int) time.Duration {
	t.Helper()
	began := time.Now()
	var states []crowdState
	eventually(t, 90*time.Second, func() string { return fmt.Sprintf("not all %d are in: %v", count, states) }, func() bool {
		states = nil
		least := count
		for _, c := range crowds {
			states = append(states, stateOf(c))
			least = min(least, states[len(states)-1].in)
		}
		return least == count
	})
	return time.Since(began)
}

// cut ends all conns at once, and waits until the nodes have noticed.
func (s *storm) cut(t *testing.T, crowds []*orders) {
	t.Helper()
	for _, c := range crowds {
		c.do(map[string]any{"do": "cut"})
	}
	for _, n := range s.nodes {
		n.waitConns(t, 0)
	}
}

// cold is the storm on nodes that know nobody yet.
func (s *storm) cold(t *testing.T) {
	scanned := s.scans(t, func(int) bool { return true })
	began := time.Now()
	var before []sample
	for i, n := range s.nodes {
		before = append(before, n.metrics())
		begin(s.crowds[i], n, s.sessions, s.count)
	}
	waitIn(t, s.crowds, s.count)
	t.Logf("%d sockets of %d sessions are in %v after the first", 2*s.count, len(s.sessions), time.Since(began).Round(time.Millisecond))
	lookups := 0
	for i, n := range s.nodes {
		state, now := stateOf(s.crowds[i]), n.metrics()
		grew := func(name string, labels ...string) float64 {
			return now.sum(name, labels...) - before[i].sum(name, labels...)
		}
		asked := int(grew("gatecast_authn_lookups_total", "from=verifier"))
		lookups += asked
		t.Logf("node %s: %v, %d lookups, %s", n.name, state, asked, s.cost(before[i], now))
		if asked != len(s.sessions) {
			t.Errorf("node %s asked the database about %d sessions, want each once, %d", n.name, asked, len(s.sessions))
		}
		if accepted := int(grew(mHandshakes, "result=accepted")); accepted != s.count || now.conns() != s.count {
			t.Errorf("node %s accepted %d and has %d conns, want %d", n.name, accepted, now.conns(), s.count)
		}
		if refused := int(grew(mHandshakes, "result=refused")); refused != state.http+state.close {
			t.Errorf("node %s counts %d refused handshakes, the crowd %v", n.name, refused, state)
		}
		if i == 1 && state.http == 0 {
			t.Errorf("node %s sent nobody away, at %d handshakes a second", n.name, s.count/10)
		}
	}
	// PostgreSQL itself counts the same, and perhaps the two queries that each node tries at its start. A process that ends tells its counts at once.
	if _, err := s.owner.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gatecast'`); err != nil {
		t.Fatal(err)
	}
	s.scans(t, func(now int) bool { return now >= scanned+lookups && now <= scanned+lookups+4 })
	s.cut(t, s.crowds)
}

// cost tells what the conns since before have cost a node.
func (s *storm) cost(before, now sample) string {
	cpu := now.sum("process_cpu_seconds_total") - before.sum("process_cpu_seconds_total")
	return fmt.Sprintf("%.0f µs of CPU a conn, %.0f MB resident", cpu*1e6/float64(s.count), now.sum("process_resident_memory_bytes")/1e6)
}

// scans waits until the number of times that PostgreSQL has looked at sessions is good, which it may count seconds later, and returns it.
func (s *storm) scans(t *testing.T, good func(int) bool) (now int) {
	t.Helper()
	eventually(t, 30*time.Second, func() string { return fmt.Sprintf("PostgreSQL has looked at sessions %d times", now) }, func() bool {
		err := s.owner.QueryRow(`SELECT COALESCE(seq_scan, 0) + COALESCE(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'django_session'`).Scan(&now)
		return err == nil && good(now)
	})
	return now
}

// leftAlone counts logins that were sent away unasked.
func (s sample) leftAlone() float64 {
	return s.sum("gatecast_authn_answers_total", "verifier=django", "outcome=unavailable", "reason=left_alone")
}

// outage is the storm in which the database goes away when the first are in, and comes back when all that can be are.
func (s *storm) outage(t *testing.T, how string, away, back func(testing.TB)) {
	fresh := s.logIn(newcomers, how)
	if _, err := s.owner.Exec("CHECKPOINT"); err != nil { // the test's PostgreSQL writes nothing down before it has to
		t.Fatal(err)
	}
	var others []*orders
	var before []sample
	for i, n := range s.nodes {
		before = append(before, n.metrics())
		others = append(others, startOrders(t, role(t, "storm", "")))
		begin(s.crowds[i], n, s.sessions, s.count)
	}
	waitIn(t, s.crowds, 1)
	away(t)
	began := time.Now()
	for i, n := range s.nodes {
		begin(others[i], n, fresh, len(fresh))
	}
	body := ""
	for _, n := range s.nodes {
		eventually(t, patience, func() string { return "node " + n.name + " is still ready: " + body }, func() bool {
			status, text, err := n.get("/readyz")
			body = text
			return err == nil && status == http.StatusServiceUnavailable && strings.Contains(text, "authn django")
		})
	}
	// Who was looked up before the outage is let in during it; the others hear when to come back, and come too soon.
	waitIn(t, s.crowds, s.count)
	t.Logf("%d sockets of known sessions are in %v after the database was %s", 2*s.count, time.Since(began).Round(time.Millisecond), how)
	for i, n := range s.nodes {
		t.Logf("node %s: %v, %s", n.name, stateOf(s.crowds[i]), s.cost(before[i], n.metrics()))
	}
	for i, other := range others {
		var now crowdState
		eventually(t, time.Minute, func() string {
			return fmt.Sprintf("node %s: the new ones are not sent away: %v", s.nodes[i].name, now)
		}, func() bool {
			now = stateOf(other)
			return now.close >= len(fresh)
		})
		if now.in != 0 {
			t.Errorf("node %s let in %d that only the database knows", s.nodes[i].name, now.in)
		}
		if now.dropped != 0 {
			t.Errorf("node %s ended %d conns without a word", s.nodes[i].name, now.dropped)
		}
		eventually(t, patience, func() string {
			return "node " + s.nodes[i].name + " has everybody wait for a database that does not answer"
		}, func() bool {
			return s.nodes[i].metrics().leftAlone() > before[i].leftAlone()
		})
	}
	back(t)
	took := waitIn(t, others, len(fresh))
	for i, n := range s.nodes {
		t.Logf("node %s: new ones %v, %v after the database was back", n.name, stateOf(others[i]), took.Round(time.Millisecond))
		n.waitReady()
		n.waitConns(t, s.count+len(fresh)) // and nobody was thrown out
	}
	s.cut(t, append(others, s.crowds...))
}
