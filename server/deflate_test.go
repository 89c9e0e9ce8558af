package server

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// dialDeflate is dial by a client that offers compression.
func dialDeflate(t testing.TB, n *Node, path, user string) *sock {
	t.Helper()
	agreed := false
	d := ws.Dialer{
		Header: ws.HandshakeHeaderHTTP(http.Header{"Cookie": {"who=" + user}}), Timeout: patience,
		Extensions: append(ws.Dialer{}.Extensions, wsflate.Parameters{ServerNoContextTakeover: true}.Option()),
		OnHeader: func(key, value []byte) error {
			agreed = agreed || strings.EqualFold(string(key), "Sec-WebSocket-Extensions")
			return nil
		},
	}
	conn, br, hs, err := d.Dial(t.Context(), "ws://"+n.Addr().String()+path)
	if err != nil {
		t.Fatalf("dial as %q: %v", user, err)
	}
	if len(hs.Extensions) == 0 && !agreed {
		t.Fatalf("%q got no compression", user)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	t.Cleanup(func() { conn.Close() })
	return &sock{t, conn, br}
}

// sendDeflated sends one message, compressed.
func (s *sock) sendDeflated(message string) {
	s.t.Helper()
	f, err := wsflate.CompressFrame(ws.NewTextFrame([]byte(message)))
	if err == nil {
		err = ws.WriteFrame(s.Conn, ws.MaskFrameInPlace(f))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// nextFrame reads frames until one has text, and returns its message and whether it came compressed.
func (s *sock) nextFrame(text string) (message string, compressed bool) {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	for {
		f, err := readFrame(s.r)
		if err != nil {
			s.t.Fatalf("wait for %.40q: %v", text, err)
		}
		compressed = f.Header.Rsv1()
		if compressed {
			if f, err = wsflate.DecompressFrame(f); err != nil {
				s.t.Fatal(err)
			}
		}
		if strings.Contains(string(f.Payload), text) {
			return string(f.Payload), compressed
		}
		if f.Header.OpCode == ws.OpClose {
			s.t.Fatalf("closed with %x, want a message with %.40q", f.Payload, text)
		}
	}
}

// closeCode reads until the close frame.
func (s *sock) closeCode() ws.StatusCode {
	s.t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	for {
		f, err := readFrame(s.r)
		if err != nil {
			s.t.Fatal(err)
		}
		if f.Header.OpCode == ws.OpClose {
			code, _ := ws.ParseCloseFrameData(f.Payload)
			return code
		}
	}
}

func deflateConfig(t testing.TB, mode string) Config {
	c := testConfig(t, mode)
	c.Server.Compression.Enabled = true
	return c
}

func TestMembersWithAndWithoutCompressionShareAGroup(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, deflateConfig(t, mode))
		packed, plain := dialDeflate(t, n, "/ws", "ann"), dial(t, n, "/ws", "bob")
		raw, rawPlain := dialDeflate(t, n, "/echo/7/", "cid"), dial(t, n, "/echo/7/", "dan")
		for _, s := range []*sock{packed, plain} {
			s.send(`{"op":"group_add","group":"chat.1","id":1}`)
			s.nextFrame(`"ok"`)
		}
		long := strings.Repeat("all work and no play ", 100)
		packed.sendDeflated(`{"op":"group_send","group":"chat.1","data":"` + long + `"}`)
		raw.sendDeflated(long)
		for _, c := range []struct {
			name string
			s    *sock
			want bool
		}{{"native with", packed, true}, {"native without", plain, false}, {"raw with", raw, true}, {"raw without", rawPlain, false}} {
			if _, compressed := c.s.nextFrame(long); compressed != c.want {
				t.Errorf("%s compression got compressed = %v", c.name, compressed)
			}
		}
		raw.sendDeflated("short")
		if _, compressed := raw.nextFrame("short"); compressed {
			t.Error("a message below min_bytes came compressed")
		}
	})
}

// TestAMessageIsCompressedOnce: for its members on two loops, and each is counted.
func TestAMessageIsCompressedOnce(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		c := deflateConfig(t, mode)
		c.Server.Loops = 2
		n, b := startAlone(t, c)
		const members, messages = 20, 10
		conns := make([]*sock, members)
		for i := range conns {
			conns[i] = dialDeflate(t, n, "/ws", "ann")
			conns[i].send(`{"op":"group_add","group":"chat.1","id":1}`)
			conns[i].nextFrame(`"ok"`)
		}
		plain := dial(t, n, "/ws", "bob")
		plain.send(`{"op":"group_add","group":"chat.1","id":1}`)
		plain.nextFrame(`"ok"`)
		data := `"` + strings.Repeat("all work and no play ", 100) + `"`
		for range messages {
			if err := b.Publish(message("chat.1", data)); err != nil {
				t.Fatal(err)
			}
		}
		for range messages {
			for _, s := range append(conns, plain) {
				s.nextFrame("no play")
			}
		}
		k := &n.counters
		if got := k.deflated.Load(); got != messages {
			t.Errorf("%d messages for %d members were compressed %d times", messages, members, got)
		}
		eventually(t, "the count of deliveries", func() bool { return k.deliveredDeflated.Load() == messages*members })
		if from, to := k.deflatedFrom.Load(), k.deflatedTo.Load(); from < uint64(messages*len(data)) || to > from/10 {
			t.Errorf("%d bytes became %d", from, to)
		}
		if got := k.offersAccepted.Load(); got != members {
			t.Errorf("%d offers were accepted, want %d", got, members)
		}
	})
}

// TestAnIdleConnKeepsNothingOfItsCompression: neither a window nor a buffer is left of messages in both directions.
func TestAnIdleConnKeepsNothingOfItsCompression(t *testing.T) {
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, deflateConfig(t, mode))
		const crowd = 200
		conns := make([]*sock, crowd)
		for i := range conns {
			conns[i] = dialDeflate(t, n, fmt.Sprintf("/echo/%d/", i), "ann")
			conns[i].sendDeflated("warm")
			conns[i].nextFrame("warm")
		}
		long := strings.Repeat("all work and no play ", 100)
		before := liveHeap()
		for _, s := range conns {
			s.sendDeflated(long)
			if _, compressed := s.nextFrame(long); !compressed {
				t.Fatal("the echo is not compressed")
			}
		}
		if after := liveHeap(); after > before+crowd*1024 {
			t.Errorf("%d bytes a conn are left of one message in and one out", (after-before)/crowd)
		}
		n.onLoops(func(o *owner) {
			if len(o.partials) > 0 || cap(o.inflated) > maxInflated {
				t.Errorf("%d partial messages, and %d bytes of scratch", len(o.partials), cap(o.inflated))
			}
		})
	})
}

// liveHeap is what two collections leave, the second without what the first left in pools.
func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestCompressionIsOffByDefault(t *testing.T) {
	n, _ := startAlone(t, testConfig(t, "auto"))
	s := request(t, n, "GET /ws HTTP/1.1\r\n"+upgradeHeaders+"Cookie: who=ann\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	if status, header := s.status(); status != 101 || header.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("%d with extensions %q, want none", status, header.Get("Sec-WebSocket-Extensions"))
	}
	s.sendDeflated("{}")
	if code := s.closeCode(); code != closeProtocol {
		t.Errorf("RSV1 without an extension ends with %d, want %d", code, closeProtocol)
	}
}

func TestCompressedMessagesThatAreRefused(t *testing.T) {
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, flate.BestCompression)
	w.Write(make([]byte, 16<<20))
	w.Flush()
	bothModes(t, func(t *testing.T, mode string) {
		n, _ := startAlone(t, deflateConfig(t, mode))
		for name, c := range map[string]struct {
			payload []byte
			want    ws.StatusCode
		}{
			"a bomb":    {bomb.Bytes()[:bomb.Len()-4], closeTooLarge},
			"no stream": {[]byte("\xff\xff\xff"), closeInvalid},
			"no UTF-8":  {[]byte("\xfa\x0f\x00"), closeInvalid},
		} {
			for _, path := range []string{"/ws", "/echo/7/"} {
				s := dialDeflate(t, n, path, "eve")
				f := ws.NewTextFrame(bytes.Clone(c.payload))
				f.Header.Rsv = ws.Rsv(true, false, false)
				if err := ws.WriteFrame(s.Conn, ws.MaskFrameInPlace(f)); err != nil {
					t.Fatal(err)
				}
				if code := s.closeCode(); code != c.want {
					t.Errorf("%s on %s ends with %d, want %d", name, path, code, c.want)
				}
			}
		}
		refused := map[string]uint64{}
		n.counters.uninflatable.each(func(reason string, v uint64) { refused[reason] = v })
		if want := map[string]uint64{"message_too_big": 2, "bad_deflate": 2, "invalid_utf8": 2}; !maps.Equal(refused, want) {
			t.Errorf("refusals were counted as %v, want %v", refused, want)
		}
	})
}

func TestInflatingIsRatedByWhatComesOut(t *testing.T) {
	c := deflateConfig(t, "auto")
	c.Server.Limits.BytesPerSecond = 20_000
	n, _ := startAlone(t, c)
	s := dialDeflate(t, n, "/ws", "eve")
	for range 2 { // the first spends the second's bytes, the second is not worked on
		s.sendDeflated(`{"op":"ping","id":1,"x":"` + strings.Repeat("x", 19_000) + `"}`)
	}
	s.nextFrame(`"ok"`)
	s.nextFrame(`"rate_limited"`)
	rated := uint64(0)
	n.counters.uninflatable.each(func(reason string, v uint64) {
		if reason == "rate" {
			rated = v
		}
	})
	if rated != 1 || n.counters.inflated.Load() != 1 || n.counters.inflatedTo.Load() < 19_000 {
		t.Errorf("%d were refused and %d inflated, want one each", rated, n.counters.inflated.Load())
	}
}

func TestARateTellsWhatItWouldLetThrough(t *testing.T) {
	var g gcra
	if got := g.room(0, 1000); got != -1 {
		t.Errorf("room %d before anything was spent, want any", got)
	}
	g.take(0, 600, 1000)
	if got := g.room(0, 1000); got != 400 {
		t.Errorf("room %d after 600 of 1000", got)
	}
	if g.take(0, 401, 1000) || !g.take(0, 400, 1000) || g.room(0, 1000) != 0 {
		t.Error("take disagrees with room")
	}
	if got := g.room(500*time.Millisecond, 1000); got != 500 {
		t.Errorf("room %d half a second later, want 500", got)
	}
	if got := g.room(0, 0); got != -1 {
		t.Errorf("room %d without a limit, want any", got)
	}
}

// readFrame reads one frame of a node that is trusted.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil {
		return f, err
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
