//go:build linux

package swarm

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
	"github.com/gatecast/gatecast/bench/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// accepted is the answer to every handshake: the clients' key is a constant.
func accepted(key string) string {
	return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + frame.Accept(key) + "\r\n\r\n"
}

// serve answers one connection by hand: the function gets it once the request is read, and what the request's key asks for.
func serve(t *testing.T, talk func(conn net.Conn, accept string)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with the connection, or with the listener
		defer close(ended)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		req, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		talk(conn, accepted(req.Header.Get("Sec-WebSocket-Key")))
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-ended
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// arrivals is a receiver that ends a run after so many messages.
type arrivals struct {
	seqs []uint32
	want int
	done context.CancelFunc
}

func (a *arrivals) Receive(_ int, s ledger.Stamp, _ int64) {
	if a.seqs = append(a.seqs, s.Seq); len(a.seqs) == a.want {
		a.done()
	}
}

// connected is a swarm of one client; the test closes it.
func connected(t *testing.T, addr netip.AddrPort, r Receiver, change func(o *Options)) *Swarm {
	t.Helper()
	o := Options{
		Addrs: []netip.AddrPort{addr}, Codec: codec.Raw{Host: addr.String()}, Plan: plan.Plan{Conns: 1, Groups: 1, PerConn: 1}, Count: 1, Receiver: r,
	}
	if change != nil {
		change(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func message(seq uint32) []byte {
	return frame.AppendServer(nil, frame.Text, ledger.Stamp{Run: 1, Seq: seq}.Append(nil))
}

func TestMessagesInPiecesArriveWhole(t *testing.T) {
	all := append(append([]byte(nil), message(0)...), message(1)...)
	read := make(chan struct{}, len(all)+256) // a token for every turn of the client
	addr := serve(t, func(conn net.Conn, accept string) {
		for _, b := range append([]byte(accept), all...) { // byte by byte, each as a segment of its own
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
		}
		<-read
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := &arrivals{want: 2, done: cancel}
	s := connected(t, addr, got, nil)
	if err := s.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	close(read)
	if len(got.seqs) != 2 || got.seqs[0] != 0 || got.seqs[1] != 1 {
		t.Errorf("messages %v arrived, want 0 and 1", got.seqs)
	}
}

func TestConnectTellsWhyItFailed(t *testing.T) {
	for _, tt := range []struct {
		name string
		talk func(conn net.Conn, accept string)
		want string
	}{
		{"refused", func(conn net.Conn, _ string) {
			_, _ = conn.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
		}, "client 0, upgrading: handshake refused: HTTP/1.1 403 Forbidden"},
		{"closed", func(net.Conn, string) {}, "client 0, upgrading: the target closed the connection"},
		{"wrong key", func(conn net.Conn, _ string) { _, _ = conn.Write([]byte(accepted("another"))) }, "wrong Sec-WebSocket-Accept"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := connected(t, serve(t, tt.talk), nil, nil).Connect(ctx)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Connect = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestConnectToNobody(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := connected(t, addr, nil, nil).Connect(ctx); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Connect = %v, want a refusal", err)
	}
}

func TestPingIsAnswered(t *testing.T) {
	pong := make(chan []byte, 1)
	addr := serve(t, func(conn net.Conn, accept string) {
		_, _ = conn.Write(append([]byte(accept), frame.AppendServer(nil, frame.Ping, []byte("hello"))...))
		b := make([]byte, 6+len("hello"))
		if _, err := conn.Read(b); err == nil {
			for i := range b[6:] {
				b[6+i] ^= b[2+i&3]
			}
		}
		pong <- b
		_, _ = conn.Write(message(0))
		_, _ = conn.Read(b)
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := connected(t, addr, &arrivals{want: 1, done: cancel}, nil)
	if err := errors.Join(s.Connect(ctx), s.Run(ctx)); err != nil {
		t.Fatal(err)
	}
	if b := <-pong; b[0] != 0x80|byte(frame.Pong) || string(b[6:]) != "hello" {
		t.Errorf("the answer to a ping is %q, want a pong of hello", b)
	}
}

func TestServerThatCloses(t *testing.T) {
	closes := func(conn net.Conn, accept string) {
		_, _ = conn.Write(append([]byte(accept), frame.AppendServer(nil, frame.Close, []byte("\x0f\xa1too slow"))...))
		_, _ = conn.Read(make([]byte, 1))
	}
	t.Run("is an error", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		s := connected(t, serve(t, closes), nil, nil)
		err := s.Connect(ctx)
		if err == nil { // the close may come with the upgrade
			err = s.Run(ctx)
		}
		if err == nil || !strings.Contains(err.Error(), `the target closed the connection: "too slow"`) {
			t.Errorf("it ended with %v, want the server's reason", err)
		}
	})
	t.Run("unless Lost allows it", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		lost := 0
		s := connected(t, serve(t, closes), nil, func(o *Options) {
			o.Lost = func(int, error) error {
				lost++
				cancel()
				return nil
			}
		})
		if err := s.Connect(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.Run(ctx); err != nil || lost != 1 {
			t.Errorf("it ended with %v, %d lost, want one", err, lost)
		}
	})
}

// TestWhatASocketDoesNotTakeWaits sends more than any socket buffer holds to a server that reads only then.
func TestWhatASocketDoesNotTakeWaits(t *testing.T) {
	const size, frames = 1 << 20, 16
	begin, got := make(chan struct{}), make(chan int, 1)
	addr := serve(t, func(conn net.Conn, accept string) {
		_, _ = conn.Write([]byte(accept))
		<-begin
		n := 0
		for buf := make([]byte, 64<<10); n < size*frames; {
			m, err := conn.Read(buf)
			if n += m; err != nil {
				break
			}
		}
		got <- n
		_, _ = conn.Write(message(0))
		_, _ = conn.Read(make([]byte, 1))
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := connected(t, addr, &arrivals{want: 1, done: cancel}, nil)
	if err := s.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	for range frames {
		if err := s.Send(0, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	close(begin)
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != size*frames {
		t.Errorf("%d bytes arrived, want %d", n, size*frames)
	}
}

func TestMuteClientReadsLater(t *testing.T) {
	spoken := make(chan struct{})
	addr := serve(t, func(conn net.Conn, accept string) {
		_, _ = conn.Write([]byte(accept))
		<-spoken
		_, _ = conn.Write(message(0))
		_, _ = conn.Read(make([]byte, 1))
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := &arrivals{want: 1, done: cancel}
	s := connected(t, addr, got, func(o *Options) { o.Narrow = func(int) bool { return true } })
	if err := s.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	ticks := 0
	s.Tick(func(now int64) (int64, error) {
		switch ticks++; ticks {
		case 1:
			err := s.Mute(0)
			close(spoken)
			return now + int64(50*time.Millisecond), err
		case 2:
			if len(got.seqs) > 0 {
				t.Error("a mute client received")
			}
			return now + int64(patience), s.Unmute(0)
		}
		return now + int64(patience), nil
	})
	if err := s.Run(ctx); err != nil || len(got.seqs) != 1 {
		t.Errorf("it ended with %v and %d messages, want one", err, len(got.seqs))
	}
}

// count is a receiver that keeps nothing.
type count int

func (c *count) Receive(int, ledger.Stamp, int64) { *c++ }

func TestReceivingAllocatesNothing(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	var c count
	s := &Swarm{opts: Options{Receiver: &c, Codec: codec.Raw{}}, clients: []client{{fd: int32(fds[0]), state: ready}}, buf: make([]byte, 4096)}
	b := append(message(0), message(1)...)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := unix.Write(fds[1], b); err != nil {
			t.Error(err)
		}
		if err := s.handle(0, unix.EPOLLIN); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("a message allocates %v times, want 0", n)
	}
	if c != 2*101 {
		t.Errorf("%d messages were received, want %d", c, 2*101)
	}
}

func TestClientIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(client{}); n > 200 {
		t.Errorf("a client needs %d bytes, want 200 at most", n)
	}
}

// TestQuietStandsStillWhileNobodyLooks: a swarm without a core for a while cannot say that nothing came.
func TestQuietStandsStillWhileNobodyLooks(t *testing.T) {
	const wait = 50 * time.Millisecond
	s := &Swarm{}
	s.listen(wait)
	s.looked -= int64(time.Hour)
	s.listen(wait)
	if got := s.Quiet(); got != wait {
		t.Errorf("an hour in which it looked for %v counts as %v", wait, got)
	}
	if got := s.Away(); got < time.Hour {
		t.Errorf("away for %v, want an hour", got)
	}
	s.came, s.readAt = true, ledger.Now()
	s.listen(wait)
	if got := s.Quiet(); got != 0 {
		t.Errorf("when something came it was quiet for %v", got)
	}
}

func TestWhatIsNotReadIsKnown(t *testing.T) {
	said, enough := make(chan struct{}), make(chan struct{})
	addr := serve(t, func(conn net.Conn, accept string) {
		_, _ = conn.Write([]byte(accept))
		<-said
		_, _ = conn.Write(message(0))
		<-enough
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s := connected(t, addr, nil, nil)
	if err := s.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	if got := s.Unread(0); got != 0 {
		t.Errorf("%d bytes unread before anything was said", got)
	}
	close(said)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.Unread(0) < len(message(0)) && ctx.Err() == nil {
		<-tick.C
	}
	if got := s.Unread(0); got != len(message(0)) {
		t.Errorf("%d bytes unread, want %d", got, len(message(0)))
	}
	close(enough)
}
