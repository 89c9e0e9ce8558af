package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// leaversOrder is what the leavers are told; they answer {"ok":true,…} or {"error":"…"}.
type leaversOrder struct {
	Do       string `json:"do"` // "open", "watch", "drained"
	Addr     string `json:"addr"`
	Count    int    `json:"count"`
	Messages int    `json:"messages"` // of watch: that many come before the end
}

// runLeavers is a crowd in a process of its own that is told to leave, and notes when each socket was.
func runLeavers() error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	l := &leavers{done: make(chan error, 1)}
	out.Encode(map[string]any{"ok": true})
	for {
		var o leaversOrder
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer := map[string]any{"ok": true}
		var err error
		switch o.Do {
		case "open":
			err = l.open(o.Addr, o.Count)
		case "watch":
			err = l.watch(o.Messages)
		case "drained":
			if err = <-l.done; err == nil {
				answer["most"] = l.most()
			}
		default:
			err = fmt.Errorf("unknown order %q", o.Do)
		}
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		out.Encode(answer)
	}
}

// leavers reads all its sockets on one goroutine: the race detector allows 8,128 of them.
type leavers struct {
	crowd
	began time.Time
	done  chan error // tells once that all have left; never closed

	// owned by readAll until done
	heard []int  // messages, by socket
	told  []bool // by socket: a close object came
	spans []span
}

// span is how many sockets ended between two looks that left none to be looked at.
type span struct {
	from, to time.Time
	ended    int
}

// open connects count users.
func (l *leavers) open(addr string, count int) error {
	l.socks, l.heard, l.told = make([]*socket, count), make([]int, count), make([]bool, count)
	return l.each(func(i int, _ *socket) error {
		tok, err := sign("leaver" + strconv.Itoa(i))
		if err != nil {
			return err
		}
		s, err := tryDial(addr, "/ws", bearer(tok))
		if err != nil {
			return err
		}
		l.socks[i] = s
		_, err = s.tryFind(func(m msg) bool { return m.op() == "welcome" })
		return err
	})
}

// watch begins to read.
func (l *leavers) watch(messages int) error {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	for i, s := range l.socks {
		raw, err := s.conn.(syscall.Conn).SyscallConn()
		if err != nil {
			return err
		}
		var added error
		err = raw.Control(func(fd uintptr) {
			added = syscall.EpollCtl(epoll, syscall.EPOLL_CTL_ADD, int(fd), &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(i)})
		})
		if err := errors.Join(err, added); err != nil {
			return err
		}
	}
	l.began = time.Now()
	go func() { // ends with the last socket, or the first that ends badly
		defer syscall.Close(epoll)
		l.done <- l.readAll(epoll, messages)
	}()
	return nil
}

func (l *leavers) readAll(epoll, messages int) error {
	events := make([]syscall.EpollEvent, 1024)
	ended := 0
	for left, last := len(l.socks), l.began; left > 0; {
		n, err := syscall.EpollWait(epoll, events, 5)
		if err != nil && err != syscall.EINTR {
			return err
		}
		for _, ev := range events[:max(n, 0)] {
			over, err := l.read(int(ev.Fd), messages)
			if err != nil {
				return fmt.Errorf("conn %d, with %d to go: %w", ev.Fd, left, err)
			}
			if over {
				ended++
				left--
			}
		}
		if n < len(events) || left == 0 {
			now := time.Now()
			l.spans = append(l.spans, span{last, now, ended})
			last, ended = now, 0
		}
	}
	return nil
}

// read takes what has come to a socket and tells whether it is over, as it should be.
func (l *leavers) read(i, messages int) (over bool, err error) {
	s := l.socks[i]
	for {
		_, p, err := s.readMessage(time.Now().Add(patience))
		var ce *closedError
		var m msg
		switch {
		case errors.As(err, &ce):
			s.conn.Close()
			if ce.Code != 4200 || !l.told[i] || l.heard[i] != messages {
				return true, fmt.Errorf("ended with %v after %d of %d messages, told to come back: %v", ce, l.heard[i], messages, l.told[i])
			}
			return true, nil
		case err != nil:
			return false, err
		case bytes.HasPrefix(p, fmt.Appendf(nil, `{"op":"message","group":"room.all","data":%d`, l.heard[i]+1)): // there are very many of these
			l.heard[i]++
		case json.Unmarshal(p, &m) == nil && m.op() == "close" && m.num("code") == 4200:
			retry, _ := m["retry"].([]any)
			l.told[i] = len(retry) == 2 && retry[1].(float64) > 0
		default:
			return false, fmt.Errorf("got %q after %d messages", p, l.heard[i])
		}
		if s.br.Buffered() == 0 {
			return false, nil
		}
	}
}

// most is how many sockets ended in the fullest 100 ms. What is found after a long look away counts as evenly spread since: the machine
// was busy here, while the kernel took the ends in.
func (l *leavers) most() float64 {
	const bin = 100 * time.Millisecond
	bins := make([]float64, int(l.spans[len(l.spans)-1].to.Sub(l.began)/bin)+2)
	for _, s := range l.spans {
		from, to := s.from.Sub(l.began), s.to.Sub(l.began)
		for at := from; at < to; {
			end := min((at/bin+1)*bin, to)
			bins[at/bin] += float64(s.ended) * float64(end-at) / float64(to-from)
			at = end
		}
	}
	most := 0.0
	for _, b := range bins {
		most = max(most, b)
	}
	return most
}

// TestDrainOfACrowd: 15,000 conns leave one after the other over the window, each with word of when to come back, and none misses a message
// that was acknowledged before.
func TestDrainOfACrowd(t *testing.T) {
	heavy(t)
	t.Parallel()
	for _, mode := range []struct {
		name  string
		conns int
	}{{"epoll", 15000}, {"portable", 2000}} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			const window, messages = 10 * time.Second, 2
			n := startNode(t, "a", conf{
				"server.mode": mode.name, "server.ping": "10m", "log.level": "warn", "drain.delay": "0s", "drain.window": window.String(),
				"grants": []conf{{"to": "authenticated", "join": []string{"room.all"}, "subscribe": []string{"room.>"}, "publish": []string{"room.>"}}},
			})
			leavers := startOrders(t, role(t, "leavers", ""))
			began := time.Now()
			leavers.do(map[string]any{"do": "open", "addr": n.addr, "count": mode.conns})
			t.Logf("%d conns after %v", mode.conns, time.Since(began).Round(time.Millisecond))
			speaker := dialUser(t, n, "speaker")
			leavers.do(map[string]any{"do": "watch", "messages": messages})

			for i := range messages - 1 {
				n.groupSend("room.all", i+1)
			}
			speaker.groupSend("room.all", messages)
			signalled := time.Now()
			n.signal(sigterm)
			answer := leavers.do(map[string]any{"do": "drained"})
			took := time.Since(signalled)
			speaker.wantClosed(4200)
			speaker.conn.Close()

			most, mean := answer["most"].(float64), float64(mode.conns)*float64(100*time.Millisecond)/float64(window)
			t.Logf("%d conns left within %v; %.0f in the fullest 100 ms, %.0f in the mean", mode.conns, took.Round(time.Millisecond), most, mean)
			if most > 3*mean {
				t.Errorf("%.0f conns left within 100 ms, want %.0f at most", most, 3*mean)
			}
			if took < window*9/10 {
				t.Errorf("all conns left within %v, want them spread over %v", took, window)
			}
			if c, err := net.DialTimeout("tcp", n.addr, time.Second); err == nil {
				c.Close()
				t.Error("a drained node still accepts")
			}
			n.finish() // exit 0
		})
	}
}
