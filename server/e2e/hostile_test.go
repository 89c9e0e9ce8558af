package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hostile is one kind of bad input: what it does to a fresh socket, and what the server must make of it.
type hostile struct {
	name   string
	attack func(h *attacker)
	metric string   // counter that must grow, with its labels
	labels []string // "name=value"
	log    []string // parts of a line the log must have
}

// slowHostiles wait for timeouts of seconds; -short leaves them out.
var slowHostiles = map[string]bool{
	"half a frame for ever": true, "half a message for ever": true, "ping flood": true, "header block that stops": true, "silent conn": true,
	"header block of a byte now and then": true, "message of a byte now and then": true, "message between pings for ever": true,
}

// attacker is one run of a hostile.
type attacker struct {
	testing.TB
	n *node
}

// raw opens a bare TCP connection.
func (h *attacker) raw() net.Conn {
	h.Helper()
	c, err := net.DialTimeout("tcp", h.n.addr, patience)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { c.Close() })
	return c
}

// answer sends bytes on a bare connection and reads the HTTP answer to them.
func (h *attacker) answer(b []byte, status int) {
	h.Helper()
	c := h.raw()
	go c.Write(b) // the server may answer and close before it has read all; ends with the socket
	h.read(c, status)
}

// read reads an HTTP answer to the end of the connection.
func (h *attacker) read(c net.Conn, status int) {
	h.Helper()
	c.SetDeadline(time.Now().Add(patience))
	raw, err := io.ReadAll(c)
	if err != nil && len(raw) == 0 {
		h.Fatalf("no answer: %v", err)
	}
	line, _, _ := strings.Cut(string(raw), "\r\n")
	if !strings.HasPrefix(line, "HTTP/1.1 "+strconv.Itoa(status)+" ") {
		h.Fatalf("answered %q, want %d", line, status)
	}
}

// drip sends first, then next again and again every 50 ms until the server has had enough; next must keep no deadline at bay.
func drip(c net.Conn, first, next []byte) {
	if _, err := c.Write(first); err != nil {
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-tick.C {
		if _, err := c.Write(next); err != nil {
			return
		}
	}
}

// dripped drips on a native socket and wants the close code.
func (h *attacker) dripped(code int, first, next []byte) {
	h.Helper()
	s := h.socket()
	go drip(s.conn, first, next) // ends with the socket
	s.wantClosed(code)
}

// flooded sends on a socket what is counted by gatecast_limited_total.
func (h *attacker) flooded(path string, frame []byte) {
	h.Helper()
	before := h.n.metrics()
	s := dialRaw(h, h.n, path, bearer(token(h, "mallory")))
	s.write(bytes.Repeat(frame, 2000)) // of which one second's worth passes
	eventually(h, patience, func() string { return "a flood is not limited" }, func() bool {
		return h.n.metrics().sum("gatecast_limited_total") > before.sum("gatecast_limited_total")
	})
	s.conn.Close()
}

// socket opens a native socket of a user of its own.
func (h *attacker) socket() *socket {
	h.Helper()
	return dialUser(h, h.n, "mallory")
}

// sent sends bytes on a native socket and wants the close code.
func (h *attacker) sent(code int, b []byte) {
	h.Helper()
	s := h.socket()
	// The server may close while the rest is on its way.
	if err := s.write(b); err != nil && len(b) < 1<<16 {
		h.Fatal(err)
	}
	s.wantClosed(code)
}

// refused sends a group_add with a bad name and wants bad_group.
func (h *attacker) refused(code, name string) {
	h.Helper()
	s := h.socket()
	s.refused(code, msg{"op": "group_add", "group": name})
	s.refused(code, msg{"op": "group_send", "group": name, "data": 1})
	r := s.ok(msg{"op": "group_add", "groups": []string{name, "room.good"}})
	groups, _ := r["groups"].([]any)
	if len(groups) != 2 {
		h.Fatalf("groups answered %v", r)
	}
	first, _ := groups[0].(map[string]any)
	e, _ := first["error"].(map[string]any)
	if e["code"] != code {
		h.Fatalf("groups answered %v, want %s for the first", r, code)
	}
	s.leave()
}

func upgradeLines(h header) []byte {
	var b bytes.Buffer
	b.WriteString("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n")
	for _, l := range h {
		b.WriteString(l + "\r\n")
	}
	return b.Bytes()
}

const (
	mHandshakes = "gatecast_handshakes_total"
	mCloses     = "gatecast_closes_total"
	mRefusedOps = "gatecast_refused_ops_total"
)

func badHandshake(name, reason string, attack func(h *attacker)) hostile {
	return hostile{name, attack, mHandshakes, []string{"result=refused", "reason=" + reason}, []string{`"reason":"` + reason + `"`}}
}

func badFrame(name string, code int, reason string, frame []byte) hostile {
	return hostile{name, func(h *attacker) { h.sent(code, frame) }, mCloses, []string{"code=" + strconv.Itoa(code)}, []string{`"reason":"` + reason + `"`}}
}

func badName(name, group string) hostile {
	return hostile{name, func(h *attacker) { h.refused("bad_group", group) }, mRefusedOps, []string{"code=bad_group"}, []string{"bad_group"}}
}

func hostiles() []hostile {
	text := func(s string) []byte { return appendFrame(nil, 0x80|opText, []byte(s)) }
	unmasked := append([]byte{0x81, 16}, `{"op":"ping","i"}`[:16]...)
	topBit := append([]byte{0x81, 0xff}, binary.BigEndian.AppendUint64(nil, 1<<63|5)...)
	topBit = append(topBit, 1, 2, 3, 4)
	bytewise := func(n int) []byte { // a message in n fragments of 1 byte
		var b []byte
		for i := range n {
			first := byte(opContinue)
			if i == 0 {
				first = opText
			}
			b = appendFrame(b, first, []byte("x"))
		}
		return b
	}
	fragments := func(total, size int) []byte {
		b := appendFrame(nil, opText, bytes.Repeat([]byte("x"), size))
		for range total/size - 1 {
			b = appendFrame(b, opContinue, bytes.Repeat([]byte("x"), size))
		}
		return b
	}
	return []hostile{
		// Logins.
		badHandshake("no credential", "no_credential", func(h *attacker) { refusedClose(h, h.n, "/ws", nil, 4401, "unauthorized") }),
		{"garbage token", func(h *attacker) { refusedClose(h, h.n, "/ws", bearer("garbage"), 4401, "unauthorized") },
			mHandshakes, []string{"result=refused"}, []string{"handshake refused"}},
		badHandshake("tampered signature", "bad_signature", func(h *attacker) {
			tok := token(h, "kim")
			i := strings.LastIndexByte(tok, '.')
			refusedClose(h, h.n, "/ws", bearer(tok[:i+1]+strings.Repeat("A", len(tok)-i-1)), 4401, "unauthorized")
		}),
		badHandshake("another user's claims", "bad_signature", func(h *attacker) {
			a, b := strings.Split(token(h, "kim"), "."), strings.Split(token(h, "root"), ".")
			refusedClose(h, h.n, "/ws", bearer(a[0]+"."+b[1]+"."+a[2]), 4401, "unauthorized")
		}),
		badHandshake("expired token", "expired", func(h *attacker) {
			refusedClose(h, h.n, "/ws", bearer(token(h, "kim", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})), 4401, "unauthorized")
		}),
		{"unsigned token", func(h *attacker) {
			refusedClose(h, h.n, "/ws", bearer("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJraW0ifQ."), 4401, "unauthorized")
		}, mHandshakes, []string{"result=refused"}, []string{"handshake refused"}},

		// Grants.
		{"missing grant to hear", func(h *attacker) { h.socket().refused("forbidden", msg{"op": "group_add", "group": "secret.plans"}) },
			mRefusedOps, []string{"code=forbidden"}, []string{"forbidden"}},
		{"missing grant to speak", func(h *attacker) {
			h.socket().refused("forbidden", msg{"op": "group_send", "group": "secret.plans", "data": 1})
		}, mRefusedOps, []string{"code=forbidden"}, []string{"forbidden"}},
		{"somebody's personal group", func(h *attacker) { h.socket().refused("forbidden", msg{"op": "group_add", "group": "user.bystander"}) },
			mRefusedOps, []string{"code=forbidden"}, []string{"forbidden"}},

		// Names.
		badName("name with >", "room.>"), badName("name with *", "room.*"), badName("name is >", ">"),
		badName("name with a space", "room x"), badName("name with a newline", "room\nSUB gc.> 1"), badName("name with CRLF", "room.x\r\nPUB gc.ctl.drain 0\r\n\r\n"),
		badName("name of 10 KB", "room."+strings.Repeat("x", 10<<10)), badName("empty name", ""), badName("name with NUL", "room.\x00"),
		badName("name with NEL", "room.\u0085"), badName("name with an ideographic space", "room.\u3000"), badName("name of 201 bytes", strings.Repeat("x", 201)),

		// Ops.
		{"unknown op", func(h *attacker) { h.socket().refused("unknown_op", msg{"op": "drop_table"}) }, mRefusedOps, []string{"code=unknown_op"}, []string{"unknown_op"}},
		{"group_send without data", func(h *attacker) { h.socket().refused("bad_request", msg{"op": "group_send", "group": "room.x"}) },
			mRefusedOps, []string{"code=bad_request"}, []string{"bad_request"}},
		{"group is a number", func(h *attacker) { h.socket().refused("bad_request", msg{"op": "group_add", "group": 7}) },
			mRefusedOps, []string{"code=bad_request"}, []string{"bad_request"}},
		badFrame("half a JSON object", 4400, "bad_json", text(`{"op":"ping"`)),
		badFrame("JSON of no object", 4400, "bad_json", text(`"ping"`)),
		badFrame("deep nesting", 4400, "bad_json", text(strings.Repeat("[", 60000))),
		badFrame("binary frame", 4400, "binary_frame", appendFrame(nil, 0x80|opBinary, []byte(`{"op":"ping"}`))),
		{"10,000 group_adds", func(h *attacker) { flood(h) }, "gatecast_limited_total", nil, []string{`"limit"`}},

		// Frames.
		badFrame("64-bit length with the top bit set", 1002, "length_msb", topBit),
		badFrame("unmasked frame", 1002, "unmasked_frame", unmasked),
		badFrame("invalid UTF-8", 1007, "invalid_utf8", appendFrame(nil, 0x80|opText, []byte("{\"op\":\"\xc3\x28\"}"))),
		badFrame("UTF-8 surrogate", 1007, "invalid_utf8", appendFrame(nil, 0x80|opText, []byte("\"\xed\xa0\x80\""))),
		badFrame("endless 1-byte fragments", 1009, "too_many_fragments", bytewise(5000)),
		badFrame("message of 20 MB", 1009, "message_too_big", text(strings.Repeat("x", 20<<20))),
		badFrame("20 MB in fragments", 1009, "message_too_big", fragments(20<<20, 60<<10)),
		badFrame("reserved bits", 1002, "rsv_bits", appendFrame(nil, 0xc0|opText, []byte("x"))),
		badFrame("reserved opcode", 1002, "reserved_opcode", appendFrame(nil, 0x80|3, []byte("x"))),
		badFrame("long ping", 1002, "control_too_long", appendFrame(nil, 0x80|opPing, make([]byte, 126))),
		badFrame("fragmented ping", 1002, "fragmented_control", appendFrame(nil, opPing, []byte("x"))),
		badFrame("continuation of nothing", 1002, "unexpected_continuation", appendFrame(nil, 0x80|opContinue, []byte("x"))),
		badFrame("message inside a message", 1002, "expected_continuation", append(appendFrame(nil, opText, []byte("x")), text("y")...)),
		badFrame("length not in its shortest form", 1002, "non_minimal_length", []byte{0x81, 0xfe, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9}),
		badFrame("endless empty fragments", 1009, "too_many_fragments", append(appendFrame(nil, opText, nil), bytes.Repeat(appendFrame(nil, opContinue, nil), 5000)...)),
		badFrame("empty message", 4400, "bad_json", text("")),
		badFrame("invalid UTF-8 across fragments", 1007, "invalid_utf8", appendFrame(appendFrame(nil, opText, []byte("\"\xc3")), 0x80|opContinue, []byte("\x28\""))),
		badFrame("UTF-8 that ends in the middle", 1007, "invalid_utf8", appendFrame(appendFrame(nil, opText, []byte("\"\xe2\x82")), 0x80|opContinue, nil)),
		{"invalid UTF-8 a byte at a time", func(h *attacker) {
			s := h.socket()
			for _, b := range text("\"\xf0\x9f\x98\x28\"") {
				if s.write([]byte{b}) != nil {
					break
				}
			}
			s.wantClosed(1007)
		}, mCloses, []string{"code=1007"}, []string{`"reason":"invalid_utf8"`}},
		{"message of a byte now and then", func(h *attacker) {
			h.dripped(1002, appendFrame(nil, opText, []byte(`"`)), appendFrame(nil, opContinue, []byte("x")))
		}, mCloses, []string{"code=1002"}, []string{`"reason":"message_timeout"`}},
		{"message between pings for ever", func(h *attacker) {
			h.dripped(1002, appendFrame(nil, opText, []byte(`"`)), appendFrame(nil, 0x80|opPong, nil))
		}, mCloses, []string{"code=1002"}, []string{`"reason":"message_timeout"`}},
		{"pong flood", func(h *attacker) { h.flooded("/ws", appendFrame(nil, 0x80|opPong, []byte("x"))) }, "gatecast_limited_total", nil, nil},
		{"empty message flood", func(h *attacker) { h.flooded("/raw", text("")) }, "gatecast_limited_total", nil, nil},
		{"end without a close frame", func(h *attacker) {
			s := h.socket()
			s.add("room.mallory")
			s.conn.(*net.TCPConn).CloseWrite()
			s.wantClosed(1006)
		}, "gatecast_lost_conns_total", nil, nil},
		{"reset", func(h *attacker) {
			s := h.socket()
			s.add("room.mallory")
			s.conn.(*net.TCPConn).SetLinger(0)
			s.conn.Close()
		}, "gatecast_lost_conns_total", nil, nil},
		badFrame("close with half a code", 1002, "bad_close_payload", appendFrame(nil, 0x80|opClose, []byte{3})),
		badFrame("close with a forbidden code", 1002, "bad_close_code", appendFrame(nil, 0x80|opClose, []byte{0x03, 0xed})),
		{"half a frame for ever", func(h *attacker) {
			s := h.socket()
			s.write(text(`{"op":"ping","id":1}`)[:12])
			s.wantClosed(1002)
		}, mCloses, []string{"code=1002"}, []string{`"reason":"message_timeout"`}},
		{"half a message for ever", func(h *attacker) {
			s := h.socket()
			s.write(appendFrame(nil, opText, []byte(`{"op":`)))
			s.wantClosed(1002)
		}, mCloses, []string{"code=1002"}, []string{`"reason":"message_timeout"`}},
		{"ping flood", func(h *attacker) {
			s := h.socket()
			pings := bytes.Repeat(appendFrame(nil, 0x80|opPing, []byte("x")), 100)
			end := time.Now().Add(time.Minute)
			for time.Now().Before(end) {
				if s.write(pings) != nil {
					return // closed on us, as it should be; the metric and the log are checked
				}
				if err := s.drain(100 * time.Millisecond); err != nil {
					var ce *closedError
					if errors.As(err, &ce) && ce.Code != 4404 && ce.Code != 1006 {
						h.Fatalf("a ping flood ended with %v, want 4404", ce)
					}
					return
				}
			}
			h.Fatal("a ping flood went on for a minute")
		}, "gatecast_limited_total", nil, []string{`"code":4404`}},

		// Handshakes.
		badHandshake("header block without end", "header_too_large", func(h *attacker) {
			h.answer(append(upgradeLines(nil), bytes.Repeat([]byte("X-Fill: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"), 2000)...), 431)
		}),
		badHandshake("header line without end", "header_too_large", func(h *attacker) {
			h.answer(append(upgradeLines(nil), bytes.Repeat([]byte("x"), 100<<10)...), 431)
		}),
		badHandshake("header block that stops", "handshake_timeout", func(h *attacker) { h.answer(upgradeLines(nil), 408) }),
		badHandshake("header block of a byte now and then", "handshake_timeout", func(h *attacker) {
			c := h.raw()
			go drip(c, upgradeLines(nil), []byte("X")) // ends with the conn
			h.read(c, 408)
		}),
		badHandshake("2,000 header lines", "too_many_headers", func(h *attacker) {
			h.answer(append(append(upgradeLines(nil), strings.Repeat("A:b\r\n", 2000)...), "\r\n"...), 431)
		}),
		badHandshake("10 KB of subprotocols", "too_many_subprotocols", func(h *attacker) {
			line := "Sec-WebSocket-Protocol: a"
			for i := range 1500 {
				line += fmt.Sprintf(", a%d", i)
			}
			h.answer(append(upgradeLines(header{line}), "\r\n"...), 400)
		}),
		badHandshake("subprotocol that is no ASCII", "bad_subprotocol", func(h *attacker) {
			h.answer(append(upgradeLines(header{"Sec-WebSocket-Protocol: gr\xfc\xdf"}), "\r\n"...), 400)
		}),
		badHandshake("silent conn", "handshake_timeout", func(h *attacker) { h.answer(nil, 408) }),
		badHandshake("TLS on the plain port", "tls_on_plain_port", func(h *attacker) { h.answer([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), 400) }),
		badHandshake("no HTTP at all", "bad_request_line", func(h *attacker) { h.answer([]byte("SSH-2.0-x\r\n\r\n"), 400) }),
		badHandshake("bare LF", "bare_lf", func(h *attacker) { h.answer([]byte("GET /ws HTTP/1.1\nHost: x\n\n"), 400) }),
		badHandshake("space before the colon", "space_before_colon", func(h *attacker) { h.answer(append(upgradeLines(header{"X-A : b"}), "\r\n"...), 400) }),
		badHandshake("two Host lines", "duplicate_header", func(h *attacker) { h.answer(append(upgradeLines(header{"Host: y"}), "\r\n"...), 400) }),
		badHandshake("a body", "body_refused", func(h *attacker) { h.answer(append(upgradeLines(header{"Content-Length: 5"}), "\r\nhello"...), 400) }),
		badHandshake("chunked body", "body_refused", func(h *attacker) {
			h.answer(append(upgradeLines(header{"Transfer-Encoding: chunked"}), "\r\n0\r\n\r\n"...), 400)
		}),
		badHandshake("version 8", "bad_version", func(h *attacker) {
			h.answer(bytes.Replace(append(upgradeLines(nil), "\r\n"...), []byte("Version: 13"), []byte("Version: 8"), 1), 426)
		}),
		badHandshake("short key", "bad_key", func(h *attacker) {
			h.answer(bytes.Replace(append(upgradeLines(nil), "\r\n"...), []byte("AAAAAAAAAAAAAAAAAAAAAA=="), []byte("AAAA"), 1), 400)
		}),
		badHandshake("no upgrade", "upgrade_required", func(h *attacker) { h.answer([]byte("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"), 426) }),
		badHandshake("POST", "method_not_allowed", func(h *attacker) { h.answer([]byte("POST /ws HTTP/1.1\r\nHost: x\r\n\r\n"), 405) }),
		badHandshake("another path", "path", func(h *attacker) {
			h.answer(bytes.Replace(append(upgradeLines(nil), "\r\n"...), []byte("/ws "), []byte("/../etc/passwd "), 1), 404)
		}),
		badHandshake("only a foreign subprotocol", "unknown_subprotocol", func(h *attacker) {
			refusedHTTP(h, h.n, "/ws", append(bearer(token(h, "kim")), "Sec-WebSocket-Protocol: mqtt"), 400)
		}),
	}
}

// drain reads and throws away what has come, for at most d.
func (s *socket) drain(d time.Duration) error {
	deadline := time.Now().Add(d)
	for {
		_, _, err := s.readMessage(deadline)
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// flood sends 10,000 group_adds at once: the first up to the limit work, each other one gets an answer that says
// why not, or the conn is closed for it.
func flood(h *attacker) {
	s := h.socket()
	var b []byte
	for i := range 10000 {
		b = appendFrame(b, 0x80|opText, fmt.Appendf(nil, `{"op":"group_add","id":%d,"group":"room.flood.%d"}`, i, i))
	}
	go s.write(b) // ends with the socket
	got := map[string]int{}
	for total := 0; total < 10000; total++ {
		m, err := s.tryNext(time.Now().Add(patience))
		var ce *closedError
		if errors.As(err, &ce) {
			if ce.Code != 4404 && ce.Code != 4210 {
				h.Fatalf("the flood ended with %v after %v, want 4404", ce, got)
			}
			return
		}
		if err != nil {
			h.Fatalf("the flood's answers stop after %v: %v", got, err)
		}
		key := m.op()
		if key == "error" {
			key = m.code()
		}
		got[key]++
	}
	if got["ok"] == 0 || got["ok"] > 100 || got["ok"]+got["limit"]+got["rate_limited"] != 10000 {
		h.Errorf("10,000 group_adds were answered %v; want at most 100 ok, else limit or rate_limited", got)
	}
	// Over the limit it may send on once it slows down.
	s.conn.Close()
}

// TestHostile: every kind of bad input gets its specific answer, is counted and logged, disturbs nobody, and
// leaves nothing behind; in both modes of the socket engine.
func TestHostile(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"epoll", "portable"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			n := startNode(t, "a", conf{
				"server.mode":                     mode,
				"authn.carriers":                  []string{"cookie", "header", "subprotocol"},
				"server.limits.handshake_timeout": "1s",
				"server.limits.message_timeout":   "2s",
				"server.limits.groups_per_conn":   100,
				"server.limits.pending_bytes":     4 << 20,
				"routes":                          []conf{{"path": "/raw", "groups": []string{"room.raw"}, "publish": "room.raw"}},
			}, "GOGC=20")
			by := standBy(t, n)
			by.echo()
			t.Run("warm", func(t *testing.T) { // the first of a kind may allocate for good
				for _, h := range hostiles() {
					if h.name == "unknown op" || h.name == "10,000 group_adds" || h.name == "garbage token" {
						h.attack(&attacker{t, n})
					}
				}
			})
			before := n.settled(t, 1, math.Inf(1))
			for _, h := range hostiles() {
				t.Run(h.name, func(t *testing.T) {
					if slowHostiles[h.name] {
						heavy(t)
					}
					line, counted := n.logs.len(), n.metrics()
					h.attack(&attacker{t, n})
					by.echoFor(t)
					n.waitGrew(t, counted, h.metric, h.labels...)
					n.logs.waitLine(t, line, h.log...)
				})
			}
			after := n.settled(t, 1, before.heap+6e6)
			if after.goroutines > before.goroutines+4 || after.descriptors > before.descriptors+1 || after.heap > before.heap+6e6 {
				t.Errorf("something leaked: before %+v, after %+v", before, after)
			}
			if left := n.metrics().sum("gatecast_partial_message_bytes"); left != 0 {
				t.Errorf("%v bytes of partial messages are left", left)
			}
			if got := n.metrics().sum("gatecast_memberships"); got != 2 { // the bystander's own and its group
				t.Errorf("%v memberships are left, want the bystander's 2", got)
			}
			by.leave()
		})
	}
}

// echoFor is echo on behalf of a subtest.
func (b *bystander) echoFor(t *testing.T) {
	t.Helper()
	was := b.t
	b.t = t
	defer func() { b.t = was }()
	b.echo()
}

// TestPipelined: frames right behind the handshake, in the same segment, are read once the login is done; slow
// senders of single bytes are served like others.
func TestPipelined(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"epoll", "portable"} {
		t.Run(mode, func(t *testing.T) {
			n := startNode(t, "a", conf{"server.mode": mode})
			by := standBy(t, n)
			for _, h := range []struct {
				name string
				head header
				auth []byte
			}{
				{"behind a handshake with a token", bearer(token(t, "kim")), nil},
				{"behind a handshake without", nil, appendFrame(nil, 0x80|opText, fmt.Appendf(nil, `{"op":"auth","id":9,"token":%q}`, token(t, "kim")))},
			} {
				t.Run(h.name, func(t *testing.T) {
					c, err := net.Dial("tcp", n.addr)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					b := append(upgradeLines(h.head), "\r\n"...)
					b = append(b, h.auth...)
					b = appendFrame(b, 0x80|opText, []byte(`{"op":"group_add","id":1,"group":"room.pipe"}`))
					b = appendFrame(b, 0x80|opText, []byte(`{"op":"group_send","id":2,"group":"room.pipe","data":"first"}`))
					b = appendFrame(b, 0x80|opPing, []byte("hello"))
					if _, err := c.Write(b); err != nil {
						t.Fatal(err)
					}
					s := answered(t, c)
					s.must("welcome")
					s.find("ok 1", func(m msg) bool { return m.op() == "ok" && m.num("id") == 1 })
					s.find("ok 2", func(m msg) bool { return m.op() == "ok" && m.num("id") == 2 })
					by.echoFor(t)
				})
			}
			t.Run("one byte at a time", func(t *testing.T) {
				c, err := net.Dial("tcp", n.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.(*net.TCPConn).SetNoDelay(true)
				b := append(upgradeLines(bearer(token(t, "kim"))), "\r\n"...)
				b = appendFrame(b, 0x80|opText, []byte(`{"op":"group_add","id":1,"group":"room.bytes"}`))
				// 1-byte fragments of a whole op are legal.
				op := []byte(`{"op":"group_send","id":2,"group":"room.bytes","data":"ü"}`)
				for i := range op {
					first := byte(opContinue)
					if i == 0 {
						first = opText
					}
					if i == len(op)-1 {
						first |= 0x80
					}
					b = appendFrame(b, first, op[i:i+1])
				}
				for i := range b {
					if _, err := c.Write(b[i : i+1]); err != nil {
						t.Fatal(err)
					}
				}
				s := answered(t, c)
				s.must("welcome")
				s.wantData("room.bytes", "ü")
				by.echoFor(t)
			})
			by.leave()
		})
	}
}

// answered makes a socket of a connection whose handshake was written by hand.
func answered(t testing.TB, c net.Conn) *socket {
	t.Helper()
	s := &socket{t: t, conn: c, br: newReader(c)}
	c.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(s.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake answered %d", res.StatusCode)
	}
	s.head = res
	return s
}
