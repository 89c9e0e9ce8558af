//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
)

// SpeakerOptions say what clients publish.
type SpeakerOptions struct {
	Clients int
	// Send gives whole frames to the kernel on client i's socket, or keeps them until it takes them. It must not wait.
	Send  func(i int, frames []byte) error
	Codec codec.Codec
	Run   uint32 // for the stamps
	Size  int    // bytes of a payload, at least ledger.StampSize
	Batch int    // messages in one write; at least 1
}

// Speakers publishes through the sockets of many clients, of which others receive: client i publishes to group i. One goroutine
// uses it, but for Completed. It is a thread of its own, so that who receives much at a time makes nobody late who is due.
type Speakers struct {
	opts    SpeakerOptions
	sent    []uint32 // publications to each group
	writes  int
	last    int64 // due time of the last message
	wake    int   // eventfd: something completed
	asleep  atomic.Bool
	payload []byte
	message []byte
	out     []byte
	lag     *hdrhistogram.Histogram
}

// OpenSpeakers returns speakers that have said nothing yet.
func OpenSpeakers(opts SpeakerOptions) (*Speakers, error) {
	if opts.Size < ledger.StampSize {
		return nil, fmt.Errorf("a payload needs %d bytes for its stamp, not %d", ledger.StampSize, opts.Size)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open an eventfd: %w", err)
	}
	return &Speakers{opts: opts, sent: make([]uint32, opts.Clients), wake: wake, lag: NewHistogram()}, nil
}

// Open publishes count messages by the schedule, write k by client k mod n. All messages of a write are due when the first of them is.
func (p *Speakers) Open(ctx context.Context, s Schedule, count int, alive func() error) error {
	batch := p.opts.Batch
	s.Rate /= float64(batch)
	writes := (count + batch - 1) / batch
	noticed, sent := 0, 0
	for {
		now := ledger.Now()
		for due := min(s.Passed(now), writes); noticed < due; noticed++ {
			Record(p.lag, now-s.Due(noticed))
		}
		for ; sent < noticed; sent++ {
			if err := p.say(s.Due(sent), min(batch, count-sent*batch)); err != nil {
				return err
			}
		}
		if sent == writes {
			return nil
		}
		if err := errors.Join(p.wait(ctx, time.Duration(s.Due(sent)-ledger.Now())), alive()); err != nil {
			return err
		}
	}
}

// Window publishes for the duration with at most window messages in flight, as completed() counts those that came back. They are due
// when the window opens for them.
func (p *Speakers) Window(ctx context.Context, window int, duration time.Duration, completed func() int, alive func() error) error {
	sent, end := 0, ledger.Now()+int64(duration)
	for now := ledger.Now(); now < end; now = ledger.Now() {
		if free := completed() + window - sent; free >= min(p.opts.Batch, window) {
			p.asleep.Store(false)
			n := min(free, p.opts.Batch)
			if err := p.say(now, n); err != nil {
				return err
			}
			sent += n
			continue
		}
		if !p.asleep.Swap(true) {
			continue // look once more: from now on Completed wakes us
		}
		if err := errors.Join(p.wait(ctx, time.Duration(end-now)), alive()); err != nil {
			return err
		}
	}
	return nil
}

// say makes one write of n messages.
func (p *Speakers) say(due int64, n int) error {
	client := p.writes % p.opts.Clients
	p.writes++
	p.out = p.out[:0]
	for range n {
		stamp := ledger.Stamp{Run: p.opts.Run, Group: uint32(client), Seq: p.sent[client], Due: due, Sent: ledger.Now()}
		p.sent[client]++
		p.payload = pad(stamp.Append(p.payload[:0]), p.opts.Size)
		p.message = p.opts.Codec.Publish(p.message[:0], stamp.Group, p.payload)
		p.out = frame.Append(p.out, p.opts.Codec.Op(), p.message, [4]byte{byte(stamp.Seq), 0x5a, byte(client), 0xa5})
	}
	p.last = due
	if err := p.opts.Send(client, p.out); err != nil {
		return fmt.Errorf("client %d publishes: %w", client, err)
	}
	return nil
}

// wait returns when the time is over or a message came back.
func (p *Speakers) wait(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fds := []unix.PollFd{{Fd: int32(p.wake), Events: unix.POLLIN}}
	ts := unix.NsecToTimespec(int64(min(max(d, 0), 50*time.Millisecond))) // bounded, so that ctx is seen
	n, err := unix.Ppoll(fds, &ts, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait: %w", err)
	}
	if n > 0 {
		var count [8]byte
		_, _ = unix.Read(p.wake, count[:])
	}
	return nil
}

// Completed tells a window that messages came back. Any goroutine may call it while the speakers are open.
func (p *Speakers) Completed() {
	if p.asleep.Load() {
		poke(p.wake)
	}
}

// Last is when the last message was due; 0 before the first.
func (p *Speakers) Last() int64 { return p.last }

// Sent is how many messages went to each group.
func (p *Speakers) Sent() []uint32 { return p.sent }

// Lag is how late publications were, of which the target knows nothing: from when each was due to when that was noticed.
func (p *Speakers) Lag() *hdrhistogram.Histogram { return p.lag }

// Close ends the speakers; their sockets belong to others.
func (p *Speakers) Close() error { return unix.Close(p.wake) }

func poke(eventfd int) {
	one := [8]byte{1}
	_, _ = unix.Write(eventfd, one[:])
}

// pad fills a payload up.
func pad(payload []byte, size int) []byte {
	for len(payload) < size {
		payload = append(payload, 'x')
	}
	return payload
}
