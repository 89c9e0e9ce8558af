package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Attacks by numbers: many peers that each do nothing wrong. What is asserted is order and progress, not time.

// inBothModes runs a test against both modes of the socket engine, at the same time.
func inBothModes(t *testing.T, f func(t *testing.T, mode string)) {
	t.Parallel()
	for _, mode := range []string{"epoll", "portable"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f(t, mode)
		})
	}
}

// TestHandshakeFlood: while handshakes come at many times the limit, those above it are refused with a word and a time to come back,
// and established conns are served between them.
func TestHandshakeFlood(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode string) {
		const limit = 20
		n := startNode(t, "a", conf{"server.mode": mode, "server.limits.handshakes_per_second": limit, "log.level": "info"})
		by := standBy(t, n)
		began := time.Now()
		var accepted, refused atomic.Int64
		stop := make(chan struct{})
		var flood sync.WaitGroup
		var failed atomic.Pointer[string]
		tok := token(t, "mallory")
		for range 4 {
			flood.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					s, err := tryDial(n.addr, "/ws", bearer(tok))
					var r *rejected
					switch {
					case err == nil:
						accepted.Add(1)
						s.conn.Close()
					case errors.As(err, &r) && r.Status == 503 && r.Header.Get("Retry-After") != "":
						refused.Add(1)
					default:
						text := err.Error()
						failed.CompareAndSwap(nil, &text)
						return
					}
				}
			})
		}
		echoes, during := 0, int64(0) // attempts that came while an echo was under way
		eventually(t, 40*time.Second, func() string {
			return fmt.Sprintf("%d accepted, %d refused, %d echoes, %d attempts during them", accepted.Load(), refused.Load(), echoes, during)
		}, func() bool {
			before := accepted.Load() + refused.Load()
			by.echo()
			echoes++
			during += accepted.Load() + refused.Load() - before
			if text := failed.Load(); text != nil {
				t.Fatalf("a handshake of the flood ended with %s, want 101 or 503", *text)
			}
			return echoes >= 50 && during > 0 && float64(accepted.Load()+refused.Load()) >= 5*limit*max(1, time.Since(began).Seconds()/4) &&
				refused.Load() > 4*limit
		})
		close(stop)
		flood.Wait()
		if most := limit*(time.Since(began).Seconds()+1) + 1; float64(accepted.Load()) > most {
			t.Errorf("%d handshakes were accepted, want at most %.0f", accepted.Load(), most)
		}
		by.leave()
		n.waitConns(t, 0)
	})
}

// TestConnStorm: conns beyond the limit are told so at once, those that then say nothing make room again, and established ones go on.
func TestConnStorm(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode string) {
		const limit, storm = 30, 150
		n := startNode(t, "a", conf{"server.mode": mode, "server.limits.conns": limit, "server.limits.handshake_timeout": "2s"})
		by := standBy(t, n)
		answers := make(chan string, storm)
		for range storm {
			c, err := net.DialTimeout("tcp", n.addr, patience)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			go func() { // ends with the server's answer, or its own deadline
				c.SetDeadline(time.Now().Add(patience))
				b, err := io.ReadAll(c)
				c.Close()
				line, _, _ := strings.Cut(string(b), "\r\n")
				if line == "" {
					line = fmt.Sprint(err)
				}
				answers <- line
			}()
		}
		by.echo()
		got := map[string]int{}
		for range storm {
			got[<-answers]++
		}
		full, late := got["HTTP/1.1 503 Service Unavailable"], got["HTTP/1.1 408 Request Timeout"]
		if full+late != storm || late > limit || late == 0 {
			t.Errorf("the storm was answered %v, want 503 for all but %d at a time", got, limit)
		}
		by.echo()
		n.waitConns(t, 1)
		dialUser(t, n, "later").leave()
		by.leave()
	})
}

// TestNoDescriptorLeft: a node that may open no more files refuses new conns, keeps those it has, and accepts again when some are closed.
func TestNoDescriptorLeft(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode string) {
		n := startNode(t, "a", conf{"server.mode": mode})
		by := standBy(t, n)
		by.echo()
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.cmd.Process.Pid))
		if err != nil {
			missing(t, "needs /proc: %v", err)
		}
		const room = 12
		before := n.metrics()
		limitFiles(t, n.cmd.Process.Pid, uint64(len(entries)+room))
		var some []net.Conn
		for range 4 * room {
			c, err := net.DialTimeout("tcp", n.addr, patience)
			if err != nil {
				break // its queue is full: refused as well
			}
			t.Cleanup(func() { c.Close() })
			some = append(some, c)
		}
		by.echo()
		by.echo()
		for _, c := range some {
			c.Close()
		}
		eventually(t, patience, func() string { return "no conn is accepted after others were closed" }, func() bool {
			s, err := tryDial(n.addr, "/ws", bearer(token(t, "later")))
			if err != nil {
				return false
			}
			s.conn.Close()
			return true
		})
		by.echo()
		limitFiles(t, n.cmd.Process.Pid, 4096) // for the scrape
		n.waitGrew(t, before, "gatecast_accept_errors_total", "reason=files")
		by.leave()
		n.waitConns(t, 0)
	})
}

// TestHalfOpenPeers: a peer that is gone without a word, as after a power cut, is found by its unanswered ping, and gives back its place.
func TestHalfOpenPeers(t *testing.T) {
	heavy(t)
	inBothModes(t, func(t *testing.T, mode string) {
		n := startNode(t, "a", conf{
			"server.mode": mode, "server.ping": "1s",
			"routes": []conf{{"path": "/raw", "groups": []string{"room.raw"}, "publish": "room.raw"}},
		})
		by := dialUser(t, n, "bystander")
		ghosts := []*socket{dialUser(t, n, "ghost"), dialRaw(t, n, "/raw", bearer(token(t, "ghost")))}
		line, before := n.logs.len(), n.metrics()
		closes := func() float64 { return n.metrics().sum(mCloses) - before.sum(mCloses) }
		eventually(t, 40*time.Second, func() string { return fmt.Sprintf("%v of %d ghosts were closed", closes(), len(ghosts)) }, func() bool {
			by.ok(msg{"op": "ping"}) // reading, it answers pings; the ghosts answer nothing
			return closes() == float64(len(ghosts))
		})
		n.logs.waitLine(t, line, `"reason":"no_pong"`)
		by.ok(msg{"op": "ping"})
	})
}

// TestStandstill: a machine that stood still (suspended, or moved to another host) blames no peer for it: what had arrived in time counts.
func TestStandstill(t *testing.T) {
	inBothModes(t, func(t *testing.T, mode string) {
		n := startNode(t, "a", conf{"server.mode": mode, "server.limits.handshake_timeout": "1s", "server.limits.message_timeout": "1s"})
		by := standBy(t, n)
		whole := appendFrame(nil, 0x80|opText, []byte(`{"op":"ping","id":77}`))
		s := dialUser(t, n, "kim")
		c, err := net.Dial("tcp", n.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		handshake := append(upgradeLines(bearer(token(t, "lee"))), "\r\n"...)
		s.write(whole[:10])
		c.Write(handshake[:40])
		n.waitConns(t, 3)
		n.signal(syscall.SIGSTOP)
		s.write(whole[10:])
		c.Write(handshake[40:])
		<-time.After(4 * time.Second) // the standstill itself
		n.signal(syscall.SIGCONT)
		s.find("ok 77", func(m msg) bool { return m.op() == "ok" && m.num("id") == 77 })
		answered(t, c).must("welcome")
		by.echo()
	})
}
