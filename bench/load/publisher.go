//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/plan"
)

// Options of a publisher.
type Options struct {
	Addr  netip.AddrPort
	Codec codec.Codec
	Plan  plan.Plan // which group is next
	Run   uint32    // for the stamps; also the seed of the plan's choice
	Size  int       // bytes of a payload, at least ledger.StampSize
	HTTP  bool      // publish by requests of HTTP/1.1; the codec is a codec.Poster
}

// Publisher is one socket that publishes. One goroutine uses it, but for Completed.
type Publisher struct {
	opts    Options
	pick    func() uint32 // group of the next publication
	sent    []uint32      // publications to each group
	last    int64         // due time of the last one
	fd      int
	wake    int // eventfd: something completed
	scanner frame.Scanner
	buf     []byte
	payload []byte
	message []byte
	out     []byte // frames the kernel has not taken yet
	lag     *hdrhistogram.Histogram
	post    *posts // nil = over a WebSocket
}

// self is the publisher as codecs know it.
var self = codec.Client{Publisher: true}

// handshakeTimeout bounds the publisher's own login.
const handshakeTimeout = 10 * time.Second

// batchBytes is how much a windowed publisher gathers for one write.
const batchBytes = 32 << 10

// Open logs a publisher in.
func Open(ctx context.Context, opts Options) (*Publisher, error) {
	if opts.Size < ledger.StampSize {
		return nil, fmt.Errorf("a payload needs %d bytes for its stamp, not %d", ledger.StampSize, opts.Size)
	}
	p := &Publisher{
		opts: opts, pick: opts.Plan.Picker(uint64(opts.Run)), sent: make([]uint32, opts.Plan.Groups),
		buf: make([]byte, 64<<10), lag: NewHistogram(),
	}
	if opts.HTTP {
		poster, ok := opts.Codec.(codec.Poster)
		if !ok {
			return nil, errors.New("the target cannot be published to by HTTP")
		}
		p.opts.Addr, p.post = poster.PostAddr(), &posts{poster: poster}
	}
	err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	if p.wake, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, errors.Join(err, unix.Close(p.fd))
	}
	return p, nil
}

// dial opens the publisher's socket and logs it in.
func (p *Publisher) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.opts.Addr.String())
	if err != nil {
		return fmt.Errorf("connect the publisher: %w", err)
	}
	defer conn.Close()
	if p.post == nil {
		if err := p.login(ctx, conn); err != nil {
			return fmt.Errorf("log the publisher in: %w", err)
		}
	}
	p.fd, err = rawCopy(conn.(*net.TCPConn))
	return err
}

// rawCopy is the connection's descriptor, ours alone and not blocking.
func rawCopy(conn *net.TCPConn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	err = raw.Control(func(of uintptr) { fd, dupErr = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, dupErr)
}

func (p *Publisher) login(ctx context.Context, conn net.Conn) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := conn.Write(p.opts.Codec.Request(self)); err != nil {
		return err
	}
	var rest, got []byte
	for whole := false; !whole; {
		n, err := conn.Read(p.buf)
		if err != nil {
			return err
		}
		got = append(got, p.buf[:n]...)
		if rest, whole, err = frame.Upgraded(got); err != nil {
			return err
		}
	}
	if hello := p.opts.Codec.Hello(self); hello != nil {
		p.say(hello)
	}
	joined, err := p.read(rest)
	for err == nil {
		if len(p.out) > 0 {
			if _, err = conn.Write(p.out); err != nil {
				break
			}
			p.out = p.out[:0]
		}
		if joined >= p.opts.Codec.Confirms(self) {
			return nil
		}
		var n, more int
		if n, err = conn.Read(p.buf); err == nil {
			more, err = p.read(p.buf[:n])
			joined += more
		}
	}
	return err
}

// say appends a message to what goes out next.
func (p *Publisher) say(message []byte) {
	p.out = frame.Append(p.out, p.opts.Codec.Op(), message, [4]byte{1, 2, 3, 4})
}

// Last is when the last publication was due; 0 before the first.
func (p *Publisher) Last() int64 { return p.last }

// Lag is how late publications were, of which the target knows nothing: from when each was due to when that was noticed.
func (p *Publisher) Lag() *hdrhistogram.Histogram { return p.lag }

// Sent is how many publications went to each group.
func (p *Publisher) Sent() []uint32 { return p.sent }

// Close closes the publisher's socket.
func (p *Publisher) Close() error { return errors.Join(unix.Close(p.fd), unix.Close(p.wake)) }

// Completed tells a windowed publisher that a publication has reached everybody. Any goroutine may call it while the publisher
// is open.
func (p *Publisher) Completed() {
	poke(p.wake)
}

// Urgently runs publish on a real-time thread, if the system allows it: a publisher needs little time, but at once, also while a
// server, thousands of receivers and other programs keep every core busy.
func Urgently(publish func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const rr, lowest = 2, 1 // SCHED_RR, its lowest priority
	if unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: rr, Priority: lowest, Flags: unix.SCHED_FLAG_RESET_ON_FORK}, 0) == nil {
		defer func() { _ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr}, 0) }()
	}
	publish()
}

// Open publishes count messages by the schedule. An error of alive, asked now and then, ends it: receivers may have failed.
func (p *Publisher) Open(ctx context.Context, s Schedule, count int, alive func() error) error {
	noticed, sent := 0, 0
	for sent < count || len(p.out) > 0 || p.owed() > 0 {
		now := ledger.Now()
		for due := min(s.Passed(now), count); noticed < due; noticed++ {
			Record(p.lag, now-s.Due(noticed))
		}
		for sent < noticed && len(p.out) == 0 {
			p.build(sent, s.Due(sent))
			sent++
			if err := p.flush(); err != nil {
				return err
			}
		}
		wait := time.Second
		if noticed < count {
			wait = time.Duration(s.Due(noticed) - ledger.Now())
		}
		if err := errors.Join(p.wait(ctx, wait), alive(), p.overdue(sent == count)); err != nil {
			return err
		}
	}
	return nil
}

// Window publishes for the duration with at most window publications in flight, as completed() counts those that have reached
// everybody. Due is when the window opened for a publication.
func (p *Publisher) Window(ctx context.Context, window int, duration time.Duration, completed func() int, alive func() error) error {
	sent := 0
	end := ledger.Now() + int64(duration)
	for now := ledger.Now(); now < end || len(p.out) > 0 || p.owed() > 0; now = ledger.Now() {
		for now < end && sent < completed()+window && len(p.out) < batchBytes { // what is allowed now goes out together
			p.build(sent, now)
			sent++
		}
		if err := p.flush(); err != nil {
			return err
		}
		if now < end && sent < completed()+window && len(p.out) == 0 {
			continue
		}
		rest := time.Duration(end - now)
		if rest <= 0 {
			rest = time.Second // for the kernel, or for answers
		}
		if err := errors.Join(p.wait(ctx, rest), alive(), p.overdue(now >= end)); err != nil {
			return err
		}
	}
	return nil
}

// build appends publication k's frame to out.
func (p *Publisher) build(k int, due int64) {
	group := p.pick()
	stamp := ledger.Stamp{Run: p.opts.Run, Group: group, Seq: p.sent[group], Due: due, Sent: ledger.Now()}
	p.sent[group]++
	p.last = due
	p.payload = pad(stamp.Append(p.payload[:0]), p.opts.Size)
	if p.post != nil {
		p.out = append(p.out, p.post.build(group, p.payload)...)
		return
	}
	p.message = p.opts.Codec.Publish(p.message[:0], stamp.Group, p.payload)
	p.out = frame.Append(p.out, p.opts.Codec.Op(), p.message, [4]byte{byte(k), 0x5a, byte(k >> 8), 0xa5})
}

// flush writes what the kernel takes.
func (p *Publisher) flush() error {
	if len(p.out) == 0 {
		return nil
	}
	n, err := unix.Write(p.fd, p.out)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil && p.post != nil { // the target closed; what it said before, receive will read
		return nil
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	p.out = p.out[:copy(p.out, p.out[n:])]
	return nil
}

// wait returns when the time is over, the target said something, a publication completed, or pending bytes can go out.
func (p *Publisher) wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}, {Fd: int32(p.wake), Events: unix.POLLIN}}
	if len(p.out) > 0 {
		fds[0].Events |= unix.POLLOUT
	}
	ts := unix.NsecToTimespec(int64(min(max(d, 0), 50*time.Millisecond))) // bounded, so that ctx is seen
	n, err := unix.Ppoll(fds, &ts, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait: %w", err)
	}
	if n <= 0 {
		return nil
	}
	if fds[1].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(p.wake, count[:])
	}
	if fds[0].Revents&unix.POLLOUT != 0 {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if fds[0].Revents&^unix.POLLOUT != 0 {
		return p.receive()
	}
	return nil
}

// receive handles what the target says to its publisher.
func (p *Publisher) receive() error {
	n, err := unix.Read(p.fd, p.buf)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("read the publisher's socket: %w", err)
	case n == 0 && p.post != nil && p.owed() == 0: // idle for too long, it thinks
		return p.renew()
	case n == 0:
		return errors.New("the target closed the publisher's connection")
	}
	if p.post != nil {
		return p.answered(p.buf[:n])
	}
	_, err = p.read(p.buf[:n])
	return err
}

// read takes what the target says and returns how much of the login it confirms.
func (p *Publisher) read(b []byte) (joined int, err error) {
	scanErr := p.scanner.Scan(b, func(op frame.Op, payload []byte) {
		switch op {
		case frame.Ping:
			p.out = frame.Append(p.out, frame.Pong, payload, [4]byte{1, 2, 3, 4})
		case frame.Close:
			err = errors.Join(err, fmt.Errorf("the target closed the publisher's connection: %q", payload[min(2, len(payload)):]))
		case frame.Text, frame.Binary:
			h := p.opts.Codec.Hear(self, payload)
			joined += h.Joined
			err = errors.Join(err, h.Err)
			if h.Reply != nil {
				p.say(h.Reply)
			}
		}
	})
	return joined, errors.Join(scanErr, err)
}
