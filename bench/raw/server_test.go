//go:build linux

package raw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// served runs a server until the test ends.
func served(t *testing.T, opts Options) netip.AddrPort {
	t.Helper()
	opts.Addr = netip.MustParseAddrPort("127.0.0.1:0")
	s, err := Listen(opts)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := s.Addr()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }() // ends with cancel
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return addr
}

// peer is a client by hand.
type peer struct {
	t       *testing.T
	conn    net.Conn
	scanner frame.Scanner
	stamps  []ledger.Stamp
}

// dial upgrades at a path; the test closes the client.
func dial(t *testing.T, addr netip.AddrPort, path string) *peer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	p := &peer{t: t, conn: conn}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	request := frame.Request(addr.String(), path)
	for _, part := range [][]byte{request[:20], request[20:]} { // a request may come in pieces
		if _, err := conn.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	var got []byte
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("upgrade at %s: %v", path, err)
		}
		got = append(got, buf[:n]...)
		rest, whole, err := frame.Upgraded(got)
		if err != nil {
			t.Fatal(err)
		}
		if whole {
			p.scan(rest)
			return p
		}
	}
}

func (p *peer) scan(b []byte) {
	p.t.Helper()
	if err := p.scanner.Scan(b, func(_ frame.Op, payload []byte) {
		if s, _, ok := ledger.Find(payload); ok {
			p.stamps = append(p.stamps, s)
		}
	}); err != nil {
		p.t.Fatal(err)
	}
}

// publish sends messages in one write: each a group, numbered in the order given.
func (p *peer) publish(groups ...uint32) {
	p.t.Helper()
	var out []byte
	for seq, g := range groups {
		out = frame.Append(out, frame.Text, ledger.Stamp{Group: g, Seq: uint32(seq)}.Append(nil), [4]byte{1, 2, 3, 4})
	}
	if _, err := p.conn.Write(out); err != nil {
		p.t.Fatal(err)
	}
}

// gets waits for messages and checks that they are those, as "group:seq".
func (p *peer) gets(want string) {
	p.t.Helper()
	n := len(strings.Fields(want))
	for buf := make([]byte, 64<<10); len(p.stamps) < n; {
		m, err := p.conn.Read(buf)
		if err != nil {
			p.t.Fatalf("%d messages of %q arrived: %v", len(p.stamps), want, err)
		}
		p.scan(buf[:m])
	}
	var got []string
	for _, s := range p.stamps {
		got = append(got, fmt.Sprintf("%d:%d", s.Group, s.Seq))
	}
	if got := strings.Join(got, " "); got != want {
		p.t.Errorf("messages %q arrived, want %q", got, want)
	}
}

func TestMessagesReachTheMembersOfTheirGroup(t *testing.T) {
	for _, loops := range []int{1, 3} {
		for _, batch := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d loops, batch %v", loops, batch), func(t *testing.T) {
				addr := served(t, Options{Loops: loops, Batch: batch})
				var one, both []*peer
				for range 5 { // so that every loop has some
					one, both = append(one, dial(t, addr, "/group/1")), append(both, dial(t, addr, "/group/2,1"))
				}
				dial(t, addr, "/publish").publish(1, 2, 1, 3, 2)
				for i := range one {
					one[i].gets("1:0 1:2")
					if batch { // what one read brought goes out group by group
						both[i].gets("1:0 1:2 2:1 2:4")
					} else {
						both[i].gets("1:0 2:1 1:2 2:4")
					}
				}
			})
		}
	}
}

func TestEchoGoesBackToItsSender(t *testing.T) {
	for _, batch := range []bool{false, true} {
		addr := served(t, Options{Loops: 2, Batch: batch})
		a, b := dial(t, addr, "/echo"), dial(t, addr, "/echo")
		a.publish(7, 7, 7)
		b.publish(8)
		a.gets("7:0 7:1 7:2")
		b.gets("8:0")

		half := frame.Append(nil, frame.Text, ledger.Stamp{Group: 9, Seq: 5}.Append(nil), [4]byte{4, 3, 2, 1})
		for _, part := range [][]byte{half[:1], half[1:10], half[10:]} { // frames may come in pieces too
			if _, err := b.conn.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		b.gets("8:0 9:5")
	}
}

func TestMemberThatLeavesDisturbsNobody(t *testing.T) {
	addr := served(t, Options{Loops: 1})
	gone, stays, publisher := dial(t, addr, "/group/1"), dial(t, addr, "/group/1"), dial(t, addr, "/publish")
	if err := gone.conn.Close(); err != nil {
		t.Fatal(err)
	}
	publisher.publish(1, 1, 1)
	stays.gets("1:0 1:1 1:2")
}

// TestMemberThatDoesNotReadIsEnded publishes more than the bound and a socket's buffers hold; somebody else gets all of it.
func TestMemberThatDoesNotReadIsEnded(t *testing.T) {
	addr := served(t, Options{Loops: 2})
	mute, reads, publisher := dial(t, addr, "/group/1"), dial(t, addr, "/group/1"), dial(t, addr, "/publish")
	const size, messages = 256 << 10, 64
	var want []string
	for seq := range uint32(messages) { // one after the other, so that who reads is never behind
		payload := ledger.Stamp{Group: 1, Seq: seq}.Append(nil)
		payload = append(payload, make([]byte, size-len(payload))...)
		if _, err := publisher.conn.Write(frame.Append(nil, frame.Binary, payload, [4]byte{})); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("1:%d", seq))
		reads.gets(strings.Join(want, " "))
	}
	n, err := io.Copy(io.Discard, mute.conn)
	if n >= size*messages {
		t.Errorf("a member that did not read got all %d bytes later", n)
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("a member that did not read is still connected")
	}
}

func TestRequestThatIsNoUpgradeIsEnded(t *testing.T) {
	addr := served(t, Options{Loops: 1})
	for _, request := range []string{
		"GET /group/1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /group/one HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: a\r\n\r\n",
	} {
		conn, err := net.DialTimeout("tcp", addr.String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
			t.Errorf("%q was answered with %q, %v; want the end of the connection", request, b, err)
		}
		_ = conn.Close()
	}
}

func TestBareLoopSendsEveryRound(t *testing.T) {
	b, err := ListenBare(BareOptions{
		Conns: 3, Rounds: 4, Rate: 100, Frame: frame.AppendServer(nil, frame.Text, ledger.Stamp{Group: 1, Seq: 2}.Append(nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	addr, err := b.Addr()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx) }() // ends with cancel
	var members []*peer
	for range 3 {
		members = append(members, dial(t, addr, "/group/0"))
	}
	starter, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := starter.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		m.gets("1:2 1:2 1:2 1:2")
	}
	_ = starter.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// FuzzUnmask: a publisher may send anything; what is cut off is a frame and its length, or nothing.
func FuzzUnmask(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, n := unmask(b)
		if n < 0 || n > len(b) || len(payload) > n {
			t.Errorf("unmask of %d bytes returns %d of %d", len(b), len(payload), n)
		}
	})
}
