package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestRates: messages_per_second holds for the sustained rate: what is above it is refused, not queued, and a
// conn that goes on for 10 s is closed.
func TestRates(t *testing.T) {
	heavy(t)
	t.Parallel()
	n := startNode(t, "a", conf{"server.limits.messages_per_second": 50})
	s := dialUser(t, n, "kim")
	polite := dialUser(t, n, "polite")
	began := time.Now()
	sent, ok, limited := 0, 0, 0
	var end *closedError
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	politeTick := 0
	for end == nil && time.Since(began) < time.Minute {
		<-tick.C
		for float64(sent) < 300*time.Since(began).Seconds() { // what a busy machine kept us from sending, too
			sent++
			if s.trySend(msg{"op": "group_send", "id": sent, "group": "room.x", "data": sent}) != nil {
				break
			}
		}
		if politeTick++; politeTick%10 == 0 {
			polite.ok(msg{"op": "ping"})
		}
		for {
			m, err := s.tryNext(time.Now().Add(time.Millisecond))
			if errors.As(err, &end) || err != nil {
				break
			}
			if m.op() == "ok" {
				ok++
			} else if m.code() == "rate_limited" {
				limited++
			}
		}
	}
	took := time.Since(began)
	if end == nil {
		t.Fatalf("a conn at 6 times its rate lives on after %v", took)
	}
	if end.Code != 4404 && end.Code != 1006 {
		t.Errorf("it ended with %v, want 4404", end)
	}
	if took < 9*time.Second {
		t.Errorf("it ended after %v, want about 10 s", took)
	}
	most := 50*took.Seconds() + 50 + 60
	if float64(ok) > most || ok < 200 || limited == 0 { // far fewer than 500 on a machine that holds up one side or the other
		t.Errorf("in %v %d ops passed and %d were limited; want about 50 a second", took, ok, limited)
	}
}

// TestConnLimits: total, per address, per user, handshakes.
func TestConnLimits(t *testing.T) {
	heavy(t)
	t.Parallel()
	t.Run("conns", func(t *testing.T) {
		n := startNode(t, "a", conf{"server.limits.conns": 3})
		socks := []*socket{dialUser(t, n, "a"), dialUser(t, n, "b"), dialUser(t, n, "c")}
		r := refusedHTTP(t, n, "/ws", bearer(token(t, "d")), 503)
		if r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		socks[0].leave()
		n.waitConns(t, 2)
		dialUser(t, n, "d")
	})
	t.Run("conns per address", func(t *testing.T) {
		n := startNode(t, "a", conf{"server.limits.conns_per_address": 2, "server.trusted_proxies": []string{"127.0.0.1"}})
		first := dialUser(t, n, "a")
		dialUser(t, n, "b")
		r := refusedHTTP(t, n, "/ws", bearer(token(t, "c")), 429)
		if r.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		// Behind a trusted proxy the address is the client's.
		dial(t, n, append(bearer(token(t, "c")), "X-Forwarded-For: 203.0.113.9, 198.51.100.7"))
		dial(t, n, append(bearer(token(t, "c")), "X-Forwarded-For: 198.51.100.7"))
		refusedHTTP(t, n, "/ws", append(bearer(token(t, "c")), "X-Forwarded-For: 192.0.2.1, 198.51.100.7"), 429)
		first.leave()
		eventually(t, patience, func() string { return "the place of a closed conn is not free" }, func() bool {
			s, err := tryDial(n.addr, "/ws", bearer(token(t, "d")))
			if err != nil {
				return false
			}
			s.conn.Close()
			return true
		})
	})
	t.Run("conns per user refused", func(t *testing.T) {
		n := startNode(t, "a", conf{"server.limits.conns_per_user": 2})
		dialUser(t, n, "kim")
		second := dialUser(t, n, "kim")
		refusedClose(t, n, "/ws", bearer(token(t, "kim")), 4404, "limit")
		dialUser(t, n, "lee")
		second.leave()
		n.waitConns(t, 2)
		dialUser(t, n, "kim")
	})
	t.Run("conns per user replaced", func(t *testing.T) {
		n := startNode(t, "a", conf{"server.limits.conns_per_user": 2, "server.limits.conns_per_user_policy": "replace"})
		oldest := dialUser(t, n, "kim")
		older := dialUser(t, n, "kim")
		dialUser(t, n, "kim")
		oldest.wantClosed(4409)
		dialUser(t, n, "kim")
		older.wantClosed(4409)
	})
	t.Run("handshakes per second", func(t *testing.T) {
		n := startNode(t, "a", conf{"server.limits.handshakes_per_second": 10})
		tok := token(t, "kim")
		var accepted, refused atomic.Int32
		began := time.Now()
		eventually(t, 30*time.Second, func() string {
			return fmt.Sprintf("%d accepted and %d refused, want both: about 10 a second after a burst of 10", accepted.Load(), refused.Load())
		}, func() bool {
			var all sync.WaitGroup
			for range 30 { // at once, so that a busy machine's are too many as well
				all.Go(func() {
					s, err := tryDial(n.addr, "/ws", bearer(tok))
					var r *rejected
					switch {
					case err == nil:
						s.conn.Close()
						accepted.Add(1)
					case errors.As(err, &r) && r.Status == 503 && r.Header.Get("Retry-After") != "":
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			all.Wait()
			return t.Failed() || refused.Load() > 0 && accepted.Load() >= 15
		})
		if most := 10*time.Since(began).Seconds() + 11; float64(accepted.Load()) > most {
			t.Errorf("%d were accepted, want at most %.0f", accepted.Load(), most)
		}
	})
}

// TestSlowConn: who reads nothing is closed with 4210 by bytes or by age, and nobody waits for it.
func TestSlowConn(t *testing.T) {
	heavy(t)
	t.Parallel()
	for _, mode := range []string{"epoll", "portable"} {
		t.Run(mode, func(t *testing.T) {
			n := startNode(t, "a", conf{
				"server.mode": mode, "server.limits.pending_bytes": 128 << 10, "server.limits.messages_per_second": 0, "server.limits.bytes_per_second": 0,
			})
			by := standBy(t, n)
			slow := dialUser(t, n, "slow")
			slow.add("room.fast")
			slow.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			before, line := n.metrics(), n.logs.len()
			body := strings.Repeat("x", 32<<10)
			sent := 0
			eventually(t, 30*time.Second, func() string { return fmt.Sprintf("not closed after %d messages of 32 KB", sent) }, func() bool {
				for range 20 {
					n.groupSend("room.fast", body)
					sent++
				}
				by.echoFor(t)
				return n.metrics().sum("gatecast_slow_conns_total") > before.sum("gatecast_slow_conns_total")
			})
			n.logs.waitLine(t, line, `"reason":"slow"`)
			n.waitGrew(t, before, mCloses, "code=4210")
			// What it had been sent it can still read, and then the reason.
			got := 0
			for {
				m, err := slow.tryNext(time.Now().Add(patience))
				var ce *closedError
				if errors.As(err, &ce) {
					if ce.Code != 4210 && ce.Code != 1006 {
						t.Errorf("the slow conn ended with %v, want 4210", ce)
					}
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if m.op() == "message" {
					got++
				}
			}
			if got == 0 || got >= sent {
				t.Errorf("the slow conn read %d of %d messages", got, sent)
			}
			by.leave()
			n.waitConns(t, 0)
		})
	}
}

// TestMessageBytes: the limit itself passes, one more byte does not; fragments and continuation count together.
func TestMessageBytes(t *testing.T) {
	t.Parallel()
	n := startNode(t, "a", conf{"server.limits.message_bytes": 2000, "server.limits.pending_bytes": 1 << 20})
	s := dialUser(t, n, "kim")
	s.add("room.big")
	frame := func(size int) []byte {
		b := []byte(`{"op":"group_send","group":"room.big","data":"`)
		b = append(b, bytes.Repeat([]byte("y"), size-len(b)-2)...)
		return append(b, `"}`...)
	}
	s.frame(opText, frame(2000))
	if m := s.message("room.big"); len(m.str("data")) < 1900 {
		t.Errorf("got %d bytes", len(m.str("data")))
	}
	whole := frame(2000)
	s.write(appendFrame(appendFrame(nil, opText, whole[:999]), 0x80|opContinue, whole[999:]))
	s.message("room.big")
	s.frame(opText, frame(2001))
	s.wantClosed(1009)
}

// TestPartialBytes: when messages in part have used up their room, the conn that needs more is refused; the others go on.
func TestPartialBytes(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"epoll", "portable"} {
		t.Run(mode, func(t *testing.T) {
			const room = 2 * 65536
			n := startNode(t, "a", conf{"server.mode": mode, "server.limits.partial_bytes": room})
			message := []byte(`{"op":"group_send","group":"room.p","data":"` + strings.Repeat("y", 10_000) + `"}`)
			frame := appendFrame(nil, 0x80|opText, message)
			halves := []*socket{dialUser(t, n, "ann"), dialUser(t, n, "bob")}
			for _, s := range halves { // each needs 64 KiB
				s.add("room.p")
				s.write(frame[:9000])
			}
			held := 0.0
			eventually(t, patience, func() string { return fmt.Sprintf("%v bytes are held, want %d", held, room) }, func() bool {
				held = n.metrics().sum("gatecast_partial_message_bytes")
				return held == room
			})
			before := n.metrics()
			over := dialUser(t, n, "eve")
			over.write(frame[:100])
			if c := over.wantClosed(4100); c.Op == nil || c.Op["retry"] == nil {
				t.Errorf("closed with %v, want when to come back", c)
			}
			n.waitGrew(t, before, "gatecast_partial_refused_total")
			whole := dialUser(t, n, "tim")
			whole.groupSend("room.p", "whole")
			for _, s := range halves {
				s.wantData("room.p", "whole")
			}
			for _, s := range halves {
				s.write(frame[9000:])
			}
			for _, s := range halves {
				for range halves {
					if m := s.message("room.p"); len(m.str("data")) != 10_000 {
						t.Errorf("got %d bytes", len(m.str("data")))
					}
				}
			}
			again := dialUser(t, n, "eve")
			again.add("room.p")
			again.write(frame[:100])
			again.write(frame[100:])
			again.message("room.p")
		})
	}
}
