package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is a TCP connection's way to a server that a test can cut and mend.
type proxy struct {
	t      testing.TB
	addr   string // where it listens
	target string

	mu    sync.Mutex
	ln    net.Listener
	down  bool
	conns map[net.Conn]bool
	work  sync.WaitGroup
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	p := &proxy{t: t, addr: freeAddr(t), target: target, conns: map[net.Conn]bool{}}
	p.mend()
	t.Cleanup(p.cut)
	return p
}

func (p *proxy) port() string {
	_, port, _ := net.SplitHostPort(p.addr)
	return port
}

// mend listens again.
func (p *proxy) mend() {
	p.t.Helper()
	ln, err := net.Listen("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.ln, p.down = ln, false
	p.mu.Unlock()
	p.work.Go(func() { // ends with the listener
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", p.target)
			if err != nil {
				near.Close()
				continue
			}
			p.pipe(near, far)
			p.pipe(far, near)
		}
	})
}

// pipe copies one direction until either end is closed.
func (p *proxy) pipe(from, to net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		from.Close()
		to.Close()
		return
	}
	p.conns[from] = true
	p.work.Go(func() {
		io.Copy(to, from)
		from.Close()
		to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	})
}

// cut refuses new connections and ends those there are.
func (p *proxy) cut() {
	p.mu.Lock()
	p.down = true
	p.ln.Close()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}
