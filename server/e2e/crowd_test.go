package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// crowdOrder is what the crowd is told; it answers {"ok":true,"count":N} or {"error":"…"}.
type crowdOrder struct {
	Do    string `json:"do"` // "open", "hear", "close"
	Addr  string `json:"addr,omitempty"`
	Count int    `json:"count,omitempty"`
	Group string `json:"group,omitempty"`
	Data  any    `json:"data,omitempty"`
}

// runCrowd is many sockets in a process of their own: one process may hold 20,000 descriptors, and the server
// under test needs as many as its clients.
func runCrowd() error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	c := &crowd{}
	out.Encode(map[string]any{"ok": true})
	for {
		var o crowdOrder
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var err error
		switch o.Do {
		case "open":
			err = c.open(o.Addr, o.Count)
		case "hear":
			err = c.hear(o.Group, o.Data)
		case "close":
			err = c.close()
		default:
			err = fmt.Errorf("unknown order %q", o.Do)
		}
		if err != nil {
			out.Encode(map[string]any{"error": err.Error()})
			continue
		}
		out.Encode(map[string]any{"ok": true, "count": len(c.socks)})
	}
}

type crowd struct{ socks []*socket }

// each runs do for all sockets, 64 at a time, and returns the first error.
func (c *crowd) each(do func(i int, s *socket) error) error {
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	work := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range work {
				if err := do(i, c.socks[i]); err != nil {
					mu.Lock()
					if first == nil {
						first = fmt.Errorf("conn %d: %w", i, err)
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range c.socks {
		work <- i
	}
	close(work)
	wg.Wait()
	return first
}

// open connects count users, each with 3 groups beside its own.
func (c *crowd) open(addr string, count int) error {
	c.socks = make([]*socket, count)
	return c.each(func(i int, _ *socket) error {
		tok, err := sign("crowd" + strconv.Itoa(i))
		if err != nil {
			return err
		}
		s, err := tryDial(addr, "/ws", bearer(tok))
		if err != nil {
			return err
		}
		c.socks[i] = s
		if _, err := s.tryFind(func(m msg) bool { return m.op() == "welcome" }); err != nil {
			return err
		}
		r, err := s.tryAsk(msg{"op": "group_add", "groups": []string{
			"room.all", "room.ten." + strconv.Itoa(i%10), "room.pair." + strconv.Itoa(i/2),
		}})
		if err != nil {
			return err
		}
		groups, _ := r["groups"].([]any)
		if r.op() != "ok" || len(groups) != 3 {
			return fmt.Errorf("group_add answered %v", r)
		}
		for _, g := range groups {
			if g.(map[string]any)["error"] != nil {
				return fmt.Errorf("group_add answered %v", r)
			}
		}
		return nil
	})
}

// hear waits until every socket got that message, and only that.
func (c *crowd) hear(group string, data any) error {
	return c.each(func(_ int, s *socket) error {
		m, err := s.tryNext(time.Now().Add(2 * time.Minute))
		if err != nil {
			return err
		}
		if m.op() != "message" || m.str("group") != group || fmt.Sprint(m["data"]) != fmt.Sprint(data) {
			return fmt.Errorf("got %v", m)
		}
		return nil
	})
}

func (c *crowd) close() error {
	err := c.each(func(i int, s *socket) error {
		defer s.conn.Close()
		if i%2 == 1 {
			return nil // half of them go without a word
		}
		if err := s.frame(opClose, []byte{0x03, 0xe8}); err != nil {
			return err
		}
		for {
			_, err := s.tryNext(time.Now().Add(time.Minute))
			var ce *closedError
			if errors.As(err, &ce) && ce.Code == 1000 {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	c.socks = nil
	return err
}

// usage is what a node holds.
type usage struct {
	conns, goroutines, descriptors int
	heap                           float64 // bytes of live and not yet collected objects
}

func (n *node) usage() usage { return n.metrics().usage() }

func (m sample) usage() usage {
	return usage{
		conns: m.conns(), goroutines: int(m.sum("go_goroutines")), descriptors: int(m.sum("process_open_fds")),
		heap: m.sum("go_memstats_heap_alloc_bytes"),
	}
}

// settled waits until no socket but want is open and the heap is at most that large, and returns the least usage
// seen. The scrapes themselves make the collector run; interest in groups lingers for up to 5 s.
func (n *node) settled(t testing.TB, want int, heap float64) usage {
	t.Helper()
	n.waitConns(t, want)
	least := usage{conns: want, goroutines: math.MaxInt, descriptors: math.MaxInt, heap: math.Inf(1)}
	end := time.Now().Add(20 * time.Second)
	for i := 0; i < 50 || least.heap > heap && time.Now().Before(end); i++ {
		u := n.usage()
		least.goroutines, least.descriptors, least.heap = min(least.goroutines, u.goroutines), min(least.descriptors, u.descriptors), min(least.heap, u.heap)
	}
	return least
}

// TestCrowd: 10,000 conns in one process, each in 3 groups and its own, hear one message, are closed, and leave
// nothing behind.
func TestCrowd(t *testing.T) {
	heavy(t)
	for _, mode := range []struct {
		name  string
		conns int
	}{{"epoll", 10000}, {"portable", 2000}} {
		t.Run(mode.name, func(t *testing.T) {
			// GOGC=20: the collector follows closely, so that heap readings mean something.
			n := startNode(t, "a", conf{"server.mode": mode.name, "server.ping": "10m", "log.level": "warn", "authn.cache_ttl": "0s"}, "GOGC=20")
			crowd := startOrders(t, role(t, "crowd", ""))
			open := func() {
				t.Helper()
				began := time.Now()
				crowd.do(map[string]any{"do": "open", "addr": n.addr, "count": mode.conns})
				t.Logf("%d conns in 3 groups each after %v", mode.conns, time.Since(began).Round(time.Millisecond))
			}
			// Warm: pools, tables and lazily started goroutines exist from the first conns on.
			crowd.do(map[string]any{"do": "open", "addr": n.addr, "count": 100})
			crowd.do(map[string]any{"do": "close"})
			before := n.settled(t, 0, math.Inf(1))

			open()
			full := n.usage()
			if full.conns != mode.conns {
				t.Errorf("gatecast_conns is %d, want %d", full.conns, mode.conns)
			}
			if mode.name == "epoll" && full.goroutines > before.goroutines+64 {
				t.Errorf("%d conns made %d goroutines of %d", mode.conns, full.goroutines, before.goroutines)
			}
			for i := range 3 {
				n.groupSend("room.all", i+1)
				crowd.do(map[string]any{"do": "hear", "group": "room.all", "data": i + 1})
			}
			crowd.do(map[string]any{"do": "close"})
			// The tables of slots stay, less than 1 KB a conn; everything else must be gone.
			tables := before.heap + float64(mode.conns)*1024 + 4e6
			first := n.settled(t, 0, tables)
			t.Logf("before %+v, with all %+v, after %+v", before, full, first)
			check := func(what string, now usage, heap float64) {
				t.Helper()
				if now.goroutines > before.goroutines+8 {
					t.Errorf("%s: %d goroutines, %d before", what, now.goroutines, before.goroutines)
				}
				if now.descriptors > before.descriptors+4 {
					t.Errorf("%s: %d descriptors, %d before", what, now.descriptors, before.descriptors)
				}
				if now.heap > heap {
					t.Errorf("%s: %.1f MB of heap, want at most %.1f", what, now.heap/1e6, heap/1e6)
				}
			}
			check("after the first crowd", first, tables)

			// A second crowd of the same size finds room in what the first left.
			open()
			crowd.do(map[string]any{"do": "close"})
			second := n.settled(t, 0, first.heap+2e6)
			t.Logf("after the second crowd %+v", second)
			check("after the second crowd", second, first.heap+2e6)
		})
	}
}
