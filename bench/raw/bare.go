//go:build linux

package raw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/ledger"
)

// Bare is what a Server is held against: a loop of sendto over sockets, without anything around it.
type Bare struct {
	opts    BareOptions
	listen  int
	members []int
	starter int // whose byte begins the rounds; 0 = none yet
}

// BareOptions of a Bare.
type BareOptions struct {
	Conns  int     // members, connected first; one more connection gives the signal
	Rounds int     // times the frame goes to every member
	Rate   float64 // rounds a second
	Frame  []byte
}

// ListenBare opens a bare loop on any free port of loopback.
func ListenBare(opts BareOptions) (*Bare, error) {
	fd, err := listen(netip.MustParseAddrPort("127.0.0.1:0"))
	return &Bare{opts: opts, listen: fd}, err
}

// Addr is where it listens.
func (b *Bare) Addr() (netip.AddrPort, error) { return address(b.listen) }

// Serve accepts and upgrades the members, sends all rounds when it is told to, and waits for the signal's connection to end.
func (b *Bare) Serve(ctx context.Context) (err error) {
	defer b.close()
	for len(b.members) < b.opts.Conns {
		fd, err := b.accept(ctx)
		if err != nil {
			return err
		}
		b.members = append(b.members, fd)
		if err := b.upgrade(ctx, fd); err != nil {
			return fmt.Errorf("upgrade: %w", err)
		}
	}
	if b.starter, err = b.accept(ctx); err != nil {
		return err
	}
	var one [1]byte
	if _, err := b.read(ctx, b.starter, one[:]); err != nil {
		return err
	}
	if err := b.rounds(ctx); err != nil {
		return err
	}
	_, _ = b.read(ctx, b.starter, one[:])
	return nil
}

// rounds is the loop.
func (b *Bare) rounds(ctx context.Context) error {
	start := ledger.Now()
	for k := range b.opts.Rounds {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		due := unix.NsecToTimespec(start + int64(float64(k)*1e9/b.opts.Rate))
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &due, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sleep: %w", err)
		}
		for _, fd := range b.members {
			if n, err := Sendto(fd, b.opts.Frame); err != nil || n < len(b.opts.Frame) {
				return fmt.Errorf("sendto took %d of %d bytes: %w", n, len(b.opts.Frame), err)
			}
		}
	}
	return nil
}

// wait waits until fd can be read.
func wait(ctx context.Context, fd int) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(50*time.Millisecond/time.Millisecond)) // so that ctx is seen
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait: %w", err)
		}
		if n > 0 {
			return nil
		}
	}
}

func (b *Bare) accept(ctx context.Context) (int, error) {
	for {
		if err := wait(ctx, b.listen); err != nil {
			return 0, err
		}
		fd, _, err := unix.Accept4(b.listen, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if !errors.Is(err, unix.EAGAIN) {
			return fd, err
		}
	}
}

func (b *Bare) read(ctx context.Context, fd int, buf []byte) (int, error) {
	for {
		if err := wait(ctx, fd); err != nil {
			return 0, err
		}
		n, err := unix.Read(fd, buf)
		if err == nil && n == 0 {
			return 0, errors.New("the connection ended")
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func (b *Bare) upgrade(ctx context.Context, fd int) error {
	var request []byte
	for buf := make([]byte, 4096); ; {
		n, err := b.read(ctx, fd, buf)
		if err != nil {
			return err
		}
		request = append(request, buf[:n]...)
		end := bytes.Index(request, headEnd)
		if end < 0 {
			continue
		}
		answer, ok := accepted(request[:end+2])
		if !ok {
			return errors.New("a request without Sec-WebSocket-Key")
		}
		_, err = Sendto(fd, answer)
		return err
	}
}

func (b *Bare) close() {
	for _, fd := range b.members {
		_ = unix.Close(fd)
	}
	if b.starter > 0 {
		_ = unix.Close(b.starter)
	}
	_ = unix.Close(b.listen)
}
