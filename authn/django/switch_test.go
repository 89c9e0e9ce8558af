package django

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// switchable is a way to a database that can be shut: connections are refused at once and those that are open break.
type switchable struct {
	dsn string

	mu    sync.Mutex
	on    bool
	conns map[net.Conn]bool
}

func newSwitch(t testing.TB, dsn string) *switchable {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	target := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	s := &switchable{dsn: u.String(), conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		s.set(false)
		wg.Wait()
	})
	wg.Go(func() { // ends with the listener
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil || !s.add(in, out) {
				in.Close()
				continue
			}
			for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
				wg.Go(func() { // ends with either connection
					io.Copy(c[0], c[1])
					in.Close()
					out.Close()
				})
			}
		}
	})
	return s
}

func (s *switchable) add(conns ...net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range conns {
		if !s.on {
			c.Close()
			continue
		}
		s.conns[c] = true
	}
	return s.on
}

func (s *switchable) set(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
	if !on {
		for c := range s.conns {
			c.Close()
		}
		clear(s.conns)
	}
}
