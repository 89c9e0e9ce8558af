//go:build linux

package benchtest

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
)

// Faults are what a server does wrong. The zero value does nothing wrong.
type Faults struct {
	DropEvery       int           // one delivery in so many is left out
	DuplicateEvery  int           // one in so many is made twice
	ReorderEvery    int           // one in so many comes after the next one
	WrongGroupEvery int           // one in so many also reaches a member of another group
	Delay           time.Duration // of every message; no work, so many can be delayed at once
	Work            time.Duration // a message takes; one at a time
	StallAfter      int           // the server stops at this message …
	StallFor        time.Duration // … for so long
}

// Server is an instance of a target that speaks like the raw ones. It runs in this process.
type Server struct {
	faults Faults
	listen net.Listener
	queue  chan published // never closed
	done   chan struct{}  // closed by Stop
	wg     sync.WaitGroup
	sent   int // deliveries so far; owned by deliver
	served int // publications so far; owned by deliver
	spared int // members of other groups so far; owned by deliver

	mu      sync.Mutex
	conns   []net.Conn
	members []*member
}

type member struct {
	conn   net.Conn
	groups []uint32
	held   []byte // a frame that comes after the next one; owned by deliver
}

type published struct {
	payload []byte
	at      time.Time
}

// Start starts a server; the caller stops it.
func Start(faults Faults) (*Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{faults: faults, listen: ln, queue: make(chan published, 1<<16), done: make(chan struct{})}
	s.wg.Go(s.accept)  // ends when Stop closes the listener
	s.wg.Go(s.deliver) // ends with done
	return s, nil
}

func (s *Server) accept() {
	for {
		conn, err := s.listen.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(conn) }) // ends when the conn is closed, by either side
	}
}

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	path := ""
	upgrader := ws.Upgrader{OnRequest: func(uri []byte) error { path = string(uri); return nil }}
	m := &member{conn: conn}
	upgrader.OnBeforeUpgrade = func() (ws.HandshakeHeader, error) {
		if list, ok := strings.CutPrefix(path, "/group/"); ok {
			for name := range strings.SplitSeq(list, ",") {
				group, err := strconv.ParseUint(name, 10, 32)
				if err != nil {
					return nil, ws.RejectConnectionError(ws.RejectionStatus(http.StatusBadRequest))
				}
				m.groups = append(m.groups, uint32(group))
			}
			s.mu.Lock()
			s.members = append(s.members, m)
			s.mu.Unlock()
		}
		return nil, nil
	}
	if _, err := upgrader.Upgrade(conn); err != nil {
		return
	}
	for {
		payload, err := wsutil.ReadClientText(conn)
		if err != nil {
			return
		}
		if strings.HasPrefix(path, "/publish") {
			s.queue <- published{payload, time.Now()}
		}
	}
}

func (s *Server) deliver() {
	for {
		select {
		case p := <-s.queue:
			s.pause(time.Until(p.at.Add(s.faults.Delay)))
			s.pause(s.faults.Work)
			if s.served++; s.served == s.faults.StallAfter {
				s.pause(s.faults.StallFor)
			}
			s.spread(p.payload)
		case <-s.done:
			return
		}
	}
}

func (s *Server) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.done:
	}
}

func (s *Server) spread(payload []byte) {
	stamp, _, _ := ledger.Find(payload)
	out := frame.AppendServer(nil, frame.Text, payload)
	s.mu.Lock()
	members := s.members
	s.mu.Unlock()
	for _, m := range members {
		if slices.Contains(m.groups, stamp.Group) {
			s.one(m, out)
			continue
		}
		if s.spared++; every(s.spared, s.faults.WrongGroupEvery) {
			write(m, out)
		}
	}
}

// one delivers to one member, or does what is wrong.
func (s *Server) one(m *member, out []byte) {
	s.sent++
	switch {
	case every(s.sent, s.faults.DropEvery):
	case every(s.sent, s.faults.DuplicateEvery):
		write(m, out)
		write(m, out)
	case every(s.sent, s.faults.ReorderEvery) && m.held == nil:
		m.held = out
	default:
		write(m, out)
		if m.held != nil {
			write(m, m.held)
			m.held = nil
		}
	}
}

func every(n, of int) bool { return of > 0 && n%of == 0 }

func write(m *member, b []byte) { _, _ = m.conn.Write(b) } // a member that left is no fault

// Stop ends the server.
func (s *Server) Stop() error {
	close(s.done)
	err := s.listen.Close()
	s.mu.Lock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// Addrs is where it listens.
func (s *Server) Addrs() []netip.AddrPort {
	return []netip.AddrPort{s.listen.Addr().(*net.TCPAddr).AddrPort()}
}

// Spec is that of the raw targets.
func (s *Server) Spec() codec.Spec { return codec.Spec{Codec: "raw", Host: s.listen.Addr().String()} }

// PIDs is this process: costs are the harness's too.
func (s *Server) PIDs() []int { return []int{os.Getpid()} }

// Version is empty.
func (s *Server) Version() string { return "" }
