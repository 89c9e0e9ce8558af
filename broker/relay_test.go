package broker

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// sinkHandler counts what it is given.
type sinkHandler struct {
	Handler
	n     int
	bytes int
	last  Message
}

func (h *sinkHandler) Deliver(m *Message) {
	h.n++
	h.bytes += len(m.Data)
	h.last = *m
}

// endless is a connection that reads the same bytes again and again, and swallows what is written.
type endless struct {
	net.Conn
	data []byte
	at   int
}

func (c *endless) Read(p []byte) (int, error) {
	n := copy(p, c.data[c.at:])
	c.at = (c.at + n) % len(c.data)
	return n, nil
}

func (c *endless) Write(p []byte) (int, error)      { return len(p), nil }
func (c *endless) SetWriteDeadline(time.Time) error { return nil }
func (c *endless) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *endless) Close() error                     { return nil }

// loose returns a broker that is connected to nothing and serves.
func loose(h Handler) *Broker {
	b := newBroker(DefaultOptions(), h, slog.New(slog.DiscardHandler))
	b.instance, b.serving = "0123456789abcdef", true
	b.relay.conn, b.relay.serving = &endless{}, true
	b.relay.maxPayload.Store(1 << 20)
	return b
}

func TestPublishWritesTheProtocol(t *testing.T) {
	b := loose(&sinkHandler{})
	for _, c := range []struct {
		m    Message
		want string
	}{
		{Message{Group: []byte("chat.7"), Data: []byte(`1`)},
			"HPUB gc.g.%s.chat.7 39 40\r\nNATS/1.0\r\nGc-Node: 0123456789abcdef\r\n\r\n1\r\n"},
		{Message{Group: []byte("a..b")}, "HPUB gc.g.%s.a=2E=2Eb 39 39\r\nNATS/1.0\r\nGc-Node: 0123456789abcdef\r\n\r\n\r\n"},
		{Message{Group: []byte("chat.7"), Data: []byte("x"), Format: FormatText, From: []byte("a\r\nb %")},
			"HPUB gc.g.%s.chat.7 81 82\r\nNATS/1.0\r\nGc-Node: 0123456789abcdef\r\nGc-Format: text\r\nGc-From: a%%0D%%0Ab%%20%%25\r\n\r\nx\r\n"},
	} {
		b.relay.buf = b.relay.buf[:0]
		if err := b.Publish(&c.m); err != nil {
			t.Fatal(err)
		}
		got := string(b.relay.buf)
		_, rest, _ := strings.Cut(got, "gc.g.")
		shard := rest[:2]
		if want := fmt.Sprintf(c.want, shard); got != want {
			t.Errorf("Publish(%s) wrote\n%q, want\n%q", c.m.Group, got, want)
		}
	}
}

func TestPublishRefuses(t *testing.T) {
	b := loose(&sinkHandler{})
	b.relay.maxPayload.Store(130)
	small := Message{Group: []byte("g"), Data: make([]byte, 90)}
	if err := b.Publish(&small); err != nil {
		t.Errorf("90 bytes and 39 of headers of 130: %v", err)
	}
	before := len(b.relay.buf)
	small.From = make([]byte, 20)
	if err := b.Publish(&small); err != ErrTooLarge {
		t.Errorf("headers beyond the limit: %v, want ErrTooLarge", err)
	}
	if len(b.relay.buf) != before {
		t.Error("a refused message left bytes in the buffer")
	}
	b.relay.serving = false
	if err := b.Publish(&Message{Group: []byte("g")}); err != ErrUnavailable {
		t.Errorf("not serving: %v, want ErrUnavailable", err)
	}
}

// What a node publishes every node takes, also values that grow threefold on the wire.
func TestPublishRefusesWhatReadersWould(t *testing.T) {
	for _, c := range []struct {
		value []byte
		want  error
	}{
		{bytes.Repeat([]byte("ü"), maxHeaderValue/2), nil},
		{bytes.Repeat([]byte{0}, maxHeaderValue), nil},
		{bytes.Repeat([]byte("x"), maxHeaderValue+1), ErrBadHeader},
		{[]byte("\xff"), ErrBadHeader},
	} {
		for i := range 4 {
			var m, got Message
			for j, v := range []*[]byte{&m.ID, &m.From, &m.Conn, &m.Exclude} {
				if i == j {
					*v = c.value
				}
			}
			var h headerReader
			bad := h.read(appendHeaders(nil, &m, "n"), &got)
			m.Group = []byte("g")
			if err := loose(&sinkHandler{}).Publish(&m); err != c.want || (bad == "") != (err == nil) {
				t.Errorf("%.10q: Publish = %v, want %v; readers say %q", c.value, err, c.want, bad)
			}
		}
	}
	if err := loose(&sinkHandler{}).Publish(&Message{Group: []byte("g"), Format: 9}); err != ErrBadHeader {
		t.Errorf("an unknown format: %v", err)
	}
}

// lane is what a server sends: a plain message, one with headers, one of the users' wildcard.
func lane(b *Broker) []byte {
	b.mu.Lock()
	it := b.subscribe("chat.7", "chat.7")
	b.mu.Unlock()
	var out []byte
	out = fmt.Appendf(out, "MSG gc.g.05.chat.7 %d 5\r\n12345\r\n", it.sid)
	head := "NATS/1.0\r\nGc-Format: text\r\nGc-From: a%40b\r\nGc-Conn: c-1\r\nNats-Sequence: 17\r\n\r\n"
	out = fmt.Appendf(out, "HMSG gc.g.05.chat.7 %d %d %d\r\n%sabc\r\n", it.sid, len(head), len(head)+3, head)
	out = fmt.Appendf(out, "MSG gc.g.05.user.a=2540b %d 2\r\n{}\r\n", sidUsers)
	return out
}

func TestRelayDelivers(t *testing.T) {
	h := &sinkHandler{}
	b := loose(h)
	r := newReader(&endless{data: lane(b)})
	var f frame
	want := []string{
		`chat.7 "12345" json  0`,
		`chat.7 "abc" text a@b 17`,
		`user.a%40b "{}" json  0`,
	}
	for i := range 9 {
		if err := r.next(&f); err != nil {
			t.Fatal(err)
		}
		b.onRelay(&f)
		m := h.last
		if got := fmt.Sprintf("%s %q %s %s %d", m.Group, m.Data, m.Format, m.From, m.Seq); got != want[i%3] {
			t.Errorf("message %d: got %s, want %s", i, got, want[i%3])
		}
	}
}

// What this node published it has handed over itself, also when NATS brings it back.
func TestOwnMessagesAreDroppedOnArrival(t *testing.T) {
	h := &sinkHandler{}
	b := loose(h)
	b.mu.Lock()
	it := b.subscribe("chat.7", "chat.7")
	b.mu.Unlock()
	for node, want := range map[string]int{"0123456789abcdef": 0, "0123456789abcdeg": 1, "": 1} {
		h.n = 0
		b.onRelay(&frame{op: opMsg, sid: it.sid, header: appendHeaders(nil, &Message{From: []byte("42")}, node), body: []byte("1")})
		if h.n != want {
			t.Errorf("a message of node %q was handed over %d times, want %d", node, h.n, want)
		}
	}
}

func TestLateMessageOfAnEarlierSubscriptionIsDropped(t *testing.T) {
	h := &sinkHandler{}
	b := loose(h)
	b.mu.Lock()
	old := b.subscribe("a", "a")
	b.remove(old)
	fresh := b.subscribe("b", "b")
	b.mu.Unlock()
	if slotOf(old.sid) != slotOf(fresh.sid) {
		t.Fatal("the slot was not used again")
	}
	b.onRelay(&frame{op: opMsg, sid: old.sid, subject: []byte("gc.g.00.a")})
	if h.n != 0 || b.count.undeliverable.Load() != 1 {
		t.Errorf("delivered %d, undeliverable %d; want 0 and 1", h.n, b.count.undeliverable.Load())
	}
}

func TestReaderTakesAnyCut(t *testing.T) {
	b := loose(&sinkHandler{})
	data := append(lane(b), "PING\r\nPONG\r\n+OK\r\n-ERR 'no'\r\nINFO {\"a\":1}\r\n"...)
	big := fmt.Appendf(nil, "MSG s 1 %d\r\n%s\r\n", 3*readBuffer, bytes.Repeat([]byte("y"), 3*readBuffer))
	data = append(append(data, big...), "PING\r\n"...)
	for _, cut := range []int{1, 2, 3, 7, 100, 4096, 1 << 20} {
		r := newReader(&chopped{data: data, cut: cut})
		var f frame
		var ops []op
		for {
			err := r.next(&f)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("cut %d: %v", cut, err)
			}
			ops = append(ops, f.op)
		}
		if got, want := fmt.Sprint(ops), "[1 1 1 3 4 5 6 2 1 3]"; got != want {
			t.Errorf("cut %d: got %v, want %v", cut, got, want)
		}
	}
}

// chopped gives at most cut bytes a read.
type chopped struct {
	net.Conn
	data []byte
	cut  int
}

func (c *chopped) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.cut)], c.data)
	c.data = c.data[n:]
	return n, nil
}

func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{64, 512} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) {
			br := loose(&sinkHandler{})
			m := &Message{Group: []byte("chat.7"), Data: make([]byte, size), From: []byte("42")}
			b.ReportAllocs()
			for b.Loop() {
				if err := br.Publish(m); err != nil {
					b.Fatal(err)
				}
				if len(br.relay.buf) > 60<<10 {
					br.relay.buf = br.relay.buf[:0]
				}
			}
		})
	}
}

func BenchmarkReadToDeliver(b *testing.B) {
	br := loose(&sinkHandler{})
	r := newReader(&endless{data: lane(br)})
	var f frame
	b.ReportAllocs()
	for b.Loop() {
		if err := r.next(&f); err != nil {
			b.Fatal(err)
		}
		br.onRelay(&f)
	}
}

// deadlines counts what a writer does to its connection.
type deadlines struct {
	endless
	set, wrote, largest int
}

func (c *deadlines) SetWriteDeadline(time.Time) error { c.set++; return nil }

func (c *deadlines) Write(p []byte) (int, error) {
	c.wrote += len(p)
	c.largest = max(c.largest, len(p))
	return len(p), nil
}

func TestBigWritesRenewTheirDeadline(t *testing.T) {
	var c deadlines
	if err := writeSlices(&c, make([]byte, 3*writeSlice+1), false); err != nil {
		t.Fatal(err)
	}
	if c.set != 4 || c.wrote != 3*writeSlice+1 || c.largest > writeSlice {
		t.Errorf("%d deadlines for %d bytes, at most %d at once", c.set, c.wrote, c.largest)
	}
}

func TestMassLeaveTakesSeconds(t *testing.T) {
	b := loose(&sinkHandler{})
	const n = 100000
	old := time.Now().Add(-2 * linger)
	b.mu.Lock()
	for i := range n {
		name := fmt.Sprint("g.", i)
		it := b.subscribe(name, name)
		it.state, it.idle = lingering, old
		b.lingering = append(b.lingering, idler{it, old})
	}
	b.mu.Unlock()
	ticks := 0
	for ; len(b.lingering) > 0; ticks++ {
		b.unsubscribe(time.Now(), 1)
	}
	if ticks > 90 { // of 100 ms
		t.Errorf("%d groups took %d ticks", n, ticks)
	}
	for _, l := range b.lingering[:cap(b.lingering)] {
		if l.it != nil {
			t.Fatal("an interest that is gone is still held")
		}
	}
}
