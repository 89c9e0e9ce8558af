//go:build linux

package benchtest

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

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

	GhostEvery   int       // one leave in so many is confirmed, and the next message of the group comes all the same
	DeafEvery    int       // one join in so many is confirmed, and the next message of the group does not come
	CloseSlow    bool      // who does not read is closed, not spared messages
	WaitForSlow  bool      // who does not read holds up everybody
	DisturbFirst bool      // while somebody does not read, every message to the first member that does comes 50 ms late
	Admit        int       // handshakes that are served; what becomes of further ones says Otherwise. 0 = all
	Otherwise    Otherwise // refused by default

	Queue int // messages that may wait for a member that does not read; more are not kept. 0 = many
}

// Otherwise is what becomes of handshakes that are not admitted.
type Otherwise int

const (
	Refuse Otherwise = iota // with 503
	HangUp                  // without a word
)

// sendBuffer is the kernel's room for a member, with a Queue.
const sendBuffer = 64 << 10

// disturbance is how late messages are with DisturbFirst.
const disturbance = 50 * time.Millisecond

const (
	queued = 1 << 14 // messages that wait for a member, unless Faults say otherwise
	many   = 4       // as many wait for a member that does not read
)

// Server is an instance of a target that speaks like the raw ones, or Gatecast's native protocol. It runs in this process.
type Server struct {
	faults Faults
	spec   codec.Spec
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
	joins   int
	leaves  int
	asked   int // handshakes
}

type member struct {
	conn net.Conn
	out  chan frames   // never closed
	gone chan struct{} // closed when it has left
	held []byte        // a frame that comes after the next one of its group; owned by deliver
	of   uint32        // group of held; owned by deliver
	late bool          // what is written now waits for the disturbance; owned by deliver

	mu     sync.Mutex // held while a delivery is decided and queued, so that a confirmation is before or after it
	groups []uint32
	ghost  []uint32 // groups it has left and gets one more message of
	deaf   []uint32 // groups it has joined and does not get the next message of
}

// frames wait for a member's socket, and until due.
type frames struct {
	b   []byte
	due time.Time
}

// stuck reports whether the member does not read: messages wait for it, and its socket takes no more. Messages alone could wait for
// a core too, on a machine busy with other tests.
func (m *member) stuck() bool { return len(m.out) > many && m.full() }

// full reports whether the member's socket takes no more now.
func (m *member) full() bool {
	raw, err := m.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	full := false
	err = raw.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, 0)
		full = err == nil && n == 0
	})
	return err == nil && full
}

type published struct {
	payload []byte
	at      time.Time
	by      *member // whose echo it is; nil = for the group of its stamp
}

// Start starts a server that speaks as the spec says: its Codec is raw, with Speaks or not, or gatecast. The caller stops it.
func Start(faults Faults, spec codec.Spec) (*Server, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	spec.Host = ln.Addr().String()
	s := &Server{faults: faults, spec: spec, listen: ln, queue: make(chan published, 1<<16), done: make(chan struct{})}
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
		if s.faults.Queue > 0 { // else the kernel's grows with bursts, and on a busy machine holds all that a test sends
			_ = conn.(*net.TCPConn).SetWriteBuffer(sendBuffer)
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		s.wg.Go(func() { s.serve(conn) }) // ends when the conn is closed, by either side
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
			s.spread(p)
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

func (s *Server) spread(p published) {
	stamp, _, _ := ledger.Find(p.payload)
	out := frame.AppendServer(nil, frame.Text, p.payload)
	s.mu.Lock()
	members := s.members
	s.mu.Unlock()
	victim := s.victim(members)
	for _, m := range members {
		m.mu.Lock()
		m.late = m == victim
		if m == p.by || p.by == nil && m.hears(stamp.Group) {
			s.one(m, stamp.Group, out)
		} else if s.spared++; every(s.spared, s.faults.WrongGroupEvery) {
			s.write(m, out)
		}
		m.mu.Unlock()
	}
}

// victim is who is disturbed now: the first member that reads, if another does not; nil = nobody.
func (s *Server) victim(members []*member) *member {
	if !s.faults.DisturbFirst || !slices.ContainsFunc(members, (*member).stuck) {
		return nil
	}
	if i := slices.IndexFunc(members, func(m *member) bool { return !m.stuck() }); i >= 0 {
		return members[i]
	}
	return nil
}

// hears reports whether a message to the group is for the member, rightly or not.
func (m *member) hears(group uint32) bool {
	if i := slices.Index(m.deaf, group); i >= 0 {
		m.deaf = slices.Delete(m.deaf, i, i+1)
		return false
	}
	if i := slices.Index(m.ghost, group); i >= 0 {
		m.ghost = slices.Delete(m.ghost, i, i+1)
		return true
	}
	return slices.Contains(m.groups, group)
}

// one delivers to one member, or does what is wrong.
func (s *Server) one(m *member, group uint32, out []byte) {
	s.sent++
	switch {
	case every(s.sent, s.faults.DropEvery):
	case every(s.sent, s.faults.DuplicateEvery):
		s.write(m, out)
		s.write(m, out)
	case every(s.sent, s.faults.ReorderEvery) && m.held == nil:
		m.held, m.of = out, group
	default:
		s.write(m, out)
		if m.held != nil && m.of == group {
			s.write(m, m.held)
			m.held = nil
		}
	}
}

func every(n, of int) bool { return of > 0 && n%of == 0 }

// write queues a frame for a member. With a full queue, a member that reads is waited for: only its goroutine is late.
func (s *Server) write(m *member, b []byte) {
	f := frames{b: b}
	if m.late {
		f.due = time.Now().Add(disturbance)
	}
	for !s.enqueue(m, f) {
		if !m.full() || s.faults.WaitForSlow {
			continue
		}
		if s.faults.CloseSlow {
			_ = m.conn.Close()
		}
		return
	}
}

// lookAgain is how long a full queue is waited for before the member's socket is looked at.
const lookAgain = time.Millisecond

// enqueue reports whether the frame is no more to be queued: it is, or nobody is there to take it.
func (s *Server) enqueue(m *member, f frames) bool {
	select {
	case m.out <- f:
		return true
	default:
	}
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case m.out <- f:
		return true
	case <-m.gone:
		return true
	case <-s.done:
		return true
	case <-timer.C:
		return false
	}
}

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

// Spec is how it speaks.
func (s *Server) Spec() codec.Spec { return s.spec }

// PIDs is this process: costs are the harness's too.
func (s *Server) PIDs() []int { return []int{os.Getpid()} }

// Version is empty.
func (s *Server) Version() string { return "" }
