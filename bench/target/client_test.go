//go:build linux

package target

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatecast/gatecast/bench/codec"
	"github.com/gatecast/gatecast/bench/frame"
	"github.com/gatecast/gatecast/bench/ledger"
)

// patience is how long a test waits for anything. Machines are busy.
const patience = 60 * time.Second

// dialled is a client as the swarm's clients are, for tests: it speaks through the codec and reads when it is told to.
type dialled struct {
	t       testing.TB
	codec   codec.Codec
	client  codec.Client
	conn    net.Conn
	scanner frame.Scanner
	joined  int
	left    int
	stamps  []ledger.Stamp
}

// dial connects a client, says hello, and waits until it is ready. The test closes it.
func dial(t testing.TB, addr netip.AddrPort, c codec.Codec, client codec.Client) *dialled {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr.String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	d := &dialled{t: t, codec: c, client: client, conn: conn}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	d.write(c.Request(client))
	var head []byte
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		head = append(head, buf[:n]...)
		rest, whole, upgradeErr := frame.Upgraded(head)
		if upgradeErr != nil {
			t.Fatal(upgradeErr)
		}
		if whole {
			d.scan(rest)
			break
		}
		if err != nil {
			t.Fatalf("read the answer to the handshake: %v", err)
		}
	}
	if hello := c.Hello(client); hello != nil {
		d.send(hello)
	}
	d.until("being ready", func() bool { return d.joined >= c.Confirms(client) })
	return d
}

func (d *dialled) write(b []byte) {
	d.t.Helper()
	if _, err := d.conn.Write(b); err != nil {
		d.t.Fatal(err)
	}
}

// send sends a message of the codec.
func (d *dialled) send(payload []byte) {
	d.t.Helper()
	d.write(frame.Append(nil, d.codec.Op(), payload, [4]byte{1, 2, 3, 4}))
}

// until reads until the condition holds.
func (d *dialled) until(what string, holds func() bool) {
	d.t.Helper()
	if err := d.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		d.t.Fatal(err)
	}
	for buf := make([]byte, 64<<10); !holds(); {
		n, err := d.conn.Read(buf)
		if err != nil {
			d.t.Fatalf("client %d of %v waits for %s with %d messages: %v", d.client.Index, d.client.Groups, what, len(d.stamps), err)
		}
		d.scan(buf[:n])
	}
}

func (d *dialled) scan(b []byte) {
	d.t.Helper()
	mixer, _ := d.codec.(codec.Mixer)
	err := d.scanner.Scan(b, func(op frame.Op, payload []byte) {
		switch op {
		case frame.Close:
			d.t.Fatalf("the server closed the connection: %q", payload)
		case frame.Ping:
			d.write(frame.Append(nil, frame.Pong, payload, [4]byte{}))
			return
		case frame.Pong:
			return
		}
		stamp, rest, stamped := ledger.Find(payload)
		if !stamped || mixer != nil && mixer.HearsAll() {
			h := d.codec.Hear(d.client, payload)
			if h.Err != nil {
				d.t.Fatal(h.Err)
			}
			if h.Reply != nil {
				d.send(h.Reply)
			}
			d.joined, d.left = d.joined+h.Joined, d.left+h.Left
		}
		for ; stamped; stamp, rest, stamped = ledger.Find(rest) {
			d.stamps = append(d.stamps, stamp)
		}
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// gets waits until the client has so many messages of each of the groups and checks that they are all of them, in order.
func (d *dialled) gets(each int, groups ...uint32) {
	d.t.Helper()
	d.until(fmt.Sprintf("%d messages of each of %v", each, groups), func() bool { return len(d.stamps) >= each*len(groups) })
	next := make(map[uint32]uint32)
	for _, s := range d.stamps {
		if !slices.Contains(groups, s.Group) || s.Seq != next[s.Group] {
			d.t.Fatalf("client %d of %v got message %d of group %d, want %d", d.client.Index, groups, s.Seq, s.Group, next[s.Group])
		}
		next[s.Group]++
	}
	for _, g := range groups {
		if int(next[g]) != each {
			d.t.Fatalf("client %d got %d messages of group %d, want %d", d.client.Index, next[g], g, each)
		}
	}
	d.stamps = nil
}

func stamp(group, seq uint32) []byte { return ledger.Stamp{Run: 1, Group: group, Seq: seq}.Append(nil) }

// begun starts the target; it is stopped with the test, and must then end as it should and leave nothing behind.
func begun(t *testing.T, target Target, o Options) (Instance, codec.Codec) {
	t.Helper()
	if why := target.Cannot(o); why != "" {
		t.Fatalf("%s cannot run it: %s", target.Name(), why)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	in, err := target.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		pids, addrs := in.PIDs(), in.Addrs()
		if err := in.Stop(); err != nil {
			t.Errorf("stop %s: %v", target.Name(), err)
		}
		for _, pid := range pids {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
				t.Errorf("process %d of %s is still there", pid, target.Name())
			}
		}
		for _, addr := range addrs {
			if conn, err := net.Dial("tcp", addr.String()); err == nil {
				_ = conn.Close()
				t.Errorf("somebody still listens on %s", addr)
			}
		}
	})
	c, err := codec.Open(in.Spec())
	if err != nil {
		t.Fatal(err)
	}
	return in, c
}

// delivers checks what every target must do: each member gets every message of its groups and of no other, in order, however
// close together they are sent; the clients are spread over the nodes.
func delivers(t *testing.T, in Instance, c codec.Codec, membership ...[]uint32) {
	t.Helper()
	const messages = 100
	var members []*dialled
	groups := make(map[uint32]bool)
	for i, of := range membership {
		members = append(members, dial(t, in.Addrs()[i%len(in.Addrs())], c, codec.Client{Index: i, Groups: of}))
		for _, g := range of {
			groups[g] = true
		}
	}
	publisher := dial(t, in.Addrs()[0], c, codec.Client{Index: len(membership), Publisher: true})
	for seq := range uint32(messages) {
		for g := range groups {
			publisher.send(c.Publish(nil, g, stamp(g, seq)))
		}
	}
	for _, m := range members {
		m.gets(messages, m.client.Groups...)
	}
}

// moves checks that a client can leave and join while messages flow. It begins in group 1 of two.
func moves(t *testing.T, in Instance, c codec.Codec) {
	t.Helper()
	mover, ok := c.(codec.Mover)
	if !ok {
		t.Fatal("the codec is no Mover")
	}
	member := dial(t, in.Addrs()[0], c, codec.Client{Index: 0, Groups: []uint32{1}})
	other := dial(t, in.Addrs()[0], c, codec.Client{Index: 1, Groups: []uint32{1, 2}})
	publisher := dial(t, in.Addrs()[0], c, codec.Client{Index: 2, Publisher: true})
	publish := func(seq uint32) {
		publisher.send(c.Publish(nil, 1, stamp(1, seq)))
		publisher.send(c.Publish(nil, 2, stamp(2, seq)))
	}
	publish(0)
	member.gets(1, 1)
	other.until("both messages", func() bool { return len(other.stamps) == 2 }) // none is on its way when the member moves
	for turn := range 3 {
		joined, left := member.joined, member.left
		member.send(mover.Leave(nil, 1))
		member.until("the leave", func() bool { return member.left == left+1 })
		member.send(mover.Join(nil, 2))
		member.until("the join", func() bool { return member.joined == joined+1 })
		publisher.send(c.Publish(nil, 1, stamp(1, uint32(turn)+1)))
		publisher.send(c.Publish(nil, 2, stamp(2, 0)))
		member.gets(1, 2)

		joined, left = member.joined, member.left
		member.send(mover.Leave(nil, 2))
		member.until("the leave", func() bool { return member.left == left+1 })
		member.send(mover.Join(nil, 1))
		member.until("the join", func() bool { return member.joined == joined+1 })
		publisher.send(c.Publish(nil, 1, stamp(1, 0)))
		member.gets(1, 1)
	}
	other.until("all messages", func() bool { return len(other.stamps) == 2+3*3 })
}

// posts checks that publications by HTTP arrive, one after the other over one connection.
func posts(t *testing.T, in Instance, c codec.Codec) {
	t.Helper()
	member := dial(t, in.Addrs()[0], c, codec.Client{Index: 0, Groups: []uint32{7}})
	const messages = 10
	publisher := newPoster(t, c)
	for seq := range uint32(messages) {
		publisher.post(7, seq)
	}
	member.gets(messages, 7)
}

// deliversByHTTP is delivers for a target that is published to by HTTP only.
func deliversByHTTP(t *testing.T, in Instance, c codec.Codec, membership ...[]uint32) {
	t.Helper()
	const messages = 100
	var members []*dialled
	groups := make(map[uint32]bool)
	for i, of := range membership {
		members = append(members, dial(t, in.Addrs()[0], c, codec.Client{Index: i, Groups: of}))
		for _, g := range of {
			groups[g] = true
		}
	}
	publisher := newPoster(t, c)
	for seq := range uint32(messages) {
		for g := range groups {
			publisher.post(g, seq)
		}
	}
	for _, m := range members {
		m.gets(messages, m.client.Groups...)
	}
}

// measures checks that the instance has metrics of Go's runtime.
func measures(t *testing.T, in Instance, want string) {
	t.Helper()
	m, ok := in.(Measured)
	if !ok {
		t.Fatal("the instance is not Measured")
	}
	address, token := m.Metrics()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(body), "\n"+want+" ") {
		t.Fatalf("metrics at %s: %s, %v, want %s among them:\n%.500s", address, res.Status, err, want, body)
	}
}
