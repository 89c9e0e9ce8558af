package e2e

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// This is the tests' own WebSocket client. It shares no code with the server or clients/go, does one thing at
// a time on the caller's goroutine, and can send what no decent client would.

// Frame opcodes, RFC 6455 §5.2.
const (
	opContinue = 0
	opText     = 1
	opBinary   = 2
	opClose    = 8
	opPing     = 9
	opPong     = 10
)

// patience bounds every wait for a frame that must come.
const patience = 15 * time.Second

// msg is one native protocol object.
type msg map[string]any

func (m msg) op() string   { return m.str("op") }
func (m msg) code() string { return m.str("code") }
func (m msg) str(k string) string {
	s, _ := m[k].(string)
	return s
}
func (m msg) num(k string) int {
	f, _ := m[k].(float64)
	return int(f)
}

// socket is one WebSocket connection, owned by one goroutine.
type socket struct {
	t      testing.TB
	conn   net.Conn
	br     *bufio.Reader
	head   *http.Response // the handshake's answer
	queue  []msg          // read while waiting for something else
	nextID int
	conID  string // from welcome
	user   string
}

// closed is how a socket ended.
type closed struct {
	Code   int    // of the close frame; 1006 = none came
	Reason string // of the close frame
	Error  string // code of the last error frame before it
	Op     msg    // the native close object before it, nil if none
	Err    error
}

func (c *closed) String() string {
	return fmt.Sprintf("close %d %q, error frame %q, close op %v (%v)", c.Code, c.Reason, c.Error, c.Op, c.Err)
}

// closedError is what read returns when the peer ended the socket.
type closedError struct{ closed }

func (e *closedError) Error() string { return e.closed.String() }

// rejected is a handshake that got an HTTP answer other than 101.
type rejected struct {
	Status int
	Header http.Header
	Body   string
}

func (r *rejected) Error() string {
	return fmt.Sprintf("handshake answered %d %q", r.Status, r.Body)
}

// header is a list of "Name: value" lines sent after the handshake's own.
type header []string

func bearer(token string) header { return header{"Authorization: Bearer " + token} }

// tryDial opens a socket on a path of addr.
func tryDial(addr, path string, h header) (*socket, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	s, err := upgrade(conn, addr, path, h)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// upgrade does the handshake on an open connection.
func upgrade(conn net.Conn, host, path string, h header) (*socket, error) {
	conn.SetDeadline(time.Now().Add(patience))
	key := make([]byte, 16)
	rand.Read(key)
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
		path, host, base64.StdEncoding.EncodeToString(key))
	for _, line := range h {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	if _, err := conn.Write(b.Bytes()); err != nil {
		return nil, err
	}
	br := newReader(conn)
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(res.Body)
		return nil, &rejected{Status: res.StatusCode, Header: res.Header, Body: string(body)}
	}
	conn.SetDeadline(time.Time{})
	return &socket{conn: conn, br: br, head: res}, nil
}

// newReader is small: the crowd has 10,000 of them.
func newReader(conn net.Conn) *bufio.Reader { return bufio.NewReaderSize(conn, 512) }

// dialRaw opens a socket and closes it with the test; it reads nothing.
func dialRaw(t testing.TB, n *node, path string, h header) *socket {
	t.Helper()
	s, err := tryDial(n.addr, path, h)
	if err != nil {
		t.Fatalf("dial node %s: %v", n.name, err)
	}
	s.t = t
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// dial opens a native socket and reads its welcome.
func dial(t testing.TB, n *node, h header) *socket {
	t.Helper()
	s := dialRaw(t, n, "/ws", h)
	w := s.must("welcome")
	s.conID, s.user = w.str("conn"), w.str("user")
	return s
}

// dialUser opens a socket as a user of the JWT verifier.
func dialUser(t testing.TB, n *node, user string) *socket {
	t.Helper()
	s := dial(t, n, bearer(token(t, user)))
	if s.user != user {
		t.Fatalf("welcome for %q says user %q", user, s.user)
	}
	return s
}

// refusedHTTP dials and expects an HTTP answer instead of the upgrade.
func refusedHTTP(t testing.TB, n *node, path string, h header, status int) *rejected {
	t.Helper()
	s, err := tryDial(n.addr, path, h)
	var r *rejected
	if !errors.As(err, &r) {
		if s != nil {
			s.conn.Close()
		}
		t.Fatalf("handshake ended with %v, want HTTP %d", err, status)
	}
	if r.Status != status {
		t.Fatalf("handshake answered %d %q, want %d", r.Status, r.Body, status)
	}
	return r
}

// refusedClose dials and expects the upgrade, an error frame and a close.
func refusedClose(t testing.TB, n *node, path string, h header, code int, errCode string) *closed {
	t.Helper()
	s := dialRaw(t, n, path, h)
	c := s.wantClosed(code)
	if c.Error != errCode {
		t.Fatalf("error frame before the close: %q, want %q (%v)", c.Error, errCode, c)
	}
	return c
}

// appendFrame adds one masked frame. first holds FIN and RSV bits and the opcode.
func appendFrame(dst []byte, first byte, payload []byte) []byte {
	dst = append(dst, first)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	dst = append(dst, mask[:]...)
	for i, c := range payload {
		dst = append(dst, c^mask[i&3])
	}
	return dst
}

// write sends bytes as they are.
func (s *socket) write(b []byte) error {
	s.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := s.conn.Write(b)
	return err
}

func (s *socket) frame(op byte, payload []byte) error {
	return s.write(appendFrame(nil, 0x80|op, payload))
}

// trySend sends an object as a text frame.
func (s *socket) trySend(m any) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return s.frame(opText, b)
}

func (s *socket) send(m any) {
	s.t.Helper()
	if err := s.trySend(m); err != nil {
		s.t.Fatalf("send %v: %v", m, err)
	}
}

// readFrame reads one frame; the peer must not mask.
func (s *socket) readFrame(deadline time.Time) (op byte, fin bool, payload []byte, err error) {
	s.conn.SetReadDeadline(deadline)
	var h [2]byte
	if _, err := io.ReadFull(s.br, h[:]); err != nil {
		return 0, false, nil, err
	}
	n := uint64(h[1] & 0x7f)
	if h[1]&0x80 != 0 {
		return 0, false, nil, errors.New("server masked a frame")
	}
	if h[0]&0x70 != 0 {
		return 0, false, nil, fmt.Errorf("server set reserved bits: %#x", h[0])
	}
	switch n {
	case 126:
		var l [2]byte
		if _, err := io.ReadFull(s.br, l[:]); err != nil {
			return 0, false, nil, err
		}
		n = uint64(binary.BigEndian.Uint16(l[:]))
	case 127:
		var l [8]byte
		if _, err := io.ReadFull(s.br, l[:]); err != nil {
			return 0, false, nil, err
		}
		n = binary.BigEndian.Uint64(l[:])
	}
	if n > 64<<20 {
		return 0, false, nil, fmt.Errorf("server announced a frame of %d bytes", n)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(s.br, payload)
	return h[0] & 0x0f, h[0]&0x80 != 0, payload, err
}

// readMessage returns the next data message; it answers WebSocket pings, and turns a close into *closedError.
func (s *socket) readMessage(deadline time.Time) (op byte, payload []byte, err error) {
	for {
		o, fin, p, err := s.readFrame(deadline)
		if err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				return 0, nil, err
			}
			return 0, nil, &closedError{closed{Code: 1006, Err: err}}
		}
		switch o {
		case opPing:
			if err := s.frame(opPong, p); err != nil {
				return 0, nil, err
			}
		case opPong:
		case opClose:
			c := closed{Code: 1005}
			if len(p) >= 2 {
				c.Code, c.Reason = int(binary.BigEndian.Uint16(p)), string(p[2:])
			}
			s.frame(opClose, p) // the answer RFC 6455 §5.5.1 asks for; the peer may be gone already
			return 0, nil, &closedError{c}
		case opText, opBinary:
			if !fin {
				return 0, nil, errors.New("server fragmented a message")
			}
			return o, p, nil
		default:
			return 0, nil, fmt.Errorf("server sent opcode %d", o)
		}
	}
}

// tryNext returns the next native object by the deadline; pings are answered unseen.
func (s *socket) tryNext(deadline time.Time) (msg, error) {
	if len(s.queue) > 0 {
		m := s.queue[0]
		s.queue = s.queue[1:]
		return m, nil
	}
	for {
		op, p, err := s.readMessage(deadline)
		if err != nil {
			return nil, err
		}
		if op != opText {
			return nil, fmt.Errorf("native protocol came as opcode %d", op)
		}
		var m msg
		if err := json.Unmarshal(p, &m); err != nil {
			return nil, fmt.Errorf("%q: %w", p, err)
		}
		if m.op() == "ping" {
			if err := s.trySend(msg{"op": "pong"}); err != nil {
				return nil, err
			}
			continue
		}
		return m, nil
	}
}

// must returns the next object of kind op; others before it stay queued for later.
func (s *socket) must(op string) msg {
	s.t.Helper()
	return s.find("op "+op, func(m msg) bool { return m.op() == op })
}

// find returns the first object that fits, and keeps the others in order.
func (s *socket) find(what string, fits func(msg) bool) msg {
	s.t.Helper()
	m, err := s.tryFind(fits)
	if err != nil {
		s.t.Fatalf("user %q waits for %s: %v; got %v", s.user, what, err, s.queue)
	}
	return m
}

func (s *socket) tryFind(fits func(msg) bool) (msg, error) {
	for i, m := range s.queue {
		if fits(m) {
			s.queue = append(s.queue[:i:i], s.queue[i+1:]...)
			return m, nil
		}
	}
	deadline := time.Now().Add(patience)
	seen := s.queue
	s.queue = nil
	for {
		m, err := s.tryNext(deadline)
		if err != nil {
			s.queue = seen
			return nil, err
		}
		if fits(m) {
			s.queue = seen
			return m, nil
		}
		seen = append(seen, m)
	}
}

// tryAsk sends an op with an id and returns its reply, ok or error.
func (s *socket) tryAsk(m msg) (msg, error) {
	s.nextID++
	id := s.nextID
	m["id"] = id
	if err := s.trySend(m); err != nil {
		return nil, err
	}
	return s.tryFind(func(r msg) bool {
		return (r.op() == "ok" || r.op() == "error") && r["id"] != nil && r.num("id") == id
	})
}

func (s *socket) ask(m msg) msg {
	s.t.Helper()
	r, err := s.tryAsk(m)
	if err != nil {
		s.t.Fatalf("user %q asks %v: %v; got %v", s.user, m, err, s.queue)
	}
	return r
}

// ok asks and wants an ok.
func (s *socket) ok(m msg) msg {
	s.t.Helper()
	r := s.ask(m)
	if r.op() != "ok" {
		s.t.Fatalf("%v answered %v, want ok", m, r)
	}
	return r
}

// refused asks and wants an error with that code.
func (s *socket) refused(code string, m msg) msg {
	s.t.Helper()
	r := s.ask(m)
	if r.op() != "error" || r.code() != code {
		s.t.Fatalf("%v answered %v, want error %s", m, r, code)
	}
	if r.str("message") == "" {
		s.t.Fatalf("%v answered %v: no message for people", m, r)
	}
	return r
}

func (s *socket) add(group string) {
	s.t.Helper()
	s.ok(msg{"op": "group_add", "group": group})
}

func (s *socket) groupSend(group string, data any) {
	s.t.Helper()
	s.ok(msg{"op": "group_send", "group": group, "data": data})
}

// message returns the next message, which must be of that group.
func (s *socket) message(group string) msg {
	s.t.Helper()
	m := s.must("message")
	if m.str("group") != group {
		s.t.Fatalf("got %v, want a message of %s", m, group)
	}
	return m
}

// wantData waits for a message of group with exactly that data.
func (s *socket) wantData(group string, data any) msg {
	s.t.Helper()
	m := s.message(group)
	want, _ := json.Marshal(data)
	got, _ := json.Marshal(m["data"])
	if !bytes.Equal(want, got) {
		s.t.Fatalf("message of %s has data %s, want %s", group, got, want)
	}
	return m
}

// quiet asks for a ping's reply and fails if a message came before it: the socket works and heard nothing.
func (s *socket) quiet() {
	s.t.Helper()
	s.ok(msg{"op": "ping"})
	for _, m := range s.queue {
		if m.op() == "message" {
			s.t.Fatalf("user %q heard %v, want nothing", s.user, m)
		}
	}
}

// end reads until the socket is over.
func (s *socket) end() *closed {
	s.t.Helper()
	c, err := s.tryEnd()
	if err != nil {
		s.t.Fatalf("user %q waits for the close: %v", s.user, err)
	}
	return c
}

func (s *socket) tryEnd() (*closed, error) {
	deadline := time.Now().Add(patience)
	last, native := "", msg(nil)
	for {
		m, err := s.tryNext(deadline)
		var ce *closedError
		switch {
		case errors.As(err, &ce):
			ce.closed.Error, ce.closed.Op = last, native
			return &ce.closed, nil
		case err != nil:
			return nil, err
		case m.op() == "error":
			last = m.code()
		case m.op() == "close":
			native = m
		}
	}
}

// wantClosed reads until the socket is over and wants that close code.
func (s *socket) wantClosed(code int) *closed {
	s.t.Helper()
	c := s.end()
	if c.Code != code {
		s.t.Fatalf("user %q ended with %v, want close code %d", s.user, c, code)
	}
	if c.Op != nil && c.Op.num("code") != code {
		s.t.Fatalf("the close object says %v, the close frame %d", c.Op, c.Code)
	}
	return c
}

// leave closes the socket as a client should and waits for the answer.
func (s *socket) leave() {
	s.t.Helper()
	s.frame(opClose, []byte{0x03, 0xe8})
	s.wantClosed(1000)
	s.conn.Close()
}

// bystander is a socket that must not notice what happens beside it.
type bystander struct {
	*socket
	group string
	n     int
}

func standBy(t testing.TB, n *node) *bystander {
	t.Helper()
	s := dialUser(t, n, "bystander")
	b := &bystander{socket: s, group: "room.bystander." + strings.ReplaceAll(s.conID, "-", "")}
	s.add(b.group)
	return b
}

// echo proves that the bystander still hears itself, with nothing lost or added.
func (b *bystander) echo() {
	b.t.Helper()
	b.n++
	b.groupSend(b.group, b.n)
	b.wantData(b.group, b.n)
	if len(b.queue) > 0 {
		b.t.Fatalf("the bystander got %v", b.queue)
	}
}
