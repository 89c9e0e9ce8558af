//go:build linux

package swarm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/plan"
)

// Receiver takes what arrives. It is called on the loop's goroutine; at is when the bytes were read, by [ledger.Now].
type Receiver interface {
	Receive(client int, s ledger.Stamp, at int64)
}

// Options say which clients a swarm has.
type Options struct {
	Addrs    []netip.AddrPort // client i connects to address i mod len
	Codec    codec.Codec
	Plan     plan.Plan
	First    int // client of the plan; Count clients from it on are here
	Count    int
	Receiver Receiver // nil drops what arrives
	// Ready hears of each client that became ready, by [ledger.Now]: when it was due, when its dial began. May be nil.
	Ready func(due, began, ready int64)
	// Back hears of each client that became ready again after Redial. May be nil.
	Back func(client int, at int64)
	// Lost hears of a client that was ready once and lost its connection, or failed to get another one; nil if that may be, else the error ends Run. Nil = it may not.
	Lost     func(client int, err error) error
	Heard    func(client int, h codec.Heard, at int64) // of a client that is ready: a join or a leave was confirmed; may be nil
	Narrow   func(client int) bool                     // whose socket has little room; nil = nobody's
	Inflight int                                       // handshakes at a time; 0 = 64. Ignored with a Rate
	Rate     float64                                   // handshakes due a second, open loop; 0 = as fast as they are answered
}

// ErrClosed is what ends a client whose connection the target ended in order.
var ErrClosed = errors.New("the target closed the connection")

// state of a client:
//
//	idle ─dial─► dialing ─writable─► upgrading ─101─► joining ─Heard.Joined─► ready
//	                └────────────────────┴───────────────┴─────────────────────┴──► gone
type state uint8

const (
	idle state = iota
	dialing
	upgrading
	joining
	ready
	gone
)

func (s state) String() string {
	return [...]string{"idle", "dialing", "upgrading", "joining", "ready", "gone"}[s]
}

// client is one socket.
type client struct {
	scanner frame.Scanner
	head    []byte // handshake answer so far
	due     int64
	began   int64
	fd      int32
	joined  uint16 // confirmations so far
	turned  uint16 // nodes further than the one it dialed first
	again   bool   // it was ready before
	state   state
}

// sourcePorts is how many clients share a source address: below the 64k ports of one, with room for other programs.
const sourcePorts = 16384

// Swarm is the clients of one process. One goroutine at a time calls its methods.
type Swarm struct {
	opts    Options
	epoll   int
	clients []client
	events  [256]unix.EpollEvent
	buf     []byte // what is read lies here, one socket after the other
	out     []byte // frame being built
	ready   int
	begun   int
	err     error // what ended a client
	mask    [4]byte
	mixed   bool                                    // messages share frames with other things; see codec.Mixer
	tick    func(now int64) (next int64, err error) // see Tick
	next    int64                                   // when tick is due
	came    bool                                    // a message in this turn
	readAt  int64                                   // when a socket was read last
	looked  int64                                   // when Run looked last; 0 = not yet
	still   time.Duration                           // see Quiet
	quiet   atomic.Int64                            // still, for others
	away    time.Duration                           // see Away

	mu      sync.Mutex
	pending map[int][]byte // guarded by mu: what a client's socket did not take yet
}

// Open returns a swarm whose clients are not connected yet.
func Open(opts Options) (*Swarm, error) {
	if opts.Inflight == 0 {
		opts.Inflight = 64
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	mixer, _ := opts.Codec.(codec.Mixer)
	return &Swarm{
		opts: opts, mixed: mixer != nil && mixer.HearsAll(), epoll: fd, clients: make([]client, opts.Count), buf: make([]byte, 64<<10), mask: [4]byte{1, 2, 3, 4},
		pending: make(map[int][]byte),
	}, nil
}

// Connect makes all clients ready. The first one that fails ends it.
func (s *Swarm) Connect(ctx context.Context) error {
	t0 := ledger.Now()
	for s.ready < len(s.clients) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d of %d clients connected: %w", s.ready, len(s.clients), context.Cause(ctx))
		}
		wait := 50 * time.Millisecond
		for s.begun < len(s.clients) {
			due := ledger.Now()
			if s.opts.Rate > 0 {
				due = t0 + int64(float64(s.begun)*1e9/s.opts.Rate)
				if d := time.Duration(due - ledger.Now()); d > 0 {
					wait = min(wait, d) // bounded, so that ctx is seen
					break
				}
			} else if s.begun-s.ready >= s.opts.Inflight {
				break
			}
			if err := s.dial(s.begun, due); err != nil {
				return fmt.Errorf("connect client %d to %s: %w", s.opts.First+s.begun, s.addr(s.begun), err)
			}
			s.begun++
		}
		if err := s.turn(wait); err != nil {
			return err
		}
	}
	return nil
}

// Tick has Run call tick when it begins and then whenever it is time, within a millisecond: tick returns when it wants to be called next.
// Its error ends Run.
func (s *Swarm) Tick(tick func(now int64) (next int64, err error)) { s.tick = tick }

// Run receives until ctx ends, or until a client loses its connection, which is an error unless Lost says otherwise.
func (s *Swarm) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		wait := 50 * time.Millisecond
		if s.tick != nil {
			now := ledger.Now()
			if now >= s.next {
				var err error
				if s.next, err = s.tick(now); err != nil {
					return err
				}
			}
			wait = min(wait, time.Duration(max(s.next-now, 0)))
		}
		err := s.turn(wait)
		s.listen(wait)
		if err != nil {
			return err
		}
	}
	return nil
}

// listen ends a turn. It adds to the time in which nothing came what the turn was to wait at most: what it took longer, this goroutine
// had no core, and the sockets may have had messages that it did not look at.
func (s *Swarm) listen(wait time.Duration) {
	now, before := s.readAt, s.still
	if s.came {
		s.came, s.still = false, 0
	} else if now = ledger.Now(); s.looked > 0 {
		s.still += min(time.Duration(now-s.looked), wait)
	}
	if s.still != before {
		s.quiet.Store(int64(s.still))
	}
	if s.looked > 0 {
		s.away = max(s.away, time.Duration(now-s.looked))
	}
	s.looked = now
}

// Quiet is for how long Run has looked for messages since the last one and found none. It stands still while Run does not come to look.
// Any goroutine may ask.
func (s *Swarm) Quiet() time.Duration { return time.Duration(s.quiet.Load()) }

// Away is the longest time between two looks at the sockets. It is for when Run has ended.
func (s *Swarm) Away() time.Duration { return s.away }

// Unread is how many bytes have come for client i that Run has not read. It is for when Run has ended.
func (s *Swarm) Unread(i int) int {
	if s.clients[i].state != ready {
		return 0
	}
	n, err := unix.IoctlGetInt(int(s.clients[i].fd), unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// Mute has client i read nothing more until Unmute. Both are for the goroutine that receives.
func (s *Swarm) Mute(i int) error {
	if s.clients[i].state != ready {
		return nil
	}
	return s.watch(unix.EPOLL_CTL_DEL, i, 0)
}

// Unmute has client i read again, first what has come meanwhile.
func (s *Swarm) Unmute(i int) error {
	if s.clients[i].state != ready {
		return nil
	}
	return s.watch(unix.EPOLL_CTL_ADD, i, receiving)
}

// Close closes every socket with a reset, so that no port waits.
func (s *Swarm) Close() error {
	for i := range s.clients {
		if c := &s.clients[i]; c.state != idle && c.state != gone {
			s.close(c)
		}
	}
	return unix.Close(s.epoll)
}

func (s *Swarm) close(c *client) {
	_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(int(c.fd))
	c.state = gone
	c.scanner, c.head = frame.Scanner{}, nil
}

// Redial connects a client that was lost once more, to a node so many further than its first. It is for the goroutine that receives;
// what becomes of it Back and Lost tell, but for an error at once.
func (s *Swarm) Redial(i, turned int) error {
	c := &s.clients[i]
	if c.state != gone {
		return fmt.Errorf("redial client %d, which is %s", i, c.state)
	}
	c.again, c.turned = true, uint16(turned%len(s.opts.Addrs))
	s.mu.Lock()
	delete(s.pending, i)
	s.mu.Unlock()
	err := s.dial(i, ledger.Now())
	if err != nil && c.state == dialing {
		s.close(c)
	}
	return err
}

// addr is the node of client i of this swarm.
func (s *Swarm) addr(i int) netip.AddrPort {
	return s.opts.Addrs[(s.opts.First+i+int(s.clients[i].turned))%len(s.opts.Addrs)]
}

// who is client i of this swarm, as its codec sees it.
func (s *Swarm) who(i int) codec.Client {
	return codec.Client{Index: s.opts.First + i, Groups: s.opts.Plan.Of(s.opts.First + i)}
}

func (s *Swarm) dial(i int, due int64) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c := &s.clients[i]
	*c = client{fd: int32(fd), state: dialing, due: due, began: ledger.Now(), turned: c.turned, again: c.again}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if s.opts.Narrow != nil && s.opts.Narrow(i) {
		if err := narrow(fd); err != nil {
			return err
		}
	}
	addr := s.addr(i)
	if addr.Addr().IsLoopback() {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
		from := (s.opts.First + i) / sourcePorts
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 1, byte(from >> 8), byte(from) + 1}}); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	to := &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	return s.watch(unix.EPOLL_CTL_ADD, i, unix.EPOLLOUT)
}

// narrow leaves little room on the way to a socket, so that a mute one is slow at once: a small receive buffer, and segments as small
// as a real network's, of which the size of the sender's buffer follows. On loopback that is 2.5 MB otherwise. It is done before the
// handshake: a window taken back later costs retransmissions, and the client could not catch up.
func narrow(fd int) error {
	const segment, room = 1400, 16 << 10
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, room),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, segment),
	)
}

func (s *Swarm) watch(op, i int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(i)}
	return unix.EpollCtl(s.epoll, op, int(s.clients[i].fd), &ev)
}

// turn waits once and handles what is ready.
func (s *Swarm) turn(timeout time.Duration) error {
	n, err := unix.EpollWait(s.epoll, s.events[:], int((timeout+time.Millisecond-1)/time.Millisecond))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for sockets: %w", err)
	}
	for k := range max(n, 0) {
		i := int(s.events[k].Fd)
		if s.clients[i].state == gone {
			continue
		}
		err := s.handle(i, s.events[k].Events)
		if err == nil {
			continue
		}
		c := &s.clients[i]
		err = fmt.Errorf("client %d, %s: %w", s.opts.First+i, c.state, err)
		if s.opts.Lost != nil && (c.state == ready || c.again) {
			s.close(c)
			err = s.opts.Lost(i, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Swarm) handle(i int, events uint32) error {
	c := &s.clients[i]
	if c.state == dialing {
		if errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR); err != nil {
			return err
		} else if errno != 0 {
			return unix.Errno(errno)
		}
		c.state = upgrading
		if err := s.watch(unix.EPOLL_CTL_MOD, i, receiving); err != nil {
			return err
		}
		return s.Send(i, s.opts.Codec.Request(s.who(i)))
	}
	if events&unix.EPOLLOUT != 0 {
		if err := s.flush(i); err != nil || events&^unix.EPOLLOUT == 0 {
			return err
		}
	}
	n, err := unix.Read(int(c.fd), s.buf)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return ErrClosed
	}
	at := ledger.Now()
	s.readAt = at
	b := s.buf[:n]
	if c.state == upgrading {
		if b, err = s.upgrade(i, b, at); err != nil || len(b) == 0 {
			return err
		}
	}
	err = c.scanner.Scan(b, func(op frame.Op, payload []byte) { s.message(i, op, payload, at) })
	if err == nil {
		err, s.err = s.err, nil
	}
	return err
}

// upgrade takes a part of the handshake's answer and returns the bytes after it.
func (s *Swarm) upgrade(i int, b []byte, at int64) ([]byte, error) {
	c := &s.clients[i]
	if len(c.head) > 0 {
		b = append(c.head, b...)
	}
	rest, whole, err := frame.Upgraded(b)
	if err != nil {
		return nil, err
	}
	if !whole {
		c.head = append([]byte(nil), b...)
		return nil, nil
	}
	c.head, c.state = nil, joining
	who := s.who(i)
	if s.opts.Codec.Confirms(who) == 0 {
		s.settle(i, at)
	}
	if hello := s.opts.Codec.Hello(who); hello != nil {
		return rest, s.Say(i, hello)
	}
	return rest, nil
}

// Say sends a message of client i. Like all but Send it is for the goroutine that receives.
func (s *Swarm) Say(i int, message []byte) error {
	s.out = frame.Append(s.out[:0], s.opts.Codec.Op(), message, s.mask)
	return s.Send(i, s.out)
}

func (s *Swarm) settle(i int, at int64) {
	c := &s.clients[i]
	c.state = ready
	if c.again {
		if s.opts.Back != nil {
			s.opts.Back(i, at)
		}
		return
	}
	s.ready++
	if s.opts.Ready != nil {
		s.opts.Ready(c.due, c.began, at)
	}
}

func (s *Swarm) message(i int, op frame.Op, payload []byte, at int64) {
	switch op {
	case frame.Ping:
		s.out = frame.Append(s.out[:0], frame.Pong, payload, s.mask)
		s.err = errors.Join(s.err, s.Send(i, s.out))
		return
	case frame.Close:
		s.err = errors.Join(s.err, fmt.Errorf("%w: %q", ErrClosed, payload[min(2, len(payload)):]))
		return
	case frame.Pong:
		return
	}
	stamp, rest, stamped := ledger.Find(payload)
	if !stamped {
		s.hear(i, payload, at)
		return
	}
	s.came = true
	for ; stamped; stamp, rest, stamped = ledger.Find(rest) {
		if s.opts.Receiver != nil {
			s.opts.Receiver.Receive(i, stamp, at)
		}
	}
	if s.mixed { // messages first: those that came with the confirmation of a leave may have come before it
		s.hear(i, payload, at)
	}
}

func (s *Swarm) hear(i int, payload []byte, at int64) {
	c, who := &s.clients[i], s.who(i)
	h := s.opts.Codec.Hear(who, payload)
	if h.Err != nil {
		s.err = errors.Join(s.err, h.Err)
	}
	if h.Reply != nil {
		s.err = errors.Join(s.err, s.Say(i, h.Reply))
	}
	if c.state == ready && s.opts.Heard != nil && h.Joined+h.Left > 0 {
		s.opts.Heard(i, h, at)
	}
	if c.state == joining {
		if c.joined += uint16(h.Joined); int(c.joined) >= s.opts.Codec.Confirms(who) {
			s.settle(i, at)
		}
	}
}

// What is waited for on a socket that is connected.
const receiving = unix.EPOLLIN | unix.EPOLLRDHUP

// Send writes whole frames, or the request, on client i's socket; what that does not take goes out as soon as it does. Any goroutine
// may call it for a client that is ready, while another receives.
func (s *Swarm) Send(i int, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.pending[i]; len(held) > 0 {
		s.pending[i] = append(held, b...)
		return nil
	}
	rest, err := s.write(i, b)
	if err != nil || len(rest) == 0 {
		return err
	}
	s.pending[i] = append([]byte(nil), rest...)
	return s.watch(unix.EPOLL_CTL_MOD, i, receiving|unix.EPOLLOUT)
}

// flush writes what waited.
func (s *Swarm) flush(i int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest, err := s.write(i, s.pending[i])
	if err != nil {
		return err
	}
	if s.pending[i] = rest; len(rest) > 0 {
		return nil
	}
	delete(s.pending, i)
	return s.watch(unix.EPOLL_CTL_MOD, i, receiving)
}

// write returns what the socket did not take.
func (s *Swarm) write(i int, b []byte) (rest []byte, err error) {
	n, err := unix.Write(int(s.clients[i].fd), b)
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("write: %w", err)
	}
	return b[max(n, 0):], nil
}
