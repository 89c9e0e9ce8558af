package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// stormOrder is what a part of the storm is told; it answers {"ok":true,…} or {"error":"…"}.
type stormOrder struct {
	Do       string   `json:"do"` // "begin", "state", "cut"
	Addr     string   `json:"addr"`
	Sessions []string `json:"sessions"`
	Count    int      `json:"count"` // of sockets; session i%len(Sessions) is that of socket i
}

// runStorm is many browsers in a process of their own that all connect at the same moment, and come back when they are told to.
func runStorm() error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var s *stampede
	out.Encode(map[string]any{"ok": true})
	for {
		var o stormOrder
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		answer := map[string]any{"ok": true}
		switch o.Do {
		case "begin":
			s = newStampede(o)
		case "state":
			answer = s.state()
		case "cut":
			s.cut()
		default:
			answer = map[string]any{"error": fmt.Sprintf("unknown order %q", o.Do)}
		}
		out.Encode(answer)
	}
}

// stampede is one storm of this process, with a goroutine for each socket that is not in yet.
type stampede struct {
	addr string
	over chan struct{} // closed by cut
	work sync.WaitGroup

	mu      sync.Mutex // guards what follows
	socks   []*socket  // that are in
	shed    [2]int     // refusals that said when to come back: before the upgrade, and by a close
	dropped int        // connections that ended without a word
	longest time.Duration
	failure error // the first refusal that no client would come back from
}

func newStampede(o stormOrder) *stampede {
	s := &stampede{addr: o.Addr, over: make(chan struct{})}
	for i := range o.Count {
		session := o.Sessions[i%len(o.Sessions)]
		s.work.Go(func() { s.come(session) }) // ends when it is in, or with cut
	}
	return s
}

// come tries until it is in, with the patience it is asked for.
func (s *stampede) come(session string) {
	began := time.Now()
	for {
		sock, pause, err := s.try(session)
		s.mu.Lock()
		switch {
		case sock != nil:
			s.socks = append(s.socks, sock)
			s.longest = max(s.longest, time.Since(began))
		case pause == 0 && s.failure == nil:
			s.failure = err
		}
		s.mu.Unlock()
		if pause == 0 {
			return
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-s.over:
			timer.Stop()
			return
		}
	}
}

// Ways to be refused for now.
const (
	shedByHTTP = iota
	shedByClose
)

// try connects once. A pause says when to try again.
func (s *stampede) try(session string) (sock *socket, pause time.Duration, err error) {
	select {
	case <-s.over:
		return nil, 0, nil
	default:
	}
	sock, err = tryDial(s.addr, "/ws", header{"Cookie: sessionid=" + session, "Origin: http://" + s.addr})
	var r *rejected
	switch {
	case errors.As(err, &r) && (r.Status == http.StatusServiceUnavailable || r.Status == http.StatusTooManyRequests):
		seconds, convErr := strconv.Atoi(r.Header.Get("Retry-After"))
		if convErr != nil || seconds < 1 {
			return nil, 0, fmt.Errorf("%w, with Retry-After %q", err, r.Header.Get("Retry-After"))
		}
		s.count(&s.shed[shedByHTTP])
		return nil, time.Duration(seconds) * time.Second, err
	case errors.As(err, &r):
		return nil, 0, err
	case err != nil:
		return s.lost(err)
	}
	var told msg
	for {
		m, err := sock.tryNext(time.Now().Add(patience))
		var ce *closedError
		switch {
		case err == nil && m.op() == "welcome":
			return sock, 0, nil
		case err == nil && m.op() == "close":
			told = m
		case errors.As(err, &ce) && ce.Code == 4100:
			sock.conn.Close()
			retry, _ := told["retry"].([]any)
			if len(retry) != 2 {
				return nil, 0, fmt.Errorf("%w, after %v", err, told)
			}
			from, to := int(retry[0].(float64)), int(retry[1].(float64))
			s.count(&s.shed[shedByClose])
			return nil, time.Duration(from+rand.IntN(to-from)+1) * time.Millisecond, err
		case errors.As(err, &ce) && ce.Code != 1006:
			sock.conn.Close()
			return nil, 0, err
		case err != nil:
			sock.conn.Close()
			return s.lost(err)
		}
	}
}

func (s *stampede) lost(err error) (*socket, time.Duration, error) {
	s.count(&s.dropped)
	return nil, time.Second + rand.N(time.Second), err
}

func (s *stampede) count(n *int) {
	s.mu.Lock()
	*n++
	s.mu.Unlock()
}

func (s *stampede) state() map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return map[string]any{"error": s.failure.Error()}
	}
	return map[string]any{
		"in": len(s.socks), "http": s.shed[shedByHTTP], "close": s.shed[shedByClose], "dropped": s.dropped, "longest": s.longest.Seconds(),
	}
}

// cut ends all sockets without a word, as a load balancer that restarts does.
func (s *stampede) cut() {
	close(s.over)
	s.work.Wait()
	for _, sock := range s.socks {
		sock.conn.(*net.TCPConn).SetLinger(0)
		sock.conn.Close()
	}
	s.socks = nil
}
