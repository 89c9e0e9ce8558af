package gatecast

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

const patience = 15 * time.Second // for anything a test waits for

// fakeServer speaks WebSocket on the wire level; the test says every frame.
type fakeServer struct {
	t  *testing.T
	ln net.Listener
}

func newFakeServer(t *testing.T) *fakeServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return &fakeServer{t, ln}
}

func (s *fakeServer) url() string { return "ws://" + s.ln.Addr().String() + "/ws" }

// fakeConn is the server's end of one handshake.
type fakeConn struct {
	conn net.Conn
	br   *bufio.Reader
	req  *http.Request
}

// accept takes the next handshake without answering it.
func (s *fakeServer) accept() (*fakeConn, error) {
	_ = s.ln.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	conn, err := s.ln.Accept()
	if err != nil {
		return nil, fmt.Errorf("wait for a handshake: %w", err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	br := bufio.NewReader(conn)
	req, err := http.ReadRequest(br)
	if err != nil {
		return nil, fmt.Errorf("read handshake: %w", err)
	}
	return &fakeConn{conn, br, req}, nil
}

func (c *fakeConn) protocols() []string {
	var list []string
	for _, p := range strings.Split(c.req.Header.Get("Sec-WebSocket-Protocol"), ",") {
		list = append(list, strings.TrimSpace(p))
	}
	return list
}

// upgrade answers 101, with text frames right behind it in the same write.
func (c *fakeConn) upgrade(frames ...string) error {
	sum := sha1.Sum([]byte(c.req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\nSec-WebSocket-Protocol: " + Subprotocol + "\r\n\r\n"
	for _, f := range frames {
		head += string(ws.MustCompileFrame(ws.NewTextFrame([]byte(f))))
	}
	_, err := c.conn.Write([]byte(head))
	return err
}

func (c *fakeConn) answer(raw string) error {
	_, err := c.conn.Write([]byte(raw))
	return errors.Join(err, c.conn.Close())
}

func (c *fakeConn) send(text string) error {
	return ws.WriteFrame(c.conn, ws.NewTextFrame([]byte(text)))
}

func (c *fakeConn) closeWith(code int, reason string) error {
	return ws.WriteFrame(c.conn, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), reason)))
}

// recv returns the client's next text message, or a *CloseError or another error if it ends.
func (c *fakeConn) recv() (string, error) {
	for {
		_ = c.conn.SetDeadline(time.Now().Add(patience))
		h, err := ws.ReadHeader(c.br)
		if err != nil {
			return "", err
		}
		if !h.Masked || h.Length > 1<<20 {
			return "", fmt.Errorf("the client sent the frame header %+v", h)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(c.br, payload); err != nil {
			return "", err
		}
		ws.Cipher(payload, h.Mask, 0)
		switch h.OpCode {
		case ws.OpText:
			return string(payload), nil
		case ws.OpClose:
			code, reason := ws.ParseCloseFrameData(payload)
			return "", &CloseError{Code: int(code), Reason: reason}
		case ws.OpPong:
			return "pong frame " + string(payload), nil
		}
	}
}

// ended waits until the client has ended the connection.
func (c *fakeConn) ended() error {
	text, err := c.recv()
	var late net.Error
	switch {
	case err == nil:
		return fmt.Errorf("got frame %s, want the end", text)
	case errors.As(err, &late) && late.Timeout():
		return errors.New("the client did not end the connection")
	}
	return c.conn.Close()
}

const welcomeFrame = `{"op":"welcome","conn":"c1","user":"42","groups":["user.42"],"ping":25,"node":"n1"}`

// login accepts the next client and welcomes it.
func (s *fakeServer) login() *fakeConn {
	s.t.Helper()
	c, err := s.accept()
	if err == nil {
		err = c.upgrade(welcomeFrame)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// dial connects o to s while script plays the server's part of the login.
func (s *fakeServer) dial(o Options) (*Conn, *fakeConn) {
	s.t.Helper()
	o.RetryMin, o.RetryMax = time.Millisecond, 5*time.Millisecond
	type result struct {
		c   *Conn
		err error
	}
	dialed := make(chan result, 1)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	go func() {
		c, err := Dial(ctx, s.url(), o)
		dialed <- result{c, err}
	}()
	fc := s.login()
	r := <-dialed
	if r.err != nil {
		s.t.Fatalf("Dial: %v", r.err)
	}
	s.t.Cleanup(func() {
		fc.conn.Close() // spares Close the wait for an answer
		r.c.Close()
	})
	return r.c, fc
}

// want receives the next frame and checks its fields; it returns the id.
func (c *fakeConn) want(t *testing.T, want string) int64 {
	t.Helper()
	text, err := c.recv()
	if err != nil {
		t.Fatalf("wait for %s: %v", want, err)
	}
	var got struct {
		ID int64 `json:"id"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("frame %s: %v", text, err)
	}
	if want = strings.ReplaceAll(want, "$id", fmt.Sprint(got.ID)); text != want {
		t.Fatalf("got frame %s, want %s", text, want)
	}
	return got.ID
}

func (c *fakeConn) mustSend(t *testing.T, format string, args ...any) {
	t.Helper()
	if err := c.send(fmt.Sprintf(format, args...)); err != nil {
		t.Fatal(err)
	}
}

// await returns the next value of ch.
func await[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("unreachable")
	}
}
